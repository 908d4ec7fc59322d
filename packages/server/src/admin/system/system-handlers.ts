import { type Handlers, openApi } from "@holdfast/admin";
import { withTimeout } from "@holdfast/engine";
import { reasonOf } from "../../base/operator-error.ts";
import { rootStatusOf } from "../../roots/root-status.ts";
import { approvalChecks } from "./approval-checks.ts";
import { endingRootChecks } from "./ending-roots.ts";
import { fipsChecks } from "./fips-checks.ts";
import { logChecks } from "./log-checks.ts";
import {
  certificateChecks,
  clockChecks,
  configurationChecks,
  crlChecks,
  denialChecks,
  diskChecks,
  lineOf,
  tokenChecks,
} from "./node-checks.ts";
import {
  backupChecks,
  behind,
  leaderChecks,
  memoryChecks,
  peerChecks,
  rootChecks,
  sameStoreChecks,
  storageKeyChecks,
  storeChecks,
} from "./region-checks.ts";
import { type Check, failed, type SystemSources } from "./sources.ts";

/** In the order in which an operator would look. */
const looks: readonly (readonly [
  name: string,
  look: (sources: SystemSources) => readonly Check[] | Promise<readonly Check[]>,
])[] = [
  ["configuration", configurationChecks],
  ["certificates", certificateChecks],
  ["clock", clockChecks],
  ["disk", diskChecks],
  ["store", storeChecks],
  ["storage key", storageKeyChecks],
  ["memory", memoryChecks],
  ["stores", sameStoreChecks],
  ["leader", leaderChecks],
  ["peers", peerChecks],
  ["root of trust", rootChecks],
  ["root of trust", endingRootChecks],
  ["backup", backupChecks],
  ["tokens", tokenChecks],
  ["fips", fipsChecks],
  ["deny list", denialChecks],
  ["approvals", approvalChecks],
  ["revocation lists", crlChecks],
  ["audit log", logChecks],
];

const checkMs = 10_000;
const behindMs = 1000;
const closedMax = 100;

type Status = Awaited<ReturnType<Handlers["readStatus"]>>;

/** The operations about the service itself. */
export function systemHandlers(
  sources: SystemSources,
): Pick<Handlers, "readStatus" | "runChecks" | "readOpenApi"> {
  const { version } = sources.readings.build;
  const document = openApi(version);
  return {
    readStatus: () => status(sources),
    runChecks: async () => ({ items: await checks(sources) }),
    readOpenApi: async () => document,
  };
}

async function checks(sources: SystemSources): Promise<Check[]> {
  const found = await Promise.all(
    looks.map(async ([name, look]) => {
      try {
        return await withTimeout(sources, checkMs, Promise.resolve(look(sources)));
      } catch (error) {
        return [
          failed(name, `not known: ${reasonOf(error)}`, "try again, and look at the node's log"),
        ];
      }
    }),
  );
  return found.flat();
}

async function status(sources: SystemSources): Promise<Status> {
  const { readings, healthLines, own, peers } = sources;
  const { build, health, leads, certificates } = readings;
  const lines = healthLines();
  const { serving } = health();
  const states = new Map(readings.peers().map(({ region, state }) => [region, state]));
  return {
    ...build,
    serving: lineOf(lines, "serving") ?? serving.from,
    writes: serving.writes,
    reason: [lineOf(lines, "read"), lineOf(lines, "write")]
      .filter((line) => line !== undefined && line !== "ok")
      .join("; "),
    leader: leads() === true,
    peers: await Promise.all(
      peers.map(async (peer) => {
        const { region } = peer;
        const state = states.get(region) ?? "down";
        const left =
          state === "up"
            ? await withTimeout(sources, behindMs, behind(own, peer)).catch(() => undefined)
            : undefined;
        return {
          region,
          state,
          reason: reasonIn(lineOf(lines, `peer ${region}`)),
          ...(left === undefined ? {} : { behind: left }),
          ...(state === "up" ? {} : { alone: readings.alone?.(region) ?? 0 }),
        };
      }),
    ),
    rootOfTrust: lineOf(lines, "root of trust") ?? "",
    closedInstances: closedInstances(sources),
    certificates: certificates().map(({ kind, owner, subject, keyType, notAfterMs }) => ({
      what: `${kind} ${owner}: ${subject}${keyType === undefined ? "" : ` (${keyType})`}`,
      notAfter: new Date(notAfterMs).toISOString(),
    })),
  };
}

/** Up to `closedMax` instances whose root key is not usable here, or whose keys were shredded. */
function closedInstances({ view, config }: SystemSources): Status["closedInstances"] {
  const found = view.all("Instance").flatMap((record) => {
    if (record.destroyed !== undefined) return [];
    const { state, reason } = rootStatusOf(record, config.region, config.rootOfTrust.type);
    if (state === "usable" || state === "unchecked") return [];
    return [{ instance: record.name || record.id, state, reason }];
  });
  return found.slice(0, closedMax);
}

/** The reason in a line such as `up (reason)`. */
function reasonIn(line: string | undefined): string {
  return /^\S+ \((.*)\)$/.exec(line ?? "")?.[1] ?? "";
}
