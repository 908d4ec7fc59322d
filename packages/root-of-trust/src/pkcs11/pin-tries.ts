import { type Clock, RootOfTrustError, Semaphore } from "@holdfast/engine";
import type { HostAnswer, HostFault } from "./messages.ts";

/** How long a token that refused a PIN is tried with no other PIN that is not known to be right. */
const pauseMs = 3_600_000;
const minuteMs = 60_000;

/**
 * What a token said of PINs, for all of its hosts: it counts the wrong PINs of all who use it together, and locks after
 * a few. PINs are named by digests.
 */
export class PinTries {
  readonly #token: string;
  /** One PIN at a time is tried for the first time: several at once would all be tried before the first is refused. */
  readonly #first = new Semaphore(1);
  readonly #proven = new Set<string>();
  readonly #refused = new Set<string>();
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(token: string) {
    this.#token = token;
  }

  /** Whether no PIN was accepted or refused yet. */
  get isEmpty(): boolean {
    return this.#proven.size === 0 && this.#refused.size === 0;
  }

  /** Asks the token with a PIN. Rejects with a `RootOfTrustError` if the token must not be tried with it now. */
  async ask(pin: string, clock: Clock, ask: () => Promise<HostAnswer>): Promise<HostAnswer> {
    this.#check(pin, clock);
    if (this.#proven.has(pin)) return this.#noted(pin, clock, await ask());
    return await this.#first.run(async () => {
      this.#check(pin, clock);
      return this.#noted(pin, clock, await ask());
    });
  }

  #check(pin: string, clock: Clock): void {
    if (this.#refused.has(pin)) {
      throw new RootOfTrustError(
        "denied",
        `token ${this.#token} refused this PIN before; it is not tried again: correct the PIN, or restart the node once the token has this one`,
      );
    }
    const restMs = this.#notBeforeMs - clock.monotonicMs();
    if (this.#proven.has(pin) || restMs <= 0) return;
    const minutes = Math.ceil(restMs / minuteMs);
    throw new RootOfTrustError(
      "unavailable",
      `token ${this.#token} refused another PIN, and a new PIN is not tried for ${minutes} min, so that the token does not lock: wait, or restart the node`,
    );
  }

  #noted(pin: string, clock: Clock, answer: HostAnswer): HostAnswer {
    if ("value" in answer) this.#proven.add(pin);
    else if (isRefusal(answer.fault) && !this.#refused.has(pin)) {
      this.#refused.add(pin);
      // Nobody guessed a PIN that was right before: the token has another one now, which may be the next.
      if (!this.#proven.delete(pin)) this.#notBeforeMs = clock.monotonicMs() + pauseMs;
    }
    return answer;
  }
}

function isRefusal(fault: HostFault): boolean {
  return fault.kind === "pinRefused" && fault.tried;
}
