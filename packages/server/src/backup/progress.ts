/** Shows progress on a line of a terminal, or nowhere. */
export type Show = (what: string, done: number, of: number) => void;

const everyMs = 200;
const barLength = 30;

/**
 * Shows how far a long command is, on one line of standard error that it overwrites; shows nothing
 * if that is not a terminal.
 */
export class Progress implements Disposable {
  readonly #stream: NodeJS.WriteStream;
  readonly #monotonicMs: () => number;
  #shownMs = Number.NEGATIVE_INFINITY;
  #dirty = false;

  constructor(stream: NodeJS.WriteStream, monotonicMs: () => number) {
    this.#stream = stream;
    this.#monotonicMs = monotonicMs;
  }

  readonly show: Show = (what, done, of) => {
    if (!this.#stream.isTTY) return;
    const nowMs = this.#monotonicMs();
    if (nowMs - this.#shownMs < everyMs && done < of) return;
    this.#shownMs = nowMs;
    const part = of <= 0 ? 1 : Math.min(1, done / of);
    const filled = Math.round(part * barLength);
    const bar = "#".repeat(filled).padEnd(barLength, ".");
    this.#stream.write(`\r${what} [${bar}] ${Math.floor(part * 100)} %`);
    this.#dirty = true;
  };

  [Symbol.dispose](): void {
    if (this.#dirty) this.#stream.write("\n");
  }
}
