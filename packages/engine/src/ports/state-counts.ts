import { type State, stateValues } from "../record/lifecycle.ts";
import type { StateCounts } from "./own-store.ts";

const states = Object.keys(stateValues) as readonly State[];

/** Counts of every state, those that are not given 0. */
export function stateCounts(given: Partial<StateCounts> = {}): StateCounts {
  const entries = states.map((state) => [state, given[state] ?? 0] as const);
  return Object.fromEntries(entries) as Record<State, number>;
}

/** How many of some objects are in each state, by instance. */
export function countStates(
  objects: Iterable<{ readonly instance: string; readonly state: State }>,
): ReadonlyMap<string, StateCounts> {
  const counts = new Map<string, Record<State, number>>();
  for (const { instance, state } of objects) {
    const known = counts.get(instance) ?? { ...stateCounts() };
    known[state] += 1;
    counts.set(instance, known);
  }
  return counts;
}
