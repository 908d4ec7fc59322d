/** The result of reading a node's metrics once. */
export interface Sample {
  readonly atMs: number;
  /** Records that one region acknowledged alone since the start of the node's process. */
  readonly alone: number;
}

/**
 * Knows the times for which it is certain that no node acknowledged a change alone: its counter did not
 * change between two readings, or its process did not run.
 */
export class Sharing {
  /** By node: the certain times in order, with adjacent ones merged. */
  readonly #quiet = new Map<string, { fromMs: number; toMs: number }[]>();
  readonly #last = new Map<string, Sample>();
  /** The count of all nodes' processes, ended ones included. */
  aloneRecords = 0;

  constructor(nodes: readonly string[], atMs: number) {
    for (const node of nodes) {
      this.#quiet.set(node, []);
      this.#last.set(node, { atMs, alone: 0 });
    }
  }

  /** `beganMs` is the time of the request for metrics, `sample.atMs` that of the answer. */
  looked(node: string, beganMs: number, sample: Sample): void {
    const last = this.#last.get(node);
    if (last !== undefined && last.alone === sample.alone) this.#add(node, last.atMs, beganMs);
    if (last !== undefined) this.aloneRecords += Math.max(0, sample.alone - last.alone);
    // The next time begins at the request: changes during the answer may or may not be in it.
    this.#last.set(node, { atMs: beganMs, alone: sample.alone });
  }

  /** The process has ended: what it did since the last reading stays unknown. */
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
