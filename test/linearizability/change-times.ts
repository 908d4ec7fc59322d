import {
  type ChangeOperation,
  type ClientHistory,
  mayBeMade,
  type Operation,
  type StoreEvent,
} from "./operation.ts";

type Loss = Extract<StoreEvent, { readonly event: "storeLost" }>;
type Converged = Extract<StoreEvent, { readonly event: "converged" }>;
type SetOperation = Extract<ChangeOperation, { readonly operation: "SetAttribute" }>;

/** By when changes have happened for certain, in which region. */
export class ChangeTimes {
  readonly losses: readonly Loss[];
  /** Changes that may have happened. */
  readonly changes: readonly ChangeOperation[];
  readonly #regions: readonly string[];
  readonly #converged: readonly Converged[];
  readonly #sets: readonly SetOperation[];

  constructor({ regions, operations, events }: ClientHistory) {
    const inOrder = events.toSorted((one, other) => one.at - other.at);
    this.losses = inOrder.filter((one) => one.event === "storeLost");
    this.#converged = inOrder.filter((one) => one.event === "converged");
    this.#regions = regions;
    this.changes = operations.filter(mayBeMade);
    this.#sets = this.changes.filter((one) => one.operation === "SetAttribute");
  }

  /**
   * By when a region has a change, for what is read after `fromMs`; infinite if it may never have it. Without a region:
   * by when every region has it.
   */
  byMs(one: ChangeOperation, region: string | undefined, fromMs: number): number {
    const { acknowledged = [], return: returnedMs } = one;
    if (one.outcome !== "done" || returnedMs === undefined) return Infinity;
    if (this.#isShared(one)) return returnedMs;
    if (this.#isLost(one, fromMs)) return Infinity;
    if (region !== undefined && acknowledged.includes(region)) return returnedMs;
    return this.#spreadMs(one, region);
  }

  /** By when some region has an object that was made. */
  existsByMs(one: ChangeOperation, fromMs: number): number {
    if (one.outcome !== "done" || one.return === undefined) return Infinity;
    return !this.#isShared(one) && this.#isLost(one, fromMs) ? Infinity : one.return;
  }

  /** Values of the same attribute that were not certainly written before, or not certainly before or after. */
  others(one: SetOperation): { readonly rivals: Set<string>; readonly successors: Set<string> } {
    const endMs = this.byMs(one, undefined, -Infinity);
    const all = this.#sets.filter((each) => each !== one && each.attribute === one.attribute);
    const later = all.filter((each) => this.byMs(each, undefined, -Infinity) >= one.call);
    const rivals = later.filter(({ call }) => call <= endMs);
    const valuesOf = (some: readonly SetOperation[]) => new Set(some.map(({ value }) => value));
    return { rivals: valuesOf(rivals), successors: valuesOf(later) };
  }

  #isShared({ acknowledged = [] }: ChangeOperation): boolean {
    return this.#regions.every((region) => acknowledged.includes(region));
  }

  /** When a region, or every region, that did not acknowledge it had it all the same. */
  #spreadMs(one: ChangeOperation, region: string | undefined): number {
    const here = this.#converged.filter((each) => (each.region ?? region) === region);
    const atMs = here.find((each) => hasAll(each, one))?.at ?? Infinity;
    return atMs === Infinity || this.#isLost(one, atMs) ? Infinity : atMs;
  }

  /** Whether a store that may have been the only one with the change had lost its data by then. */
  #isLost(one: ChangeOperation, byMs: number): boolean {
    const { acknowledged = [], call } = one;
    return this.losses.some(
      ({ at, region }) =>
        at >= call &&
        at <= byMs &&
        (acknowledged.length === 0 || acknowledged.includes(region)) &&
        !this.#converged.some(
          (each) => each.region !== region && each.at <= at && hasAll(each, one),
        ),
    );
  }
}

/** Whether a change was acknowledged so early that it is part of what was there then. */
function hasAll({ at, since = at }: Converged, { return: returnedMs = Infinity }: Operation) {
  return since >= returnedMs;
}
