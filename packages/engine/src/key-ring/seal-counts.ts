/** How often one KEK of an instance has sealed. */
export interface SealCount {
  readonly instance: string;
  readonly id: string;
  readonly count: number;
}

/**
 * How often this node has sealed under each KEK since somebody last took the numbers. AES-GCM with random nonces bounds
 * what one key may seal, so the numbers of all nodes are added up in the KEK's record.
 */
export class SealCounts {
  readonly #counts = new Map<string, SealCount>();

  /** Counts one seal, or as many as are given back. */
  count({ instance, id }: Pick<SealCount, "instance" | "id">, count = 1): void {
    const known = this.#counts.get(id)?.count ?? 0;
    this.#counts.set(id, { instance, id, count: known + count });
  }

  /** How many were counted under a KEK and not taken yet. */
  of(id: string): number {
    return this.#counts.get(id)?.count ?? 0;
  }

  /** Takes what was counted: the caller adds it up, or gives it back by `count`. */
  take(): readonly SealCount[] {
    const taken = [...this.#counts.values()];
    this.#counts.clear();
    return taken;
  }
}
