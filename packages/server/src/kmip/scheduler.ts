/** Asks for a turn. */
export interface Starter {
  /** Called when it has its turn; it must give the turn back. */
  start(): void;
}

interface Owner {
  readonly waiting: Starter[];
  running: number;
}

/** Requests of one instance at the same time: far more than keeps a node busy, far less than would make others wait. */
const atOnceMax = 128;
/** How long one turn of the event loop may begin requests; each begins with work that nothing interrupts. */
const sliceMs = 5;

/**
 * Decides when requests begin: a bounded number of one instance at the same time, for a bounded time in one turn of the
 * event loop, and where many wait, the instances in turn. A `Semaphore` has one bound for all owners, so it is not
 * enough.
 */
export class Scheduler {
  readonly #monotonicMs: () => number;
  readonly #atOnce: number;
  readonly #owners = new Map<string, Owner>();
  /** Owners with a request that may begin; the next one first. */
  readonly #ready = new Set<Owner>();
  /** 0 = nothing has begun in this turn of the event loop. */
  #sliceEndMs = 0;
  #beginning = false;

  constructor(monotonicMs: () => number, atOnce: number = atOnceMax) {
    this.#monotonicMs = monotonicMs;
    this.#atOnce = atOnce;
  }

  /** Calls `start`, now or when it is its turn. */
  enqueue(instance: string, starter: Starter): void {
    const owner = this.#ownerOf(instance);
    owner.waiting.push(starter);
    if (owner.running < this.#atOnce) this.#ready.add(owner);
    this.#begin();
  }

  /** Gives a turn back. */
  release(instance: string): void {
    const owner = this.#ownerOf(instance);
    owner.running -= 1;
    if (owner.waiting.length > 0) this.#ready.add(owner);
    this.#begin();
  }

  #ownerOf(instance: string): Owner {
    const known = this.#owners.get(instance);
    if (known !== undefined) return known;
    const owner = { waiting: [], running: 0 };
    this.#owners.set(instance, owner);
    return owner;
  }

  #begin(): void {
    // One that begins may give its turn back at once.
    if (this.#beginning) return;
    this.#beginning = true;
    for (const owner of this.#ready) {
      if (this.#isSliceOver()) break;
      this.#ready.delete(owner);
      const starter = owner.waiting.shift();
      if (starter === undefined) continue;
      owner.running += 1;
      if (owner.waiting.length > 0 && owner.running < this.#atOnce) this.#ready.add(owner);
      starter.start();
    }
    this.#beginning = false;
  }

  #isSliceOver(): boolean {
    const nowMs = this.#monotonicMs();
    if (this.#sliceEndMs > 0) return nowMs >= this.#sliceEndMs;
    this.#sliceEndMs = nowMs + sliceMs;
    setImmediate(() => {
      this.#sliceEndMs = 0;
      this.#begin();
    });
    return false;
  }
}
