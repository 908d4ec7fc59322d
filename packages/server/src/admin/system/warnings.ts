import { statSync } from "node:fs";
import type { Config } from "../../config/config-table.ts";
import { warnBeforeMs } from "../../management/certificates/expiry.ts";
import { peerOwner, storeOwner } from "../../management/certificates/metric-certificates.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";

/** Something that works, but probably not as intended. */
export interface Warning {
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

type Certificates = ReturnType<NodeReadings["certificates"]>;

/** What an operator should know about a valid configuration. */
export function warningsOf(
  config: Config,
  certificates: Certificates,
  nowMs: number,
): readonly Warning[] {
  return [
    ...certificates.flatMap((certificate) => dateWarnings(certificate, nowMs)),
    ...secretFiles(config).flatMap(([setting, path]) => modeWarnings(setting, path)),
    ...settingWarnings(config, certificates),
  ];
}

/** Warns of a certificate that is not valid yet, ends soon, or has ended. */
export function dateWarnings(
  { kind, owner, subject, notBeforeMs, notAfterMs }: Certificates[number],
  nowMs: number,
): Warning[] {
  const notBefore = new Date(notBeforeMs).toISOString();
  const notAfter = new Date(notAfterMs).toISOString();
  const fields = { kind, owner, subject };
  if (notBeforeMs > nowMs) {
    const message = "a certificate is not valid yet: is this machine's clock right?";
    return [{ message, fields: { ...fields, notBefore } }];
  }
  if (notAfterMs > nowMs + warnBeforeMs) return [];
  const message =
    notAfterMs > nowMs
      ? "a certificate ends soon: issue a new one"
      : "a certificate has ended: issue a new one";
  return [{ message, fields: { ...fields, notAfter } }];
}

function secretFiles({
  tls,
  peer,
  admin,
  audit: { log, syslog, webhook },
}: Config): readonly (readonly [setting: string, path: string])[] {
  const optional = [
    ["audit.log.keyFile", log?.keyFile],
    ["audit.syslog.key", syslog?.key],
    ["audit.webhook.secretFile", webhook?.secretFile],
    ["admin.console.signIn.clientSecretFile", admin?.console.signIn?.clientSecretFile],
  ] as const;
  return [
    ...optional.flatMap(([setting, path]) =>
      path === undefined ? [] : [[setting, path] as const],
    ),
    ...tls.key.map((path) => ["tls.key", path] as const),
    ...(admin?.tls.key ?? []).map((path) => ["admin.tls.key", path] as const),
    ...(peer === undefined
      ? []
      : [
          ["peer.tls.key", peer.tls.key] as const,
          ["peer.regionKeyFile", peer.regionKeyFile] as const,
        ]),
  ];
}

/** Only other users count: a container may get its secrets by way of a group. */
const readableByAll = 0o004;

function modeWarnings(setting: string, path: string): Warning[] {
  try {
    if ((statSync(path).mode & readableByAll) === 0) return [];
  } catch {
    // The code that reads the file reports what is wrong.
    return [];
  }
  return [
    {
      message: `every user of this machine can read ${setting}: chmod o-r it`,
      fields: { file: path },
    },
  ];
}

function settingWarnings(config: Config, certificates: Certificates): Warning[] {
  const warnings: Warning[] = [];
  const declares = certificates.some(
    ({ kind, owner }) =>
      (kind === "client" || kind === "authority") && owner !== peerOwner && owner !== storeOwner,
  );
  // With the management API, clients are added there.
  if (!declares && config.admin === undefined) {
    warnings.push({
      message: "no client can connect: instances name no certificates and no authorities",
    });
  }
  if (config.kmip.interop) {
    warnings.push({ message: "kmip.interop is on: for conformance runs only" });
  }
  const { file, syslog, webhook } = config.audit;
  if ((file ?? syslog ?? webhook) === undefined) {
    warnings.push({
      message:
        "the audit trail is only in the store, which keeps a bounded part of it: name a sink under audit",
    });
  }
  if (config.audit.log?.witnesses.length === 0) {
    warnings.push({
      message: "nobody cosigns the audit log: name a witness under audit.log.witnesses",
    });
  }
  if (config.locks.length === 0 && config.store.address === undefined) {
    warnings.push({
      message: "locks order the requests of this node only: name lock masters under locks",
    });
  }
  return warnings;
}
