import { setTimeout as sleep } from "node:timers/promises";
import type { Clock, Ids } from "@holdfast/engine";

/** Times of a call: every one in milliseconds. */
export interface CallTimes {
  /** For the whole call, its waits and repetitions included. */
  readonly deadlineMs: number;
  /** For one attempt, from when it is its turn. */
  readonly attemptMs: number;
  /** Longest wait before the first repetition; twice as long before each next one. */
  readonly backOffMs: number;
}

/** Times that suit a key manager in the same region. */
export const callTimes: CallTimes = { deadlineMs: 10_000, attemptMs: 4000, backOffMs: 100 };

/** What became of an attempt: an answer for good, or a reason to try again, perhaps not before some time. */
export type Outcome<T> =
  | { readonly done: T }
  | { readonly again: Error; readonly afterMs?: number | undefined };

const longestBackOffMs = 2000;
/** However long a server asks to be left alone, it is asked again after this. */
const longestRestMs = 10_000;

/** Repeats calls to one server, with jitter, within a deadline, and leaves it alone for as long as it asks for. */
export class Retries {
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #times: CallTimes;
  #restUntilMs = 0;

  constructor(clock: Clock, ids: Ids, times: CallTimes) {
    this.#clock = clock;
    this.#ids = ids;
    this.#times = times;
  }

  /** Rejects with the last attempt's reason when the time is over, or with `ended`'s. An attempt's signal is the end of all. */
  async run<T>(
    attempt: (signal: AbortSignal, number: number) => Promise<Outcome<T>>,
    ended: AbortSignal,
  ): Promise<T> {
    const late = AbortSignal.timeout(Math.ceil(this.#times.deadlineMs));
    const signal = AbortSignal.any([late, ended]);
    const endMs = this.#clock.monotonicMs() + this.#times.deadlineMs;
    let last: Error | undefined;
    for (let number = 1; ; number++) {
      await this.#rest(endMs, ended, last);
      const outcome = await attempt(signal, number);
      if ("done" in outcome) return outcome.done;
      ended.throwIfAborted();
      last = outcome.again;
      this.#leaveAlone(outcome.afterMs);
      const waitMs = this.#backOff(number);
      if (this.#clock.monotonicMs() + waitMs >= endMs) throw last;
      await sleep(waitMs, undefined, { signal: ended });
    }
  }

  /** Waits for as long as the server asked for; gives up at once where that is after the end. */
  async #rest(endMs: number, signal: AbortSignal, last: Error | undefined): Promise<void> {
    const waitMs = this.#restUntilMs - this.#clock.monotonicMs();
    if (waitMs <= 0) return;
    if (this.#clock.monotonicMs() + waitMs >= endMs) {
      throw last ?? new Error(`asked for no calls for ${Math.ceil(waitMs / 1000)} s more`);
    }
    await sleep(waitMs, undefined, { signal });
  }

  #leaveAlone(afterMs: number | undefined): void {
    if (afterMs === undefined) return;
    const untilMs = this.#clock.monotonicMs() + Math.min(afterMs, longestRestMs);
    this.#restUntilMs = Math.max(this.#restUntilMs, untilMs);
  }

  /** Full jitter: anything from nothing to the bound, so that many callers do not come back together. */
  #backOff(number: number): number {
    const bound = Math.min(longestBackOffMs, this.#times.backOffMs * 2 ** (number - 1));
    const [chance = 0, more = 0] = this.#ids.randomBytes(2);
    return (bound * (chance * 256 + more)) / 65_536;
  }
}

/** `retry-after` in milliseconds: seconds, or a date. */
export function retryAfterMs(header: string | undefined, wallMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const dateMs = /^[A-Z][a-z]{2}, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - wallMs);
}
