/** Waits for memory, and is called when some may be free. */
export interface Waiter {
  proceed(): void;
}

/**
 * Bounds the memory of large requests and unsent responses of all connections together. Small requests (`freeBytes`)
 * need none, so that a few clients with large requests cannot stop vCenter's traffic.
 *
 * Requests wait for the memory of both, responses only for that of responses: a request that was read can then always
 * be answered, and its memory freed. `ByteBudget` (one kind of memory, first come first served) therefore does not fit.
 */
export class MemoryBudget {
  static readonly freeBytes = 16_384;
  readonly #bytesMax: number;
  readonly #waiting = new Set<Waiter>();
  #requests = 0;
  #answers = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#requests + this.#answers;
  }

  /** Whether so much is unsent that nothing more should be answered. */
  get answersFull(): boolean {
    return this.#answers >= this.#bytesMax;
  }

  /** Takes memory for a request before it is read. One larger than the bound gets it when no other request has any. */
  reserve(bytes: number): boolean {
    if (this.#requests > 0 && this.usedBytes + bytes > this.#bytesMax) return false;
    this.#requests += bytes;
    return true;
  }

  /** Takes memory for a request that was read already. */
  takeRequest(bytes: number): void {
    this.#requests += bytes;
  }

  takeAnswer(bytes: number): void {
    this.#answers += bytes;
  }

  release(requestBytes: number, answerBytes: number): void {
    this.#requests -= requestBytes;
    this.#answers -= answerBytes;
    if (requestBytes + answerBytes === 0 || this.#waiting.size === 0) return;
    for (const waiter of [...this.#waiting]) {
      this.#waiting.delete(waiter);
      waiter.proceed();
    }
  }

  /** Calls `proceed` once, at the next release. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }
}
