import { TurnQueue } from "@holdfast/engine";

/** Lets a few bodies run at the same time; those that wait come in their order, their owners in turn. */
export class FairGate {
  readonly #waiting = new TurnQueue<string, () => void>();
  #free: number;

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Runs a body when it is its turn. */
  async run<Result>(owner: string, body: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(owner, resolve));
    try {
      return await body();
    } finally {
      const begin = this.#waiting.shift();
      if (begin === undefined) this.#free += 1;
      else begin();
    }
  }
}
