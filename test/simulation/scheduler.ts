import { Violation } from "./checker.ts";

interface Scheduled {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it has begun, or was cancelled. */
  run: (() => void) | undefined;
}

/** A history has about 1,400 events that wait. With more than this, requests make requests without end. */
const waitingMax = 20_000;
/** Fewer cancelled events than this stay in the heap until their time. */
const cancelledMin = 256;

/**
 * Virtual time: runs events in the order of their times. Between two events, everything that the first one started
 * runs to its end, so that a history depends only on its seed.
 */
export class Scheduler {
  #heap: Scheduled[] = [];
  /** How many events of the heap were cancelled: most timeouts are, long before their time. */
  #cancelled = 0;
  #order = 0;
  #nowMs = 0;
  #stirred = false;
  events = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs something after `delayMs`; returns a function that cancels it. */
  after(delayMs: number, run: () => void): () => void {
    this.#order += 1;
    const entry: Scheduled = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order,
      run,
    };
    this.#push(entry);
    return () => this.#cancel(entry);
  }

  /** Declares that this event starts something that must run to its end before the next event. */
  stir(): void {
    this.#stirred = true;
  }

  /** Lets time pass until `untilMs`, or until `done` returns true. Rejects with a `Violation` where too many events wait. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    await idle();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs || done()) break;
      if (this.#heap.length > waitingMax) throw new Violation("requests make requests without end");
      this.#pop();
      const { run } = next;
      if (run === undefined) {
        this.#cancelled -= 1;
        continue;
      }
      next.run = undefined;
      this.#nowMs = next.atMs;
      this.events += 1;
      run();
      if (!this.#stirred) continue;
      this.#stirred = false;
      await settled();
    }
    if (!done()) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #cancel(entry: Scheduled): void {
    if (entry.run === undefined) return;
    entry.run = undefined;
    this.#cancelled += 1;
    if (this.#cancelled < cancelledMin || 2 * this.#cancelled < this.#heap.length) return;
    // What is in order is a heap, too.
    this.#heap = this.#heap.filter(({ run }) => run !== undefined).sort(order);
    this.#cancelled = 0;
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

function order(a: Scheduled, b: Scheduled): number {
  return a.atMs - b.atMs || a.order - b.order;
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Resolves when every promise that can settle has settled: Node runs a tick only when no microtask is left. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve);
  });
}

/** The same after a turn of the event loop, which lets Node collect what is no longer referred to. */
export function idle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
