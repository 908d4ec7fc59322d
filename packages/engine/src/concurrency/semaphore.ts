import { FairQueue } from "./fair-queue.ts";

/** Who waits for a permit, and what ends the wait early. */
export interface SemaphoreWait {
  /** Owners take turns; waits without an owner count as one owner's. */
  readonly owner?: unknown;
  readonly signal?: AbortSignal;
}

/** Grants a limited number of permits at a time. Each owner's waits end in order, and the owners take turns. */
export class Semaphore {
  readonly #queue = new FairQueue<unknown, () => void>();
  #free: number;

  constructor(permits: number) {
    this.#free = permits;
  }

  /** The number of an owner's waits. */
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

  /** Returns a permit, which passes to the next wait, if any. */
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
