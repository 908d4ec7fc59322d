import type { Moment } from "@holdfast/engine";

/** How long a lease lasts and how often it is renewed. */
export interface LeaderRules {
  readonly leaseMs: number;
  readonly renewMs: number;
}

/** A lease of 5 s, renewed every 1.5 s: two renewals may fail before it runs out. */
export const leaderRules: LeaderRules = { leaseMs: 5_000, renewMs: 1_500 };

/** A node's role in its region. Pure data. */
export type LeaderLease =
  | { readonly state: "follower"; readonly reason: string }
  /** It has the lock, but no epoch that is known to be durable: it does nothing yet. */
  | { readonly state: "standing"; readonly asked: Moment }
  | { readonly state: "leader"; readonly asked: Moment; readonly epoch: number };

/** What can happen to a lease. `asked` is the moment before the lock was asked, not that of its answer. */
export type LeaderEvent =
  | { readonly type: "locked"; readonly asked: Moment }
  | { readonly type: "extended"; readonly asked: Moment }
  /** The store gave an epoch that it never gives again, and it is durable. */
  | { readonly type: "epoch"; readonly epoch: number }
  /** Only time has passed. */
  | { readonly type: "tick" }
  /** The lock was given back, the store knows a higher epoch, or the node cannot do the work. */
  | { readonly type: "ended"; readonly reason: string };

/** No lease yet. */
export const noLeadership: LeaderLease = { state: "follower", reason: "not elected yet" };

/**
 * The lease after an event at `now`. An expired lease stays expired: a leader that was paused must
 * win the lock again, with another epoch.
 */
export function leaseStep(
  lease: LeaderLease,
  event: LeaderEvent,
  now: Moment,
  rules: LeaderRules = leaderRules,
): LeaderLease {
  const present = expired(lease, now, rules);
  switch (event.type) {
    case "tick":
      return present;
    case "ended":
      return { state: "follower", reason: event.reason };
    case "locked":
      if (present.state !== "follower") return present;
      return expired({ state: "standing", asked: event.asked }, now, rules);
    case "extended":
      if (present.state === "follower") return present;
      // Answers may come in another order than their requests.
      return isLater(event.asked, present.asked) ? { ...present, asked: event.asked } : present;
    case "epoch":
      if (present.state !== "standing") return present;
      return { state: "leader", asked: present.asked, epoch: event.epoch };
  }
}

/** The epoch in which a node may act at this moment; undefined where it may not. */
export function actingEpoch(
  lease: LeaderLease,
  now: Moment,
  rules: LeaderRules = leaderRules,
): number | undefined {
  return lease.state === "leader" && remainingMs(lease, now, rules) > 0 ? lease.epoch : undefined;
}

/**
 * How long a lease lasts unless something happens, by the clock that runs out first; 0 for a
 * follower.
 */
export function remainingMs(
  lease: LeaderLease,
  now: Moment,
  rules: LeaderRules = leaderRules,
): number {
  if (lease.state === "follower") return 0;
  const { asked } = lease;
  const passed = Math.max(now.monotonicMs - asked.monotonicMs, now.wallMs - asked.wallMs);
  return Math.max(0, rules.leaseMs - passed);
}

function expired(lease: LeaderLease, now: Moment, rules: LeaderRules): LeaderLease {
  if (lease.state === "follower" || remainingMs(lease, now, rules) > 0) return lease;
  return { state: "follower", reason: "the lease ran out" };
}

/** In the order of the monotonic clock, which never goes back. */
function isLater(asked: Moment, known: Moment): boolean {
  return asked.monotonicMs >= known.monotonicMs;
}
