/**
 * Records that a fault has damaged in a region's store. Until it is repaired, a search of that store may lack such a record
 * (docs/guarantees.md, limits); one that finds it again has shown the repair.
 */
export class DamagedRecords {
  /** Object → regions. */
  readonly #regions = new Map<string, Set<string>>();

  damage(region: string, id: string): void {
    this.#regions.set(id, new Set(this.#regions.get(id)).add(region));
  }

  /** Whether a search may lack an object: `store` is the region that served it, if it was one alone. */
  mayLack(id: string, store: string | undefined): boolean {
    const regions = this.#regions.get(id);
    if (regions === undefined) return false;
    return store === undefined ? regions.size > 0 : regions.has(store);
  }

  /** A search of a store has found these. */
  found(ids: Iterable<string>, store: string | undefined): void {
    if (store === undefined) return;
    for (const id of ids) this.#regions.get(id)?.delete(store);
  }
}
