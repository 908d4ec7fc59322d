import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { Role } from "@holdfast/admin";
import { reasonOf } from "../../base/operator-error.ts";
import { loadConfig } from "../../config/config.ts";
import { rolesGiven } from "../../config/oidc-roles.ts";
import { warnBeforeMs } from "../../management/certificates/expiry.ts";
import { waysTo } from "../../management/tokens/bootstrap.ts";
import { isWhole } from "../../management/tokens/token-book.ts";
import { type Check, failed, ok, type SystemSources, warning } from "./sources.ts";
import { warningsOf } from "./warnings.ts";

const dayMs = 86_400_000;
const lowDisk = 0.1;

/** Checks the configuration file as it is now. */
export function configurationChecks({
  configFile,
  config,
  readings,
  wallMs,
}: SystemSources): Check[] {
  const name = "configuration";
  const warnings = warningsOf(config, [], wallMs())
    // Instances may have been created since.
    .filter(({ message }) => !message.startsWith("no client can connect"))
    .map(({ message, fields }) =>
      warning(name, `${message}${inWords(fields)}`, "see docs/configuration.md"),
    );
  try {
    const now = loadConfig(configFile);
    const same = JSON.stringify(withoutInstances(now)) === JSON.stringify(withoutInstances(config));
    const { region, node } = readings.build;
    const state = same
      ? ok(name, `node ${node} of region ${region} runs with what ${configFile} says`)
      : warning(
          name,
          `${configFile} was changed since the node started`,
          "restart the node: only instances and certificates are read again by themselves",
        );
    return [state, ...warnings];
  } catch (error) {
    return [
      failed(name, reasonOf(error), "correct it: the node would not start with it"),
      ...warnings,
    ];
  }
}

/** The settings without instances, which are read again on SIGHUP. */
function withoutInstances({ instances, ...rest }: SystemSources["config"]): object {
  return { ...rest, instances: instances.length };
}

function inWords(fields: Readonly<Record<string, unknown>> = {}): string {
  const pairs = Object.entries(fields).map(([name, value]) => `${name} ${String(value)}`);
  return pairs.length === 0 ? "" : ` (${pairs.join(", ")})`;
}

/** Checks whether this node's clock can be trusted for dates. */
export function clockChecks({ clocks }: SystemSources): Check[] {
  const doubt = clocks.doubt();
  if (doubt !== undefined) {
    const mend =
      "set the clocks by NTP; HoldfastClockWrong in docs/runbook.md says how to find the wrong one";
    return [failed("clock", doubt.reason, mend)];
  }
  const owners = clocks.offsets().map(({ of }) => of);
  if (owners.length === 0) {
    const mend = "check the store and the other region: the clocks are read from their answers";
    return [warning("clock", "no other clock was heard in the last 30 s", mend)];
  }
  return [ok("clock", `agrees within 60 s with the clock of ${owners.join(" and ")}`)];
}

/** Checks every certificate that the node knows, and the certificate files. */
export function certificateChecks({ readings, wallMs, healthLines }: SystemSources): Check[] {
  const nowMs = wallMs();
  const all = readings.certificates();
  const ending = all.flatMap(({ kind, owner, subject, notAfterMs, notBeforeMs }) => {
    const what = `${kind} certificate of ${owner}, ${subject}`;
    const until = new Date(notAfterMs).toISOString();
    if (notBeforeMs > nowMs) {
      return [
        failed(
          "certificates",
          `${what} is not valid yet`,
          "set this machine's clock by NTP, or wait",
        ),
      ];
    }
    if (notAfterMs <= nowMs) {
      return [failed("certificates", `${what} ended ${until}`, "issue a new one")];
    }
    if (notAfterMs > nowMs + warnBeforeMs) return [];
    return [warning("certificates", `${what} ends ${until}`, "issue a new one before that")];
  });
  const files = lineOf(healthLines(), "certificates");
  const file =
    files === undefined || files.startsWith("ok")
      ? []
      : [
          failed(
            "certificate files",
            files,
            "correct the file: the certificate in use is kept until the node ends",
          ),
        ];
  const first = Math.min(...all.map(({ notAfterMs }) => notAfterMs));
  const good = Number.isFinite(first) ? `; the first ends ${new Date(first).toISOString()}` : "";
  return ending.length + file.length > 0
    ? [...ending, ...file]
    : [ok("certificates", `${all.length} are valid for 45 days at least${good}`)];
}

