/** A request to one node. */
export interface Attempt<Result> {
  /** Rejects with `CallFailed`. */
  readonly result: Promise<Result>;
  /**
   * Calls `listener` once when nothing has been heard from the node for too long; the attempt
   * continues.
   */
  readonly onStall: (listener: () => void) => void;
  readonly cancel: () => void;
}

/** An attempt that has not ended, as its node link tracks it. */
export class Pending {
  readonly sinceMs: number;
  readonly endsMs: number;
  readonly expire: () => void;
  readonly #listeners: (() => void)[] = [];
  #stalled = false;

  constructor(sinceMs: number, endsMs: number, expire: () => void) {
    this.sinceMs = sinceMs;
    this.endsMs = endsMs;
    this.expire = expire;
  }

  readonly onStall = (listener: () => void): void => {
    if (this.#stalled) listener();
    else this.#listeners.push(listener);
  };

  stall(): void {
    if (this.#stalled) return;
    this.#stalled = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

/** The answer to a request that several nodes may have received. */
export interface Answered<Result> {
  readonly result: Result;
  /** Another node may have done it too, or may still do it. */
  readonly doubt: boolean;
}

/** How the failures of several nodes are judged. */
export interface Judge {
  /** No other node would answer differently. */
  readonly final: (error: unknown) => boolean;
  /** The node has certainly not done it. */
  readonly undone: (error: unknown) => boolean;
  /** Which of two errors to throw. */
  readonly better: (before: unknown, after: unknown) => unknown;
}

/**
 * Asks one node after the other, the next one when the one before fails or stalls, and takes the
 * first answer. Rejects with an error that every node would give, or where none answers.
 */
export function acrossNodes<Node, Result>(
  nodes: readonly Node[],
  ask: (node: Node) => Attempt<Result>,
  judge: Judge,
): Promise<Answered<Result>> {
  return new Promise((resolve, reject) => {
    new Across(nodes, ask, judge, resolve, reject).next();
  });
}

class Across<Node, Result> {
  readonly #nodes: readonly Node[];
  readonly #ask: (node: Node) => Attempt<Result>;
  readonly #judge: Judge;
  readonly #resolve: (answered: Answered<Result>) => void;
  readonly #reject: (error: unknown) => void;
  readonly #running = new Set<Attempt<Result>>();
  #at = 0;
  #over = false;
  #doubt = false;
  #failure: unknown;

  constructor(
    nodes: readonly Node[],
    ask: (node: Node) => Attempt<Result>,
    judge: Judge,
    resolve: (answered: Answered<Result>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#nodes = nodes;
    this.#ask = ask;
    this.#judge = judge;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Asks the next node; rejects where no node is left and nothing is under way. */
  next(): void {
    if (this.#over) return;
    if (this.#at >= this.#nodes.length) {
      if (this.#running.size === 0) this.#end(() => this.#reject(this.#failure));
      return;
    }
    const attempt = this.#ask(this.#nodes[this.#at++] as Node);
    this.#running.add(attempt);
    let stalled = false;
    attempt.onStall(() => {
      stalled = true;
      this.next();
    });
    attempt.result.then(
      (result) => {
        this.#running.delete(attempt);
        const doubt = this.#doubt || this.#running.size > 0;
        this.#end(() => this.#resolve({ result, doubt }));
      },
      (error: unknown) => {
        this.#running.delete(attempt);
        this.#failed(error, stalled);
      },
    );
  }

  #failed(error: unknown, stalled: boolean): void {
    if (this.#over) return;
    if (!this.#judge.undone(error)) this.#doubt = true;
    this.#failure = this.#failure === undefined ? error : this.#judge.better(this.#failure, error);
    if (this.#judge.final(error)) this.#end(() => this.#reject(error));
    // After one that stalled, the next was asked already.
    else if (!stalled || this.#running.size === 0) this.next();
  }

  #end(settle: () => void): void {
    if (this.#over) return;
    this.#over = true;
    settle();
    for (const attempt of this.#running) attempt.cancel();
  }
}
