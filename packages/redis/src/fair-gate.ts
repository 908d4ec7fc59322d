/** Lets a few bodies run at the same time; those that wait come in their order, their owners in turn. */
export class FairGate {
  /** By owner; whose turn it is stands first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #free: number;

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Runs a body when it is its turn. */
  async run<Result>(owner: string, body: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(owner);
    try {
      return await body();
    } finally {
      this.#next();
    }
  }

  #turn(owner: string): Promise<void> {
    return new Promise((resolve) => {
      const queue = this.#waiting.get(owner);
      if (queue === undefined) this.#waiting.set(owner, [resolve]);
      else queue.push(resolve);
    });
  }

  /** Hands the turn to the next that waits; its owner then stands last. */
  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#free += 1;
      return;
    }
    const [owner, queue] = first;
    const begin = queue.shift();
    this.#waiting.delete(owner);
    if (queue.length > 0) this.#waiting.set(owner, queue);
    begin?.();
  }
}
