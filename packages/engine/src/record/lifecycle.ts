import type { ClockDoubt } from "../base/clock.ts";
import { StoreUnavailable } from "../base/errors.ts";
import type { Destruction, Fact, Facts, ManagedObject, Revocation } from "./record.ts";

/** State values (KMIP 2.1, 11.55). */
export const stateValues = {
  PreActive: 1,
  Active: 2,
  Deactivated: 3,
  Compromised: 4,
  Destroyed: 5,
  DestroyedCompromised: 6,
} as const;

/** A managed object's State (KMIP 2.1, 4.57). */
export type State = keyof typeof stateValues;

/** What makes a state change: an operation, or a date that has come. */
export type LifecycleEvent = "activate" | "deactivate" | "compromise" | "destroy";

/**
 * The permitted transitions (KMIP 2.1, 4.57). An empty cell is refused. Activating an Active object changes nothing
 * and is not an error, since two hosts may race to activate a key.
 */
const transitions: Readonly<Record<State, Readonly<Partial<Record<LifecycleEvent, State>>>>> = {
  PreActive: { activate: "Active", compromise: "Compromised", destroy: "Destroyed" },
  Active: { activate: "Active", deactivate: "Deactivated", compromise: "Compromised" },
  Deactivated: { compromise: "Compromised", destroy: "Destroyed" },
  Compromised: { destroy: "DestroyedCompromised" },
  Destroyed: { compromise: "DestroyedCompromised" },
  DestroyedCompromised: {},
};

/** The fact that an event leaves. */
const factOf = {
  activate: "activated",
  deactivate: "deactivated",
  compromise: "compromised",
  destroy: "destroyed",
} as const;

/** Whether an object is destroyed for every client: for good, or until it is restored. */
export function isDestroyed({ destroyed, destruction }: Facts): boolean {
  return destroyed !== undefined || destruction?.state === "pending";
}

/** The destruction that is not final yet; undefined for any other object. */
export function pendingDestruction({ destroyed, destruction }: Facts): Destruction | undefined {
  return destroyed === undefined && destruction?.state === "pending" ? destruction : undefined;
}

/** The State that follows from the facts; their order does not matter. */
export function stateOf(facts: Facts): State {
  if (isDestroyed(facts)) {
    return facts.compromised === undefined ? "Destroyed" : "DestroyedCompromised";
  }
  if (facts.compromised !== undefined) return "Compromised";
  if (facts.deactivated !== undefined) return "Deactivated";
  return facts.activated === undefined ? "PreActive" : "Active";
}

/** The facts that an object in a state must have. */
const factsIn: Readonly<Record<State, readonly (keyof Facts)[]>> = {
  PreActive: [],
  Active: ["activated"],
  Deactivated: ["deactivated"],
  Compromised: ["compromised"],
  Destroyed: ["destroyed"],
  DestroyedCompromised: ["destroyed", "compromised"],
};

/**
 * Throws `StoreUnavailable("corrupt")` for a copy that lacks facts of the damaged record's last known state. One that was
 * Destroyed may have been restored since.
 */
export function requireState({ facts, uniqueIdentifier }: ManagedObject, last: State): void {
  const destroyed = facts.destroyed ?? facts.destruction;
  const known = { ...facts, ...(destroyed && { destroyed }) };
  if (factsIn[last].every((fact) => known[fact] !== undefined)) return;
  throw new StoreUnavailable(
    "corrupt",
    `record ${uniqueIdentifier} cannot be used as it is stored and was last ${last}; the copy that is offered is ${stateOf(facts)}, so it is not taken`,
  );
}

/** The result of an event; `state` is the object's state afterwards. */
export type Transition =
  | { readonly kind: "changed"; readonly state: State; readonly facts: Facts }
  | { readonly kind: "already"; readonly state: State }
  | { readonly kind: "refused"; readonly state: State };

/** Applies an event to an object's facts; `fact` says when, where and, for a revocation, why. */
export function transition(
  facts: Facts,
  event: LifecycleEvent,
  fact: Fact | Revocation,
): Transition {
  const state = stateOf(facts);
  const next = transitions[state][event];
  if (next === undefined) return { kind: "refused", state };
  if (next === state) return { kind: "already", state };
  return { kind: "changed", state: next, facts: { ...facts, [factOf[event]]: fact } };
}

/** When and where something is written: a clock in seconds, and the same clock as the stamps of registers have it. */
export interface WrittenAt extends Fact {
  readonly us: number;
}

/**
 * Destroys an object for clients at once, and for good when the delay is over; for good at once with a delay of 0. The
 * facts of an object without a State do not stop this.
 */
