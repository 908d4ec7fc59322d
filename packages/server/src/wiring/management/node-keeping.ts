import type { Engine, InstanceCounts, InstanceKeyRing } from "@holdfast/engine";
import type { Duty } from "@holdfast/regions";
import { ApprovalsDuty } from "../../approvals/approvals-duty.ts";
import { breakGlassCounts } from "../../approvals/requests.ts";
import { backupHandlers } from "../../backup/scheduled/backup-handlers.ts";
import { ScheduledBackups } from "../../backup/scheduled/duty.ts";
import { OrderedWork } from "../../backup/scheduled/ordered.ts";
import { lastGoodMs, readRuns } from "../../backup/scheduled/runs.ts";
import { minutesOf } from "../../backup/scheduled/schedule.ts";
import { OperatorError } from "../../base/operator-error.ts";
import { version } from "../../base/version.ts";
import type { Config } from "../../config/config-table.ts";
import { InstanceLookup } from "../../management/instance-lookup.ts";
import { ages } from "../../management/keys/ages.ts";
import {
  type KeyEventsAsked,
  keyEvents,
  keyEventsElsewhere,
} from "../../management/keys/history.ts";
import { keysHandlers } from "../../management/keys/key-handlers.ts";
import { Recount } from "../../management/keys/recount-duty.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import { presentPeers, type Regions } from "../node-regions.ts";
import type { Tenants } from "../node-tenants.ts";
import type { Management } from "./node-management.ts";

/** The leader's duties for objects, approvals and backups, and the metrics of them. */
export interface Keeping {
  readonly duties: readonly Duty[];
  readonly readings: Pick<
    NodeReadings,
    "objects" | "objectAges" | "backups" | "backupEveryMs" | "breakGlass"
  >;
}

const dayMs = 86_400_000;

/** Makes the duties that count objects, tend approvals, and make backups. */
export function openKeeping(
  parts: Parts,
  regions: Regions,
  { view, records }: Management,
): Keeping {
  const { config, observe } = parts;
  const recount = new Recount({ own: regions.own, observe, monotonicMs: clock.monotonicMs });
  const { clocks } = regions;
  const policyMs = () => clocks.earliestMs();
  const approvals = new ApprovalsDuty({
    ...{ region: config.region, view, records, wallMs: clock.wallMs, policyMs },
    doubt: () => clocks.doubt(),
    isTogether: () => regions.peers.every((peer) => peer.state() !== "down"),
  });
  const names = (): ReadonlyMap<string, string> =>
    new Map(view.all("Instance").map(({ instance, name }) => [instance, name]));
  /** The numbers of every instance, with its name. */
  const counted = (numbersOf: (counts: InstanceCounts) => Iterable<readonly [string, number]>) => {
    const nameOf = names();
    return [...recount.counts].flatMap(([instance, counts]) =>
      [...numbersOf(counts)].map(
        ([what, count]) => [nameOf.get(instance) || instance, what, count] as const,
      ),
    );
  };
  const everyMs = intervalOf(config);
  return {
    duties: [recount, approvals, ...scheduled(parts, regions)],
    readings: {
      objects: () => counted(({ states }) => Object.entries(states)),
      objectAges: () => counted(({ months }) => ages(months, clock.wallMs())),
      backups: () =>
        view.all("Backup").flatMap((record) => {
          const backups = readRuns(record);
          const [last] = backups.runs;
          if (last === undefined) return [];
          return [{ region: backups.region, lastMs: lastGoodMs(backups), ok: last.ok }];
        }),
      ...(everyMs !== undefined && { backupEveryMs: everyMs }),
      breakGlass: () =>
        view.freshAtMs === undefined ? undefined : breakGlassCounts(view, policyMs()),
    },
  };
}

/** The management API's routes for keys and backups. */
export function keepingHandlers(
  { config: { region, fips, backup } }: Parts,
  { own, store, clocks }: Regions,
  { view, records, commands }: Management,
  tenants: Tenants,
  {
    engine,
    keyRing,
    hasLeader,
  }: {
    readonly engine: Engine;
    readonly keyRing: InstanceKeyRing;
    readonly hasLeader: boolean;
  },
): ReturnType<typeof keysHandlers> & ReturnType<typeof backupHandlers> {
  const instances = new InstanceLookup({ view, declared: () => tenants.instances });
  const { wallMs } = clock;
  const evidence = own.audit;
  commands.serve({
    readKeyEvents: async (asked) => ({ events: await keyEvents(evidence, asked) }),
  });
  const elsewhere = (asked: KeyEventsAsked) => keyEventsElsewhere(commands, clock, asked);
  return {
    ...keysHandlers({
      ...{ region, instances, store, own, engine, keyRing, evidence, elsewhere, wallMs },
      doubt: () => clocks.doubt(),
      approvedOnly: fips === "required",
    }),
    ...backupHandlers({
      ...{ region, directory: backup?.directory, hasLeader, view, records, wallMs },
    }),
  };
}

/** How long after a scheduled backup the next one is made. */
function intervalOf({ backup }: Config): number | undefined {
  if (backup?.directory === undefined) return undefined;
  return backup.at === undefined ? backup.everyMs : dayMs;
}

function scheduled({ config, observe }: Parts, regions: Regions): readonly Duty[] {
  const { own, store } = regions;
  const { backup, region, node } = config;
  if (backup?.directory === undefined) return [];
  const { keyFile, directory, everyMs, at, keep } = backup;
  const around = { keyFile, directory, store, clock, ids };
  /** A region that is not retired must answer: it may know of objects that were destroyed since. */
  const target = () => {
    const present = presentPeers(regions);
    const silent = present.find((peer) => peer.state() !== "up");
    if (silent === undefined) return { own, peers: present, timers: clock, observe };
    throw new OperatorError(
      `region ${silent.region} does not answer, and may know of objects that were destroyed since: order this again when it does`,
    );
  };
  const others = async () => {
    const present = presentPeers(regions);
    if (present.length === 0) return "absent";
    return present.some((peer) => peer.state() === "up") ? "up" : "down";
  };
  return [
    new ScheduledBackups({
      source: { own, others, statuses: own, region, holdfast: version },
      schedule: { everyMs, ...(at !== undefined && { atMinutes: minutesOf(at) }) },
      keep,
      ordered: new OrderedWork({ region, node, target, ...around }),
      ...around,
    }),
  ];
}
