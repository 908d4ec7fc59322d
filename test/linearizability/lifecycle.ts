import type { State } from "./operation.ts";

/** What happened to an object, as bits: each is set once and never taken back. */
export type Facts = number;

export type LifecycleEvent = "activate" | "deactivate" | "compromise" | "destroy";

export const bits: Readonly<Record<LifecycleEvent, Facts>> = {
  activate: 1,
  deactivate: 2,
  compromise: 4,
  destroy: 8,
};

/** The State that facts amount to, in any order (KMIP 2.1, 4.57). */
export function stateOf(facts: Facts): State {
  const has = (event: LifecycleEvent): boolean => (facts & bits[event]) !== 0;
  if (has("destroy")) return has("compromise") ? "DestroyedCompromised" : "Destroyed";
  if (has("compromise")) return "Compromised";
  if (has("deactivate")) return "Deactivated";
  return has("activate") ? "Active" : "PreActive";
}

/** What each State permits (KMIP 2.1, 4.57); an Active object may be activated again, which changes nothing. */
const permitted: Readonly<Record<State, readonly LifecycleEvent[]>> = {
  PreActive: ["activate", "compromise", "destroy"],
  Active: ["activate", "deactivate", "compromise"],
  Deactivated: ["compromise", "destroy"],
  Compromised: ["destroy"],
  Destroyed: ["compromise"],
  DestroyedCompromised: [],
};

export function isPermitted(facts: Facts, event: LifecycleEvent): boolean {
  return permitted[stateOf(facts)].includes(event);
}

export function isDestroyed(state: State): boolean {
  return state === "Destroyed" || state === "DestroyedCompromised";
}

/** Whether an object in this State can have had all of these facts. */
export function canHave(state: State, facts: Facts): boolean {
  const all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
  return all.some((one) => stateOf(one) === state && (one & facts) === facts);
}
