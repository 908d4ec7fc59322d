/** What one look at a node's metrics told. */
export interface Sample {
  readonly atMs: number;
  /** Records acknowledged by one region alone, since the node's process began. */
  readonly alone: number;
}

/**
 * Knows for which times it is certain that no node acknowledged a change by its region alone: a counter that did not
 * move between two looks at it, or a process that did not live.
 */
export class Sharing {
  /** By node: times that are certain, in their order, adjoining ones together. */
  readonly #quiet = new Map<string, { fromMs: number; toMs: number }[]>();
  readonly #last = new Map<string, Sample>();
  /** Of all nodes' processes, those that have ended included. */
  aloneRecords = 0;

  constructor(nodes: readonly string[], atMs: number) {
    for (const node of nodes) {
      this.#quiet.set(node, []);
      this.#last.set(node, { atMs, alone: 0 });
    }
  }

  /** `beganMs` is when the metrics were asked for, `sample.atMs` when they came. */
  looked(node: string, beganMs: number, sample: Sample): void {
    const last = this.#last.get(node);
    if (last !== undefined && last.alone === sample.alone) this.#add(node, last.atMs, beganMs);
    if (last !== undefined) this.aloneRecords += Math.max(0, sample.alone - last.alone);
    // Counted from the question: what happened while the answer was made may be in it or not.
    this.#last.set(node, { atMs: beganMs, alone: sample.alone });
  }

  /** The process has ended: nobody will know what it did since the last look. */
  died(node: string, atMs: number): void {
    this.#last.set(node, { atMs, alone: 0 });
  }

  /** Whether no node can have acknowledged anything alone in this time. */
  certain(fromMs: number, toMs: number): boolean {
    return [...this.#quiet.values()].every((times) =>
      times.some((one) => one.fromMs <= fromMs && one.toMs >= toMs),
    );
  }

  #add(node: string, fromMs: number, toMs: number): void {
    const times = this.#quiet.get(node) ?? [];
    const last = times.at(-1);
    if (last !== undefined && last.toMs >= fromMs) last.toMs = Math.max(last.toMs, toMs);
    else times.push({ fromMs, toMs });
    this.#quiet.set(node, times);
  }
}
