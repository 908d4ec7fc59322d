import type { Handlers } from "@holdfast/admin";
import type { ClockCheck, OwnStore, Timers } from "@holdfast/engine";
import type { LockLook } from "@holdfast/redis";
import type { Peer } from "@holdfast/regions";
import type { Config } from "../../config/config-table.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import type { SystemView } from "../../records/system-view.ts";

/** What the node is asked about itself with. */
export interface SystemSources extends Timers {
  readonly configFile: string;
  readonly config: Config;
  readonly readings: NodeReadings;
  /** Lines of `/readyz?verbose`. */
  readonly healthLines: () => readonly string[];
  readonly own: Pick<OwnStore, "state" | "reservations" | "quarantined" | "levels" | "cursor">;
  readonly peers: readonly Pick<Peer, "region" | "state" | "hello" | "position">[];
  readonly clocks: Pick<ClockCheck, "offsets" | "doubt">;
  readonly view: Pick<SystemView, "all" | "freshAtMs">;
  /** What the lock masters say of the leader's lock; undefined where none are named. */
  readonly lockMasters?: (() => Promise<LockLook>) | undefined;
}

/** One thing that was looked at. */
export type Check = Awaited<ReturnType<Handlers["runChecks"]>>["items"][number];

/** Something that is as it should be. */
export function ok(name: string, detail: string): Check {
  return { name, state: "ok", detail, mend: "" };
}

/** Something that works and will not for ever, or not as well as it could. */
export function warning(name: string, detail: string, mend: string): Check {
  return { name, state: "warning", detail, mend };
}

/** Something that does not work. */
export function failed(name: string, detail: string, mend: string): Check {
  return { name, state: "failed", detail, mend };
}