/** Checks the folders that the node writes to. */
export async function diskChecks({ config, configFile }: SystemSources): Promise<Check[]> {
  const folders = [...new Set([dirname(configFile), ...(config.backup?.directory ?? [])].flat())];
  return await Promise.all(
    folders.map(async (folder) => {
      try {
        const { bavail, blocks, bsize } = await statfs(folder);
        const free = blocks === 0 ? 1 : bavail / blocks;
        const says = `${Math.round((bavail * bsize) / 2 ** 20)} MiB (${Math.round(free * 100)} %) are free at ${folder}`;
        return free < lowDisk
          ? warning("disk", says, "make room: backups and files written there fail when it is full")
          : ok("disk", says);
      } catch (error) {
        return failed(
          "disk",
          `${folder}: ${reasonOf(error)}`,
          "make the folder readable for the node",
        );
      }
    }),
  );
}

/** Checks whether anybody can still manage the system, and let clients in, in a week. */
export function tokenChecks({ view, config, wallMs }: SystemSources): Check[] {
  const oidc = config.admin?.oidc;
  const elsewhere = oidc === undefined ? [] : rolesGiven(oidc);
  const tokens = view.all("Token");
  return (["manager", "security-officer"] as const).map((role) => {
    const ends = tokens.filter((token) => isWhole(token, role)).map(({ expiresMs }) => expiresMs);
    const hasFile = config.admin?.bootstrapFile !== undefined;
    const advice = hasFile ? "use the one-time token of admin.bootstrapFile" : waysTo([role]);
    return tokenCheck(role, ends, { isElsewhere: elsewhere.includes(role), advice }, wallMs());
  });
}

function tokenCheck(
  role: Role,
  endsMs: readonly number[],
  otherwise: { readonly isElsewhere: boolean; readonly advice: string },
  nowMs: number,
): Check {
  const name = "tokens";
  const ends = endsMs.filter((endMs) => endMs > nowMs);
  if (ends.length === 0) {
    const says = `no valid token has the role ${role}`;
    return otherwise.isElsewhere
      ? ok(name, `${says}; the identity provider gives it`)
      : warning(name, says, otherwise.advice);
  }
  const last = Math.max(...ends);
  const count = ends.length === 1 ? "1 valid token has" : `${ends.length} valid tokens have`;
  const says = `${count} the role ${role}, the last until ${new Date(last).toISOString()}`;
  return last < nowMs + 7 * dayMs
    ? warning(name, says, "make another with `holdfast token create`")
    : ok(name, says);
}

/** Checks whether the deny list can be read: as long as one denial cannot be, no client is admitted. */
export function denialChecks({ view }: SystemSources): Check[] {
  const name = "deny list";
  const [unread] = view.unreadDenials;
  if (unread !== undefined) {
    const others = view.unreadDenials.size - 1;
    const what = `denial ${unread}${others === 0 ? "" : ` and ${others} more`}`;
    return [
      failed(
        name,
        `${what} cannot be read: this node admits no client`,
        "docs/runbook.md: A denial cannot be read",
      ),
    ];
  }
  const live = view.all("Deny").filter(({ destroyed }) => destroyed === undefined).length;
  return [ok(name, `${live === 1 ? "1 denial is" : `${live} denials are`} in force`)];
}

/** Checks whether the revocation lists of the configuration were read and are in time. */
export function crlChecks({ readings }: SystemSources): Check[] {
  const name = "revocation lists";
  const all = readings.crls?.() ?? [];
  const wrong = all.flatMap(({ authority, source, required, crl, inTime, fault }) => {
    if (inTime && fault === "") return [];
    const ends = crl && new Date(crl.nextUpdateMs).toISOString();
    const state = ends === undefined ? "none was read" : `${inTime ? "ends" : "ended"} ${ends}`;
    const says = `${source} of ${authority}: ${fault === "" ? "" : `${fault}; `}${state}`;
    const mend = "docs/runbook.md: HoldfastRevocationList";
    return !inTime && required
      ? [failed(name, `${says}: every certificate of the authority is refused`, mend)]
      : [warning(name, says, mend)];
  });
  if (wrong.length > 0) return wrong;
  if (all.length === 0) return [ok(name, "the configuration names none")];
  const entries = all.reduce((sum, { crl }) => sum + (crl?.revoked.size ?? 0), 0);
  return [ok(name, `${all.length} in time, with ${entries} certificates`)];
}

/** What `/readyz?verbose` says about a part. */
export function lineOf(lines: readonly string[], part: string): string | undefined {
  return lines.find((line) => line.startsWith(`${part}: `))?.slice(part.length + 2);
}
