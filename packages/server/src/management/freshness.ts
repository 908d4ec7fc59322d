/** How old the view may be while a store serves; in normal operation it is much younger. */
const staleMs = 10_000;

/** What the decision depends on. */
export interface Seen {
  readonly nowMs: number;
  /** Whether a store serves this node, so that the view could be read again. */
  readonly serves: boolean;
  /** When the view's last complete look began; undefined before the first. */
  readonly freshAtMs: number | undefined;
}

/**
 * Whether this node's view of the system records may still be used. While no store serves, nothing is answered anyway,
 * and that time does not count; a view that falls behind although a store serves might miss a deleted certificate.
 */
export class Freshness {
  /** Since when a store has served without a break. */
  #servesSinceMs: number | undefined;

  /** Whether the view may be used; called several times a second. */
  look({ nowMs, serves, freshAtMs }: Seen): boolean {
    if (!serves) {
      this.#servesSinceMs = undefined;
      return true;
    }
    this.#servesSinceMs ??= nowMs;
    const knownMs = Math.max(freshAtMs ?? Number.NEGATIVE_INFINITY, this.#servesSinceMs);
    return nowMs - knownMs <= staleMs;
  }
}
