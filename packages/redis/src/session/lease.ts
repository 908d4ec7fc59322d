import type { Moment } from "@holdfast/engine";

/** What a node may do with its region's store. */
export type LeaseState = "full" | "readOnly" | "none";

/** Settings of the lease. */
export interface LeaseRules {
  readonly storeLeaseMs: number;
  /** Who could promote a replica while this node is cut off from it. */
  readonly promotion: "nobody" | "unknown" | "sentinels";
  /** Sentinels that the configuration names. */
  readonly sentinels: number;
}

/** The connection whose barriers count, and the process at its other end. */
interface LeaseHolder {
  readonly connection: number;
  readonly runId: string;
  /** `host:port`, as Sentinels name it. */
  readonly address: string;
}

/** What a Sentinel said. */
export interface Hearing {
  /** The address it names as primary. */
  readonly address: string;
  /** No later than when it last heard that primary. */
  readonly at: Moment;
  /** How many Sentinels it knows, itself included. */
  readonly sentinels: number;
}

/** The state from which `stateAt` derives what is allowed. Pure data. */
export interface Lease {
  readonly holder: LeaseHolder | undefined;
  /** When the last barrier that covered everything began. */
  readonly full: Moment | undefined;
  /** When the last barrier that covered the local disk began. */
  readonly local: Moment | undefined;
  readonly heard: Readonly<Record<string, Hearing>>;
  /** Why it last ended, or began. */
  readonly reason: string;
}

/** What can happen to a lease. */
export type LeaseEvent =
  | { readonly type: "connected"; readonly holder: LeaseHolder }
  | {
      readonly type: "barrier";
      readonly connection: number;
      /** Before the first byte of the barrier's marker was sent. */
      readonly began: Moment;
      readonly local: boolean;
      readonly replicas: boolean;
      /** Which replicas it does not cover, where there are any. */
      readonly lacking?: string;
    }
  /** The connection was lost, or the process behind it is no longer this store's primary. */
  | { readonly type: "ended"; readonly connection: number; readonly reason: string }
  | { readonly type: "heard"; readonly sentinel: string; readonly hearing: Hearing };

/** No connection yet. */
export const noLease: Lease = {
  holder: undefined,
  full: undefined,
  local: undefined,
  heard: {},
  reason: "not connected yet",
};

/**
 * The lease after an event. Barriers and ends of connections other than the holder's do not matter.
 */
export function step(lease: Lease, event: LeaseEvent): Lease {
  switch (event.type) {
    case "connected":
      return {
        ...lease,
        holder: event.holder,
        full: undefined,
        local: undefined,
        reason: "connected, no barrier yet",
      };
    case "ended":
      if (event.connection !== lease.holder?.connection) return lease;
      return {
        ...lease,
        holder: undefined,
        full: undefined,
        local: undefined,
        reason: event.reason,
      };
    case "heard":
      return { ...lease, heard: { ...lease.heard, [event.sentinel]: event.hearing } };
    case "barrier":
      return event.connection === lease.holder?.connection ? won(lease, event) : lease;
  }
}

function won(lease: Lease, event: Extract<LeaseEvent, { type: "barrier" }>): Lease {
  if (!event.local) return { ...lease, reason: "the barrier does not cover the local disk" };
  if (!event.replicas) {
    const which = event.lacking === undefined ? "" : `: ${event.lacking}`;
    const reason = `the barrier does not cover every replica${which}`;
    return { ...lease, local: event.began, reason };
  }
  return { ...lease, local: event.began, full: event.began, reason: "full barrier" };
}

/** What a lease allows now, and for how long at most unless something happens. */
export function stateAt(
  lease: Lease,
  rules: LeaseRules,
  now: Moment,
): { readonly state: LeaseState; readonly remainingMs: number } {
  const full = remaining(lease.full, rules, now);
  if (full > 0) return { state: "full", remainingMs: full };
  const read = Math.min(remaining(lease.local, rules, now), unpromoted(lease, rules, now));
  return read > 0
    ? { state: "readOnly", remainingMs: read }
    : { state: "none", remainingMs: Number.POSITIVE_INFINITY };
}

/** The time left by the clock that runs out first. */
function remaining(began: Moment | undefined, rules: LeaseRules, now: Moment): number {
  if (began === undefined) return 0;
  const passed = Math.max(now.monotonicMs - began.monotonicMs, now.wallMs - began.wallMs);
  return rules.storeLeaseMs - passed;
}

/** For how long it is known that nothing has promoted a replica. */
function unpromoted(lease: Lease, rules: LeaseRules, now: Moment): number {
  if (rules.promotion === "nobody") return Number.POSITIVE_INFINITY;
  if (rules.promotion === "unknown") return 0;
  const hearings = Object.values(lease.heard);
  const sentinels = Math.max(rules.sentinels, ...hearings.map((hearing) => hearing.sentinels));
  const majority = Math.floor(sentinels / 2) + 1;
  const times = hearings
    .filter((hearing) => hearing.address === lease.holder?.address)
    .map((hearing) => remaining(hearing.at, rules, now))
    .toSorted((a, b) => b - a);
  return times[majority - 1] ?? 0;
}
