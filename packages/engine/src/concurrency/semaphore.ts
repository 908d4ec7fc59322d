import { FairQueue } from "./fair-queue.ts";

/** Whose turn it is, and how long the wait for it may be. */
export interface SemaphoreWait {
  /** Owners get permits in turn; waits without one are one owner's. */
  readonly owner?: unknown;
  readonly signal?: AbortSignal;
}

/** At most so many permits at a time. Waits end in their order, their owners in turn. */
export class Semaphore {
  readonly #queue = new FairQueue<unknown, () => void>();
  #free: number;

  constructor(permits: number) {
    this.#free = permits;
  }

  /** How many of an owner wait. */
  waiting(owner?: unknown): number {
    return this.#queue.sizeOf(owner);
  }

  /** Takes a permit if one is free. */
  tryAcquire(): boolean {
    if (this.#free === 0) return false;
    this.#free -= 1;
    return true;
  }

  /** Resolves with a permit, to be released; rejects with the signal's reason when that comes first. */
  async acquire({ owner, signal }: SemaphoreWait = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryAcquire()) return;
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.#queue.delete(owner, enter);
        reject(signal?.reason);
      };
      const enter = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#queue.push(owner, enter);
    });
  }

  /** Gives a permit back: to the next that waits, if any. */
  release(): void {
    const enter = this.#queue.shift();
    if (enter === undefined) this.#free += 1;
    else enter();
  }

  /** Runs `work` with a permit. */
  async run<Result>(work: () => Promise<Result>, wait: SemaphoreWait = {}): Promise<Result> {
    await this.acquire(wait);
    try {
      wait.signal?.throwIfAborted();
      return await work();
    } finally {
      this.release();
    }
  }
}
