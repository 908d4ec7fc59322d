import type { Timers } from "@holdfast/engine";

/** A sleep that can be ended early, even before it begins. */
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
