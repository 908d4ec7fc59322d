interface Times {
  readonly damagedMs: number;
  /** When a search that began after the damage was answered with the record. */
  shownMs: number;
}

/**
 * Records that a fault has damaged in a region's store. Until it is repaired, a search of that store may lack such a record
 * (docs/guarantees.md, limits); one that began later and finds it has shown the repair.
 */
export class DamagedRecords {
  /** Object → region → times. */
  readonly #times = new Map<string, Map<string, Times>>();

  damage(region: string, id: string, damagedMs: number): void {
    const regions = this.#times.get(id) ?? new Map<string, Times>();
    this.#times.set(id, regions.set(region, { damagedMs, shownMs: Number.POSITIVE_INFINITY }));
  }

  /** Whether a search may lack an object: `store` is the region that served it, if it was one alone. */
  mayLack(id: string, store: string | undefined, askedMs: number): boolean {
    const regions = [...(this.#times.get(id) ?? [])];
    return regions.some(
      ([region, { shownMs }]) => (store ?? region) === region && askedMs <= shownMs,
    );
  }

  /** A search of a store was answered with these. */
  found(ids: Iterable<string>, store: string | undefined, askedMs: number, nowMs: number): void {
    if (store === undefined) return;
    for (const id of ids) {
      const times = this.#times.get(id)?.get(store);
      if (times === undefined || askedMs <= times.damagedMs) continue;
      times.shownMs = Math.min(times.shownMs, nowMs);
    }
  }
}
