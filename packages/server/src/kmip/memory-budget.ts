/** Waits for memory of a request, or for less memory of unsent responses. */
export interface Waiter {
  /** Called once, when memory for its request was taken. */
  granted(bytes: number): void;
  /** Called once, when more may be answered. */
  proceed(): void;
}

interface Asked {
  readonly instance: string;
  readonly bytes: number;
}

/**
 * Bounds the memory of large requests and unsent responses of all connections together. Small requests (`freeBytes`)
 * need none, so that a few clients with large requests cannot stop vCenter's traffic. The requests of one instance get
 * half of it; those that wait get it in their order.
 *
 * Requests wait for the memory of both, responses only for that of responses: a request that was read can then always
 * be answered, and its memory freed. `ByteBudget` (one kind of memory, no shares) therefore does not fit.
 */
export class MemoryBudget {
  static readonly freeBytes = 16_384;
  readonly #bytesMax: number;
  readonly #waiting = new Set<Waiter>();
  readonly #queue = new Map<Waiter, Asked>();
  /** Instance → memory of its requests. */
  readonly #requestsOf = new Map<string, number>();
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

  /**
   * Takes memory for a request before it is read; false if its connection must wait. A request larger than a bound gets
   * it when no other request within that bound has any.
   */
  reserve(waiter: Waiter, instance: string, bytes: number): boolean {
    const asked = { instance, bytes };
    const isNext = [...this.#queue.values()].every((other) => !this.#hasShare(other));
    if (isNext && this.#hasShare(asked) && this.#fits(asked)) {
      this.takeRequest(instance, bytes);
      return true;
    }
    this.#queue.set(waiter, asked);
    return false;
  }

  /** Takes memory for a request that was read already. */
  takeRequest(instance: string, bytes: number): void {
    const own = (this.#requestsOf.get(instance) ?? 0) + bytes;
    if (own === 0) this.#requestsOf.delete(instance);
    else this.#requestsOf.set(instance, own);
    this.#requests += bytes;
  }

  takeAnswer(bytes: number): void {
    this.#answers += bytes;
  }

  releaseRequest(instance: string, bytes: number): void {
    if (bytes === 0) return;
    this.takeRequest(instance, -bytes);
    this.#serve();
  }

  releaseAnswer(bytes: number): void {
    if (bytes === 0) return;
    this.#answers -= bytes;
    this.#serve();
  }

  /** Calls `proceed` once, when more may be answered. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  /** A waiter that is gone calls for nothing more. */
  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    if (this.#queue.delete(waiter)) this.#serve();
  }

  #hasShare({ instance, bytes }: Asked): boolean {
    const own = this.#requestsOf.get(instance) ?? 0;
    return own === 0 || own + bytes <= this.#bytesMax / 2;
  }

  #fits({ bytes }: Asked): boolean {
    return this.#requests === 0 || this.usedBytes + bytes <= this.#bytesMax;
  }

  /** Any waiter may take or release memory when it is called. */
  #serve(): void {
    for (const [waiter, asked] of [...this.#queue]) {
      if (!this.#queue.has(waiter) || !this.#hasShare(asked)) continue;
      // The next one of an instance with a share has its turn before those behind it.
      if (!this.#fits(asked)) break;
      this.#queue.delete(waiter);
      this.takeRequest(asked.instance, asked.bytes);
      waiter.granted(asked.bytes);
    }
    for (const waiter of [...this.#waiting]) {
      if (this.answersFull) break;
      if (this.#waiting.delete(waiter)) waiter.proceed();
    }
  }
}
