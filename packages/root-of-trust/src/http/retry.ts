import { setTimeout as sleep } from "node:timers/promises";
import type { Clock, Ids } from "@holdfast/engine";

/** Times of a call, in milliseconds. */
export interface CallTimes {
  /** For the whole call, including waits and retries. */
  readonly deadlineMs: number;
  /** For one attempt, without the wait for a free connection. */
  readonly attemptMs: number;
  /** Longest wait before the first retry; it doubles before each further one. */
  readonly backOffMs: number;
}

/** Suitable for a key manager in the same region. */
export const callTimes: CallTimes = { deadlineMs: 10_000, attemptMs: 4000, backOffMs: 100 };

/** Result of an attempt: a final answer, or a reason to try again, possibly after a minimum wait. */
export type Outcome<T> =
  | { readonly done: T }
  | { readonly again: Error; readonly afterMs?: number | undefined };

const longestBackOffMs = 2000;
/** Limit on the pause that a server can ask for with `retry-after`. */
const longestRestMs = 10_000;

/** Retries calls to one server, with jitter, within a deadline, and observes its `retry-after`. */
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

  /**
   * Rejects with the last attempt's reason at the deadline, or with the reason of `ended`. An attempt's signal covers
   * both.
   */
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
      // The timer of `late` may end a little before the clock says so.
      if (late.aborted || this.#clock.monotonicMs() + waitMs >= endMs) throw last;
      await sleep(waitMs, undefined, { signal: ended });
    }
  }

  /** Waits for as long as the server asked; rejects at once if that exceeds the deadline. */
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

  /** Full jitter: a random wait from 0 to the limit, so that many callers do not retry at the same time. */
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
