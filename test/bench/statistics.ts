/** Buckets grow by one per cent, so a percentile is wrong by at most that. */
const growth = Math.log(1.01);

/** Counts durations in buckets of equal ratio; small enough to send from one process to another. */
export class Histogram {
  readonly #counts: number[] = [];
  #total = 0;

  /** Makes a histogram from the output of `toJSON`. */
  static of(buckets: readonly (readonly [bucket: number, count: number])[]): Histogram {
    const histogram = new Histogram();
    for (const [bucket, count] of buckets) histogram.#add(bucket, count);
    return histogram;
  }

  get count(): number {
    return this.#total;
  }

  /** Counts one duration; durations below one microsecond count as one. */
  record(us: number): void {
    this.#add(us <= 1 ? 0 : Math.round(Math.log(us) / growth), 1);
  }

  /** Adds the counts of another histogram. */
  merge(other: Histogram): void {
    for (const [bucket, count] of other.toJSON()) this.#add(bucket, count);
  }

  /** The microseconds that `share` (0 to 1) of the durations do not exceed; undefined without any. */
  percentile(share: number): number | undefined {
    if (this.#total === 0) return undefined;
    const wanted = Math.max(1, Math.ceil(share * this.#total));
    let seen = 0;
    let last = 0;
    for (const [bucket, count] of this.toJSON()) {
      last = bucket;
      seen += count;
      if (seen >= wanted) break;
    }
    return Math.exp(last * growth);
  }

  toJSON(): [bucket: number, count: number][] {
    return this.#counts.flatMap((count = 0, bucket) =>
      count === 0 ? [] : [[bucket, count] as [number, number]],
    );
  }

  #add(bucket: number, count: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
    this.#total += count;
  }
}

/** The middle value, or the mean of the two in the middle; undefined for an empty list. */
export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const low = sorted[Math.ceil(half) - 1];
  const high = sorted[Math.floor(half)];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

/**
 * The ratio of `ours` to `theirs`: the median of the ratios round by round, since two rounds measured one after the
 * other saw the same machine; undefined if no round has both.
 */
export function pairedRatio(
  ours: readonly number[],
  theirs: readonly number[],
): number | undefined {
  const ratios = ours.flatMap((value, round) => {
    const other = theirs[round];
    return other === undefined || other === 0 ? [] : [value / other];
  });
  return median(ratios);
}
