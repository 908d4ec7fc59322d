/** Who waits for memory, and is called when there may be some. */
export interface Waiter {
  proceed(): void;
}

/**
 * Bounds the memory of large requests and unsent answers of all connections together. Small requests (`freeBytes`)
 * need none, so that a few hogs cannot stop vCenter's traffic.
 *
 * Requests wait for both, answers for answers only: what was read can then always be answered, and so freed. With that,
 * and since each waiter is another kind of wait, `ByteBudget` (one kind, first come first served) does not fit.
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

  /** Takes memory for a request before it is read. One larger than all there is gets it when no other request has any. */
  reserve(bytes: number): boolean {
    if (this.#requests > 0 && this.usedBytes + bytes > this.#bytesMax) return false;
    this.#requests += bytes;
    return true;
  }

  /** Takes memory for a request that is there already. */
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
