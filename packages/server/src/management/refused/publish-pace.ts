/** How long after the last time the next is allowed, at first and at most. */
const firstMs = 1000;
const mostMs = 60_000;

/**
 * How often a node tells others of its refused clients: at once after a quiet time, and ever more seldom while they keep
 * coming, so that strangers cannot make it write.
 */
export class PublishPace {
  #lastMs = Number.NEGATIVE_INFINITY;
  #pauseMs = firstMs;

  /** Whether it may now; then it counts as done. */
  may(nowMs: number): boolean {
    const sinceMs = nowMs - this.#lastMs;
    if (sinceMs < this.#pauseMs) return false;
    const quiet = sinceMs >= 2 * mostMs;
    this.#pauseMs = quiet ? firstMs : Math.min(mostMs, this.#pauseMs * 2);
    this.#lastMs = nowMs;
    return true;
  }
}
