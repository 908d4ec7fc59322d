import { Buckets } from "./buckets.ts";

/** The limit for each caller that has a valid token. */
const knownSize = { perSecond: 10, burst: 100 };
/** The limit for all other callers together: retention has room for these events and the rest. */
const strangersSize = { perSecond: 1, burst: 100 };

/** Limits the rate of audit events that change nothing, and counts those that are left out. */
export class EventLimit {
  readonly #known: Buckets;
  readonly #strangers: Buckets;
  #leftOut = 0;

  constructor(monotonicMs: () => number) {
    this.#known = new Buckets(knownSize, monotonicMs);
    this.#strangers = new Buckets(strangersSize, monotonicMs);
  }

  /**
   * Undefined if this event is to be left out; else how many were left out before it. `caller` is the identifier of a
   * valid token; undefined without one.
   */
  readonly take = (caller: string | undefined): number | undefined => {
    const waits = caller === undefined ? this.#strangers.take("") : this.#known.take(caller);
    if (waits > 0) {
      this.#leftOut += 1;
      return undefined;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  };
}