export function destroyed(
  facts: Facts,
  { us, ...fact }: WrittenAt,
  { delaySeconds, hasState }: { readonly delaySeconds: number; readonly hasState: boolean },
): Transition {
  const result =
    hasState || isDestroyed(facts)
      ? transition(facts, "destroy", fact)
      : ({ kind: "changed", state: "Destroyed", facts: { ...facts, destroyed: fact } } as const);
  if (result.kind !== "changed" || delaySeconds === 0) return result;
  const until = fact.time + delaySeconds;
  const destruction = { ...fact, state: "pending", until, us: stampAfter(facts, us) } as const;
  return { ...result, facts: { ...facts, destruction } };
}

/** Takes a destruction back that is not final; the same facts for an object that has none. */
export function restored(facts: Facts, { us, ...fact }: WrittenAt): Facts {
  const pending = pendingDestruction(facts);
  if (pending === undefined) return facts;
  const { until } = pending;
  const destruction = { ...fact, state: "restored", until, us: stampAfter(facts, us) } as const;
  return { ...facts, destruction };
}

/** Makes a destruction final whose time is over by `nowSeconds`; the same facts for any other object. */
export function destroyedFinally(facts: Facts, nowSeconds: number): Facts {
  const pending = pendingDestruction(facts);
  if (pending === undefined || pending.until > nowSeconds) return facts;
  const { time, region } = pending;
  return { ...facts, destroyed: { time, region } };
}

/**
 * A destruction that is not final, with its delay begun anew: so a copy that comes back from a backup is not destroyed
 * by a date of which nobody knows what came after. The same facts for any other object.
 */
export function delayedAnew(facts: Facts, nowSeconds: number): Facts {
  const pending = pendingDestruction(facts);
  if (pending === undefined) return facts;
  const until = nowSeconds + Math.max(0, pending.until - pending.time);
  if (until <= pending.until) return facts;
  return { ...facts, destruction: { ...pending, until, us: pending.us + 1 } };
}

function stampAfter({ destruction }: Facts, us: number): number {
  return Math.max(us, (destruction?.us ?? 0) + 1);
}

/** Revocation Reason Code values that compromise an object (KMIP 2.1, 11.48). */
export const compromiseReasons = { KeyCompromise: 2, CaCompromise: 3 } as const;

/** What a Revoke with this Revocation Reason Code does (KMIP 2.1, 6.1.44). */
export function revokeEvent(reasonCode: number): "compromise" | "deactivate" {
  const { KeyCompromise, CaCompromise } = compromiseReasons;
  return reasonCode === KeyCompromise || reasonCode === CaCompromise ? "compromise" : "deactivate";
}

/** Dates that are attributes of an object, in seconds (KMIP 2.1, 4.1, 4.18, 4.40, 4.41). */
export interface PlannedDates {
  readonly activation?: number;
  readonly processStart?: number;
  readonly protectStop?: number;
  readonly deactivation?: number;
}

/**
 * The facts that dates have made true by `nowSeconds`, dated as planned; the same object if there is nothing new.
 * An object that its dates took through Active to Deactivated gets both facts at once.
 */
export function due(
  facts: Facts,
  planned: PlannedDates,
  nowSeconds: number,
  region: string,
): Facts {
  const dated = [
    ["activate", planned.activation],
    ["deactivate", planned.deactivation],
  ] as const;
  let result = facts;
  for (const [event, time] of dated) {
    if (time === undefined || time > nowSeconds) continue;
    const change = transition(result, event, { time, region });
    if (change.kind === "changed") result = change.facts;
  }
  return result;
}

/** The time by which dates are decided, and whether it may decide them. */
export interface DatedNow {
  /** Seconds since the epoch. */
  readonly nowSeconds: number;
  readonly doubt: ClockDoubt | undefined;
}

/** What `due` returns. While clocks disagree, throws `clockDoubt` if a date has come by another clock. */
export function dueSurely(
  facts: Facts,
  planned: PlannedDates,
  { nowSeconds, doubt }: DatedNow,
  region: string,
): Facts {
  const result = due(facts, planned, doubt?.latestSeconds ?? nowSeconds, region);
  if (doubt === undefined || result === facts) return result;
  throw new StoreUnavailable("clockDoubt", doubt.reason);
}

/** Deactivates an object that cannot become Active before, since its type has no State in the version of the request. */
export function deactivatedDirectly(facts: Facts, fact: Revocation): Transition {
  if (stateOf(facts) !== "PreActive") return transition(facts, "deactivate", fact);
  return { kind: "changed", state: "Deactivated", facts: { ...facts, deactivated: fact } };
}

/** Whether a date has come, after which it may not be changed (KMIP 2.1, 4.40). */
export function hasPassed(date: number | undefined, nowSeconds: number): boolean {
  return date !== undefined && date <= nowSeconds;
}
