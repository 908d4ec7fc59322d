/** How much a bucket holds and how fast it fills. */
export interface BucketSize {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

/** Token buckets by name; the number of names is bounded, since strangers choose them. */
export class Buckets {
  readonly #size: BucketSize;
  readonly #monotonicMs: () => number;
  readonly #namesMax: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(size: BucketSize, monotonicMs: () => number, namesMax: number = 10_000) {
    this.#size = size;
    this.#monotonicMs = monotonicMs;
    this.#namesMax = namesMax;
  }

  /** Takes `amount` (at most the burst) from a bucket; returns 0, or the seconds to wait for it. */
  take(name: string, amount = 1): number {
    const { perSecond, burst } = this.#size;
    const nowMs = this.#monotonicMs();
    const known = this.#buckets.get(name);
    const filled =
      known === undefined
        ? burst
        : Math.min(burst, known.left + ((nowMs - known.atMs) * perSecond) / 1000);
    // The bucket used last moves to the end, so that the first is the one to forget.
    this.#buckets.delete(name);
    const taken = filled >= amount;
    this.#buckets.set(name, { left: taken ? filled - amount : filled, atMs: nowMs });
    if (this.#buckets.size > this.#namesMax) this.#forgetOldest();
    return taken ? 0 : Math.max(1, Math.ceil((amount - filled) / perSecond));
  }

  #forgetOldest(): void {
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
