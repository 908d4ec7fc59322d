import { type Observer, StoreUnavailable, type Timers } from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";
import { Nap } from "./waiting.ts";

export interface DutyLoopOptions {
  readonly timers: Timers;
  readonly observe: Observer;
  /** A random number from 0 to 1, so that the loops of several regions do not run in step. */
  readonly chance: () => number;
  /** Called when the store refused the epoch: the term is over. */
  readonly deposed: (reason: string) => void;
}

/**
 * How long a duty rests after a failure, at least and at most, and while it may not run; and how
 * long it reports nothing while nothing happens.
 */
const failureRestMs = 500;
const failureRestMaxMs = 10_000;
const inactiveRestMs = 100;
const quietMs = 5_000;

/** One duty, run again and again for as long as a term lasts; never twice at the same time. */
export class DutyLoop {
  readonly duty: Duty;
  readonly #options: DutyLoopOptions;
  readonly #nap: Nap;
  #failures = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #reported: DutyResult = { done: 0, left: 0 };

  constructor(duty: Duty, options: DutyLoopOptions) {
    this.duty = duty;
    this.#options = options;
    this.#nap = new Nap(options.timers);
  }

  /** Ends the pause between two runs. */
  wake(): void {
    this.#nap.wake();
  }

  /** Resolves when the term is over and no run is under way any more. */
  async run(context: DutyContext): Promise<void> {
    while (!context.signal.aborted) {
      const restMs = context.active() ? await this.#once(context) : inactiveRestMs;
      if (context.signal.aborted) return;
      await this.#nap.sleep(restMs);
    }
  }

  /** Runs the duty once; returns how long to rest. */
  async #once(context: DutyContext): Promise<number> {
    const { timers, observe, deposed } = this.#options;
    const startedMs = timers.monotonicMs();
    const duty = this.duty.name;
    try {
      const result = await this.duty.run(context);
      this.#failures = 0;
      this.#report(result, startedMs);
      return result.done > 0 && result.left > 0 ? 0 : this.duty.everyMs;
    } catch (cause) {
      if (cause instanceof StoreUnavailable && cause.failure === "deposed") {
        deposed("the store knows a higher epoch");
      }
      // A run that was interrupted by the end of its term did not fail.
      if (!context.active()) return inactiveRestMs;
      const durationMs = timers.monotonicMs() - startedMs;
      observe({
        type: "duty",
        duty,
        ok: false,
        durationMs,
        done: 0,
        left: this.#reported.left,
        cause,
      });
      return this.#restAfterFailure();
    }
  }

  /** Reports changes at once, and idleness from time to time. */
  #report(result: DutyResult, startedMs: number): void {
    const { timers, observe } = this.#options;
    const nowMs = timers.monotonicMs();
    const same = result.done === 0 && result.left === this.#reported.left;
    if (same && nowMs - this.#reportedMs < quietMs) return;
    this.#reportedMs = nowMs;
    this.#reported = result;
    const durationMs = nowMs - startedMs;
    observe({ type: "duty", duty: this.duty.name, ok: true, durationMs, ...result });
  }

  #restAfterFailure(): number {
    const grownMs = failureRestMs * 2 ** Math.min(this.#failures, 6);
    this.#failures += 1;
    this.#reportedMs = Number.NEGATIVE_INFINITY;
    const maxMs = Math.max(this.duty.everyMs, failureRestMs);
    const restMs = Math.min(grownMs, failureRestMaxMs, maxMs * 4);
    return restMs * (0.75 + this.#options.chance() / 2);
  }
}
