import { initialDate } from "../record/initial-date.ts";
import { type State, stateOf, stateValues } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import type { InstanceCounts, StateCounts } from "./own-store.ts";

const states = Object.keys(stateValues) as readonly State[];
/** A month is written with four digits. */
const monthMax = 9_999;

/** Counts of every state; 0 for those that are not given. */
export function stateCounts(given: Partial<StateCounts> = {}): StateCounts {
  const entries = states.map((state) => [state, given[state] ?? 0] as const);
  return Object.fromEntries(entries) as Record<State, number>;
}

/** The month, since January 1970 (UTC), of a time in milliseconds. */
export function monthOf(timeMs: number): number {
  const date = new Date(timeMs);
  const month = (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth();
  return Number.isNaN(month) ? 0 : Math.min(Math.max(0, month), monthMax);
}

/** The month of an object's Initial Date, by which it is counted; 0 if it has none. */
export function initialMonth(object: Pick<ManagedObject, "fixed">): number {
  return monthOf((initialDate(object) ?? 0) * 1_000);
}

/** What is counted of one object. */
export interface Counted {
  readonly instance: string;
  readonly state: State;
  readonly month: number;
}

/** How an object is counted. */
export function countedOf(object: ManagedObject): Counted {
  const { instance, facts } = object;
  return { instance, state: stateOf(facts), month: initialMonth(object) };
}

/** Counts objects by instance, one or several alike at a time. */
export class CountsByInstance {
  readonly #counts = new Map<
    string,
    { readonly states: Record<State, number>; readonly months: Map<number, number> }
  >();

  add({ instance, state, month }: Counted, count = 1): void {
    const its = this.#counts.get(instance) ?? { states: { ...stateCounts() }, months: new Map() };
    this.#counts.set(instance, its);
    its.states[state] += count;
    if (stateValues[state] >= stateValues.Destroyed) return;
    its.months.set(month, (its.months.get(month) ?? 0) + count);
  }

  get all(): ReadonlyMap<string, InstanceCounts> {
    return this.#counts;
  }
}

/** Counts of some objects, by instance. */
export function countObjects(objects: Iterable<Counted>): ReadonlyMap<string, InstanceCounts> {
  const counts = new CountsByInstance();
  for (const object of objects) counts.add(object);
  return counts.all;
}
