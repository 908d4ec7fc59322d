import type { Timers } from "../ports/ports.ts";

/** What `work` resolves to, or undefined when it takes longer than `ms` or rejects. */
export function within<Result>(
  timers: Timers,
  ms: number,
  work: Promise<Result>,
): Promise<Result | undefined> {
  const over = new AbortController();
  return new Promise((resolve) => {
    // The first to call decides.
    void timers.sleep(ms, over.signal).then(
      () => resolve(undefined),
      () => undefined,
    );
    void work.then(resolve, () => resolve(undefined)).then(() => over.abort());
  });
}

/** A sleep that can be ended early, also before it began. */
export class Nap {
  readonly #timers: Timers;
  #sleeping: AbortController | undefined;
  #woken = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  async sleep(ms: number): Promise<void> {
    if (!this.#woken) {
      this.#sleeping = new AbortController();
      await this.#timers.sleep(ms, this.#sleeping.signal).catch(() => undefined);
      this.#sleeping = undefined;
    }
    this.#woken = false;
  }

  wake(): void {
    this.#woken = true;
    this.#sleeping?.abort();
  }
}
