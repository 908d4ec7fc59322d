interface Scheduled {
  readonly atMs: number;
  readonly order: number;
  /** Absent where it was called off. */
  run: (() => void) | undefined;
}

/**
 * Virtual time: what is to happen, in the order of its time. Between two events everything that the first one set off
 * runs to its end, so that a history depends on its seed and on nothing else.
 */
export class Scheduler {
  readonly #heap: Scheduled[] = [];
  #order = 0;
  #nowMs = 0;
  #stirred = false;
  events = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Something that happens after `delayMs`; answers how to call it off. */
  after(delayMs: number, run: () => void): () => void {
    this.#order += 1;
    const entry: Scheduled = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order,
      run,
    };
    this.#push(entry);
    return () => {
      entry.run = undefined;
    };
  }

  /** Says that this event sets something off that has to run to its end before the next one. */
  stir(): void {
    this.#stirred = true;
  }

  /** Lets time pass until `untilMs`, or until `done`. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    await settled();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs || done()) break;
      this.#pop();
      if (next.run === undefined) continue;
      this.#nowMs = next.atMs;
      this.events += 1;
      next.run();
      if (!this.#stirred) continue;
      this.#stirred = false;
      await settled();
    }
    if (!done()) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #push(entry: Scheduled): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      let child = heap[left];
      let childAt = left;
      const right = heap[left + 1];
      if (child !== undefined && right !== undefined && isBefore(right, child)) {
        child = right;
        childAt = left + 1;
      }
      if (child === undefined || !isBefore(child, last)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Resolves when every promise that can settle has settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
