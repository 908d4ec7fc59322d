import { dateWarnings, warningsOf } from "../../admin/system/warnings.ts";
import { parseCertificates } from "../../base/certificates.ts";
import type { PeerIdentity } from "../../base/peer-tls.ts";
import type { ServerIdentity } from "../../base/tls.ts";
import { expiryLevel } from "../../management/certificates/expiry.ts";
import {
  certificatesOf,
  expiryCounts,
  recordedCertificates,
  type StoreCertificates,
  storeCertificates,
} from "../../management/certificates/metric-certificates.ts";
import { CrlEvidence } from "../../management/denials/crl-evidence.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import type { CertificateFiles } from "../certificate-files.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Tenants } from "../node-tenants.ts";
import type { Management } from "./node-management.ts";

/** Files whose certificates are watched. */
interface Watched {
  readonly kmip: CertificateFiles<ServerIdentity>;
  readonly peer: CertificateFiles<PeerIdentity> | undefined;
  readonly admin: CertificateFiles<ServerIdentity> | undefined;
}

/** Metrics and warnings of all certificates, and of what takes them back. */
export interface WatchedCertificates {
  readonly readings: Pick<NodeReadings, "certificates" | "certificateCounts" | "crls" | "denials">;
  /** Logs warnings about the configuration and its certificates. */
  readonly warn: () => void;
}

const everyMs = 3_600_000;
/** How often servers are asked whose certificate no new connection has shown for as long. */
const askEveryMs = 600_000;
/** Certificates that metrics show one by one: a scrape must not grow with the number added. */
const toldMax = 1000;

/**
 * Reports the certificates of this node's own files and configuration, and those that the servers of its store show, when
 * they come near their end: at the start, and once more 45, 7 and 1 days before it, and when it has come. The leader
 * reports those of the system records. Also leaves evidence of the revocation lists that this node reads.
 */
export function watchCertificates(
  { config, connection, shown, log, observe, opened }: Parts,
  files: Watched,
  tenants: Tenants,
  { view, records }: Management,
): WatchedCertificates {
  const ofStore = filesOfStore(connection.tls);
  const own = () => [
    ...certificatesOf(
      files.kmip.identity,
      tenants.instances,
      files.peer?.identity,
      files.admin?.identity,
    ),
    ...storeCertificates(shown.list(), ofStore),
  ];
  const all = () => [...own(), ...recordedCertificates(view)];
  const told = new Map<string, number>();
  const news = (nowMs: number) =>
    own().filter(({ fingerprint, notAfterMs }) => {
      const level = expiryLevel(notAfterMs, nowMs);
      const known = told.get(fingerprint);
      if (level === undefined || (known !== undefined && known <= level)) return false;
      told.set(fingerprint, level);
      return true;
    });
  const look = (): void => {
    const nowMs = clock.wallMs();
    for (const one of news(nowMs)) {
      for (const { message, fields } of dateWarnings(one, nowMs)) log.say("warn", message, fields);
    }
  };
  opened.adopt(setInterval(look, everyMs).unref(), clearInterval);
  const ask = setInterval(() => void shown.ask(askEveryMs), askEveryMs);
  opened.adopt(ask.unref(), clearInterval);
  const { region, node } = config;
  const lists = () => tenants.revocations.list();
  const { wallMs } = clock;
  const requestId = ids.uuid;
  opened.use(new CrlEvidence({ region, node, lists, records, wallMs, requestId, observe }));
  return {
    readings: {
      certificates: () =>
        all()
          .toSorted((one, other) => one.notAfterMs - other.notAfterMs)
          .slice(0, toldMax),
      certificateCounts: () => expiryCounts(all(), clock.wallMs()),
      crls: lists,
      denials: () =>
        view.freshAtMs === undefined
          ? undefined
          : view.all("Deny").filter(({ destroyed }) => destroyed === undefined).length,
    },
    warn: () => {
      const nowMs = clock.wallMs();
      news(nowMs);
      for (const { message, fields } of warningsOf(config, own(), nowMs)) {
        log.say("warn", message, fields);
      }
    },
  };
}

/** Reads the certificates of `store.tls` as the node uses them: its files are read at the start only. */
function filesOfStore(tls: Parts["connection"]["tls"]): StoreCertificates {
  const read = (pem: unknown, setting: string) =>
    pem === undefined ? [] : parseCertificates(String(pem), setting);
  const [leaf] = read(tls?.cert, "store.tls.certificate");
  return { leaf, authorities: read(tls?.ca, "store.tls.ca") };
}
