import type { Handlers } from "@holdfast/admin";
import type { AuditTreeStore, ClockCheck, OwnStore, Timers } from "@holdfast/engine";
import type { LockLook, RedisStore } from "@holdfast/redis";
import type { Peer, StoreCheck } from "@holdfast/regions";
import type { Config } from "../../config/config-table.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { StorageKeyWraps } from "../../roots/storage-key-wraps.ts";

/** What the checks and the status of a node are read from. */
export interface SystemSources extends Timers {
  readonly configFile: string;
  readonly config: Config;
  readonly readings: NodeReadings;
  /** Lines of `/readyz?verbose`. */
  readonly healthLines: () => readonly string[];
  readonly own: Pick<
    OwnStore,
    "state" | "doubted" | "reservations" | "quarantined" | "levels" | "cursor"
  > &
    Pick<RedisStore, "unprovenValues">;
  /** The log over the audit trail. */
  readonly auditTree?: Pick<AuditTreeStore, "texts">;
  readonly peers: readonly Pick<Peer, "region" | "state" | "hello" | "position">[];
  readonly clocks: Pick<ClockCheck, "offsets" | "doubt" | "earliestMs">;
  readonly stores: Pick<StoreCheck, "reasons" | "counts">;
  readonly view: Pick<SystemView, "all" | "freshAtMs" | "unreadDenials" | "unreadPolicies">;
  /** What the lock masters say about the leader's lock; undefined if none are configured. */
  readonly lockMasters?: (() => Promise<LockLook>) | undefined;
  readonly storageKeys: Pick<StorageKeyWraps, "look">;
  /** Name and version of the FIPS provider, as the start found it; undefined if it was not the start that loaded it. */
  readonly fips: string | undefined;
  /** The users whose hash FIPS mode refuses, as `INSTANCE/USER`. */
  readonly scryptUsers: () => Promise<readonly string[]>;
}

/** The result of one check. */
export type Check = Awaited<ReturnType<Handlers["runChecks"]>>["items"][number];

/** The result for something that is in order. */
export function ok(name: string, detail: string): Check {
  return { name, state: "ok", detail, mend: "" };
}

/** The result for something that works, but not as well as it could, or not for much longer. */
export function warning(name: string, detail: string, mend: string): Check {
  return { name, state: "warning", detail, mend };
}

/** The result for something that does not work. */
export function failed(name: string, detail: string, mend: string): Check {
  return { name, state: "failed", detail, mend };
}
