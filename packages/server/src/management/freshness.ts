/** How old the view may be while a store serves; nothing usual takes so long. */
const staleMs = 10_000;

/** What is looked at. */
export interface Seen {
  readonly nowMs: number;
  /** Whether a store serves this node, so that the view could be read anew. */
  readonly serves: boolean;
  /** When the view's last whole look began; undefined before the first. */
  readonly freshAtMs: number | undefined;
}

/**
 * Whether what is known of the system records may still be acted on. While no store serves nothing is answered
 * anyway, and it does not count; a view that falls behind although one does might miss a deleted certificate.
 */
export class Freshness {
  /** Since when a store has served without a break. */
  #servesSinceMs: number | undefined;

  /** Whether it may be acted on; called several times a second. */
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
