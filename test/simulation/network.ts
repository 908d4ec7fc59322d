import type { CommandLine } from "@holdfast/redis";
import { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** The behaviour of the network. */
export interface NetworkRules {
  /** The delay one way between regions. */
  readonly farMs: number;
  /** The probability that a message is lost without a cut. */
  readonly loss: number;
  /** The probability that a message between regions is much later than others; inside a region it is a tenth. */
  readonly late: number;
  /**
   * The probability that a connection between regions ends in place of an answer. If it is given, a node asks the other
   * region's nodes with all care of the product: the next one when one is silent.
   */
  readonly broken?: number;
}

/** A message that arrived or was lost, for a story. */
export interface Message {
  readonly from: string;
  readonly to: string;
  readonly kind: string;
  readonly sentMs: number;
  readonly lost: boolean;
}

/** How many histories have connections that end, and how often these do. */
const brokenShare = 1 / 8;
const brokenOften = 0.02;

/** Whether connections between regions end in the history of a seed; of its own numbers, so that other histories stay as they are. */
export function brokenIn(seed: number): Pick<NetworkRules, "broken"> {
  return new Random(seed + 2 ** 45).chance(brokenShare) ? { broken: brokenOften } : {};
}

const retryMs = 400;
const retries = 8;

/** Messages between places: they may be late, out of order or lost; none passes a cut. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  rules: NetworkRules;
  /** `from>to` → how many cuts are on this way. */
  readonly #cuts = new Map<string, number>();
  /** How many cuts there are on all ways together. */
  #cutsNow = 0;
  /** The number of lost messages. */
  lost = 0;
  /** How long commands that a node sends to a Redis are held on their way, and with them all that follow on their connection. */
  hold: ((from: string, to: string, lines: readonly CommandLine[]) => number) | undefined;
  /** Told of each message whose kind is known. */
  watch: ((message: Message) => void) | undefined;

  constructor(scheduler: Scheduler, random: Random, rules: NetworkRules) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.rules = rules;
  }

  /** From now on no message is lost, late or held without a cut, and no connection ends. */
  calm(): void {
    this.hold = undefined;
    const { broken, farMs } = this.rules;
    this.rules = { farMs, loss: 0, late: 0, ...(broken !== undefined && { broken: 0 }) };
  }

  /** Whether a connection between regions ends now, in place of the answer to a change if `changes`: of these few are sent. */
  breaks(changes: boolean): boolean {
    const { broken = 0 } = this.rules;
    return broken > 0 && this.#random.chance(changes ? 6 * broken : broken);
  }

  open(from: string, to: string): boolean {
    return this.#cutsNow === 0 || (this.#cuts.get(`${from}>${to}`) ?? 0) === 0;
  }

  /** Cuts the ways from each of `from` to each of `to`; returns a function that heals them. */
  cut(from: readonly string[], to: readonly string[], bothWays: boolean): () => void {
    const ways = from.flatMap((one) => to.map((other) => `${one}>${other}`));
    const back = from.flatMap((one) => to.map((other) => `${other}>${one}`));
    const all = bothWays ? [...ways, ...back] : ways;
    const count = (by: number): void => {
      this.#cutsNow += by * all.length;
      for (const way of all) this.#cuts.set(way, (this.#cuts.get(way) ?? 0) + by);
    };
    count(1);
    return () => count(-1);
  }

  /**
   * Sends a message, which is held for some time on its way; in a cut it is lost, or arrives late once the cut is healed. `kind`
   * is for a story.
   */
  send(from: string, to: string, arrive: () => void, kind?: string, heldMs = 0): void {
    const { loss, late, farMs } = this.rules;
    const random = this.#random;
    const scheduler = this.#scheduler;
    const sentMs = scheduler.nowMs;
    const over = (lost: boolean): void => {
      if (kind !== undefined) this.watch?.({ from, to, kind, sentMs, lost });
      if (lost) this.lost += 1;
      else arrive();
    };
    if (random.chance(loss)) {
      over(true);
      return;
    }
    const far = from[0] !== to[0];
    const base = far ? farMs : 0.2;
    const extra = random.chance(far ? late : late / 10)
      ? random.between(50, 1_500)
      : random.between(0, far ? 8 : 1);
    let left = random.chance(0.5) ? retries : 0;
    const attempt = (): void => {
      if (this.open(from, to)) over(false);
      else if (left === 0) over(true);
      else {
        left -= 1;
        scheduler.after(retryMs, attempt);
      }
    };
    scheduler.after(base + extra + heldMs, attempt);
  }
}
