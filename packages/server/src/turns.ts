import type { Waiter } from "./memory-budget.ts";

/** Far more than keeps a node busy, far less than would make others wait. */
const atOnceMax = 128;

/** Requests of one instance that are carried out at the same time: more wait, so that its burst is not everyone's. */
export class Turns {
  readonly #waiting = new Set<Waiter>();
  #free: number;

  constructor(atOnce: number = atOnceMax) {
    this.#free = atOnce;
  }

  /** Takes a turn; where none is free, `proceed` is called when there may be one. */
  take(waiter: Waiter): boolean {
    if (this.#free === 0) {
      this.#waiting.add(waiter);
      return false;
    }
    this.#free -= 1;
    return true;
  }

  /** Gives a turn back, to those that wait in their order. */
  give(): void {
    this.#free += 1;
    for (const waiter of this.#waiting) {
      if (this.#free === 0) return;
      this.#waiting.delete(waiter);
      waiter.proceed();
    }
  }

  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }
}
