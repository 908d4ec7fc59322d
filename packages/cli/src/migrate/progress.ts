import { SingleBar } from "cli-progress";
import type { Surroundings } from "./patience.ts";

/** Without a terminal, a line is written this often. */
const lineEveryMs = 10_000;

/** Where progress is shown. */
interface Shown {
  readonly isTTY?: boolean;
  readonly write: (text: string) => unknown;
}

/** Shows on standard error how far a command is: a bar at a terminal, else a line from time to time. */
export class Progress implements Disposable {
  readonly #what: string;
  readonly #total: number;
  readonly #around: Surroundings;
  readonly #to: Shown;
  readonly #bar: SingleBar | undefined;
  readonly #startedMs: number;
  #saidMs: number;
  #done = 0;

  constructor(what: string, total: number, around: Surroundings, to: Shown = process.stderr) {
    this.#what = what;
    this.#total = total;
    this.#around = around;
    this.#to = to;
    this.#startedMs = around.now();
    this.#saidMs = this.#startedMs;
    if (to.isTTY !== true || total === 0) return;
    const format = `${what} {bar} {value}/{total}, {eta_formatted} left`;
    this.#bar = new SingleBar({ format, stream: process.stderr, etaBuffer: 500 });
    this.#bar.start(total, 0);
  }

  /** So many more are done. */
  add(count: number): void {
    this.#done += count;
    this.#bar?.update(this.#done);
    const now = this.#around.now();
    if (this.#bar !== undefined || now - this.#saidMs < lineEveryMs) return;
    this.#saidMs = now;
    const left = this.#total - this.#done;
    const seconds = Math.round((((now - this.#startedMs) / this.#done) * left) / 1000);
    this.#to.write(
      `holdfast: ${this.#what}: ${this.#done} of ${this.#total}, ${timeText(seconds)} left\n`,
    );
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
  }
}

function timeText(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

/** Lets at most so many things begin in a second. */
export class Pace {
  readonly #everyMs: number;
  readonly #around: Surroundings;
  #nextMs: number;

  /** No limit without `perSecond`. */
  constructor(perSecond: number | undefined, around: Surroundings) {
    this.#everyMs = perSecond === undefined ? 0 : 1000 / perSecond;
    this.#around = around;
    this.#nextMs = around.now();
  }

  /** Resolves when the next thing may begin. */
  async turn(): Promise<void> {
    if (this.#everyMs === 0) return;
    const now = this.#around.now();
    const at = Math.max(now, this.#nextMs);
    this.#nextMs = at + this.#everyMs;
    if (at > now) await this.#around.sleep(at - now);
  }
}
