/** Who waits for memory, and is called when there may be some. */
export interface Waiter {
  proceed(): void;
}

/**
 * Bounds the memory of large requests and unsent answers of all connections together. Small requests (`freeBytes`)
 * need none, so that a few hogs cannot stop vCenter's traffic.
 */
export class MemoryBudget {
  static readonly freeBytes = 16_384;
  readonly #bytesMax: number;
  readonly #waiting = new Set<Waiter>();
  #used = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#used;
  }

  get full(): boolean {
    return this.#used >= this.#bytesMax;
  }

  /** Takes bytes before they are read. One larger than all there is gets it when nobody else has any. */
  reserve(bytes: number): boolean {
    if (this.#used > 0 && this.#used + bytes > this.#bytesMax) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes bytes that are there already. */
  take(bytes: number): void {
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
    if (bytes === 0 || this.full) return;
    for (const waiter of [...this.#waiting]) {
      if (this.full) return;
      this.#waiting.delete(waiter);
      waiter.proceed();
    }
  }

  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }
}
