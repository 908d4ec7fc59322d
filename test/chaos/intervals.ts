/** Start and end on the monotonic clock; an open interval has no end yet. */
export interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Times in which something was true; some may still be open. */
export class Intervals {
  readonly #closed: Interval[] = [];
  readonly #open = new Map<string, number>();

  /** Begins an interval under a name; one that is already open continues. */
  begin(name: string, atMs: number): void {
    if (!this.#open.has(name)) this.#open.set(name, atMs);
  }

  end(name: string, atMs: number): void {
    const fromMs = this.#open.get(name);
    if (fromMs === undefined) return;
    this.#open.delete(name);
    this.#closed.push({ fromMs, toMs: atMs });
  }

  endAll(atMs: number): void {
    for (const name of [...this.#open.keys()]) this.end(name, atMs);
  }

  add(fromMs: number, toMs: number): void {
    this.#closed.push({ fromMs, toMs });
  }

  /** Whether any of them overlaps with this time. */
  touches(fromMs: number, toMs: number): boolean {
    return this.#all().some((one) => one.fromMs <= toMs && one.toMs >= fromMs);
  }

  /** Whether one of them contains all of this time. */
  covers(fromMs: number, toMs: number): boolean {
    return this.#all().some((one) => one.fromMs <= fromMs && one.toMs >= toMs);
  }

  #all(): readonly Interval[] {
    const open = [...this.#open.values()].map((fromMs) => ({
      fromMs,
      toMs: Number.POSITIVE_INFINITY,
    }));
    return [...this.#closed, ...open];
  }
}
