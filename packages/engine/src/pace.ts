import { setImmediate } from "node:timers/promises";
import { KmipError } from "@holdfast/kmip";
import type { Clock } from "./ports.ts";

/** Longer than any client waits; the server gives a connection up at twice this. */
const messageMs = 30_000;
/** How long one message may keep all others waiting. */
const turnMs = 10;

/** One message among others: how long it may take, and when others have their turn. */
export class Pace {
  readonly #clock: Clock;
  readonly #endMs: number;
  #turnEndMs: number;

  constructor(clock: Clock) {
    const nowMs = clock.monotonicMs();
    this.#clock = clock;
    this.#endMs = nowMs + messageMs;
    this.#turnEndMs = nowMs + turnMs;
  }

  /** Refuses to go on with a message that has taken too long. */
  check(): void {
    if (this.#clock.monotonicMs() < this.#endMs) return;
    const limit = `a message may take ${messageMs / 1000} s`;
    throw new KmipError("serverLimitExceeded", `${limit}: ask for less at a time`);
  }

  /** Between two items, of which none need have waited for anything: others have their turn. */
  async next(): Promise<void> {
    this.check();
    if (this.#clock.monotonicMs() < this.#turnEndMs) return;
    await setImmediate();
    this.#turnEndMs = this.#clock.monotonicMs() + turnMs;
  }
}
