import type { Timers } from "../../ports/ports.ts";

/** At most so many at once, and at most so many that wait for it. */
export class Slots {
  readonly #max: number;
  readonly #queueMax: number;
  readonly #timers: Timers;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(max: number, queueMax: number, timers: Timers) {
    this.#max = max;
    this.#queueMax = queueMax;
    this.#timers = timers;
  }

  /** Resolves true with a slot; false when none was free in time. */
  async enter(waitMs: number): Promise<boolean> {
    if (this.#taken < this.#max) {
      this.#taken += 1;
      return true;
    }
    if (this.#waiting.size >= this.#queueMax) return false;
    const over = new AbortController();
    let mine = false;
    const freed = () => {
      mine = true;
      over.abort();
    };
    this.#waiting.add(freed);
    await this.#timers.sleep(waitMs, over.signal).catch(() => undefined);
    this.#waiting.delete(freed);
    return mine;
  }

  leave(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#taken -= 1;
      return;
    }
    // The slot goes from one to the other.
    this.#waiting.delete(first);
    first();
  }
}
