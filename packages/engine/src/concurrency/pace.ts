import { KmipError } from "@holdfast/kmip";
import type { Clock } from "../base/clock.ts";
import { FairQueue } from "./fair-queue.ts";

/** Longer than any client waits; the server closes a connection after twice this time. */
const messageMs = 30_000;
/** How long one message may keep all others waiting. */
const turnMs = 10;

/** Long-running messages: each turn of the event loop continues one of them, and the instances take turns. */
export class RoundRobin {
  readonly #waiting = new FairQueue<string, () => void>();

  /** Resolves when it is the message's turn. */
  turn(instance: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.size === 0) setImmediate(() => this.#goOn());
      this.#waiting.push(instance, resolve);
    });
  }

  #goOn(): void {
    const begin = this.#waiting.shift();
    if (this.#waiting.size > 0) setImmediate(() => this.#goOn());
    begin?.();
  }
}

/** How long one message may take, and when it lets others run. */
export class Pace {
  readonly #clock: Clock;
  readonly #roundRobin: RoundRobin;
  readonly #instance: string;
  readonly #endMs: number;
  #turnEndMs: number;

  constructor(clock: Clock, roundRobin: RoundRobin, instance: string) {
    const nowMs = clock.monotonicMs();
    this.#clock = clock;
    this.#roundRobin = roundRobin;
    this.#instance = instance;
    this.#endMs = nowMs + messageMs;
    this.#turnEndMs = nowMs + turnMs;
  }

  /** Refuses to continue a message that has taken too long. */
  check(): void {
    if (this.#clock.monotonicMs() < this.#endMs) return;
    const limit = `the limit of ${messageMs / 1000} s for a message is reached`;
    throw new KmipError("serverLimitExceeded", `${limit}: request less at a time`);
  }

  /** Called between two items, which may never have awaited anything: lets other messages continue. */
  async next(): Promise<void> {
    this.check();
    if (this.#clock.monotonicMs() < this.#turnEndMs) return;
    await this.#roundRobin.turn(this.#instance);
    this.#turnEndMs = this.#clock.monotonicMs() + turnMs;
  }
}
