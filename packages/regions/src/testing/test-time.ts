import type { Timers } from "@holdfast/engine";

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Time that passes only while a test waits for something, and then as fast as it can. */
export class TestTime implements Timers {
  #now = 0;
  readonly #startMs: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(startMs = 1_700_000_000_000) {
    this.#startMs = startMs;
  }

  readonly wallMs = (): number => this.#startMs + this.#now;
  readonly monotonicMs = (): number => this.#now;

  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(new Error("aborted"));
        return;
      }
      const sleeper: Sleeper = {
        at: this.#now + Math.max(0, ms),
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      const abort = () => {
        this.#sleepers.delete(sleeper);
        reject(new Error("aborted"));
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.add(sleeper);
    });

  /** The result of `work`; time advances from one sleeper to the next until then. */
  async until<Result>(work: Promise<Result>): Promise<Result> {
    let over = false;
    const end = () => {
      over = true;
    };
    work.then(end, end);
    await quiet();
    for (let steps = 0; !over; steps++) {
      if (steps > 100_000) throw new Error("the work did not end");
      if (!this.#next(Number.POSITIVE_INFINITY)) throw new Error("no result, and nothing sleeps");
      await quiet();
    }
    return await work;
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await quiet();
    while (this.#next(end)) await quiet();
    this.#now = end;
    await quiet();
  }

  /** Wakes the next sleeper, if that is not after `end`. */
  #next(end: number): boolean {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (next === undefined || sleeper.at < next.at) next = sleeper;
    }
    if (next === undefined || next.at > end) return false;
    this.#now = Math.max(this.#now, next.at);
    next.wake();
    return true;
  }
}

/** Resolves when every promise that can continue has done so. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
