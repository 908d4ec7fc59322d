import { type Address, OperatorError, printAddress, reasonOf } from "@holdfast/server/base";
import { Relay } from "@holdfast/testing";

/** The line between two regions: one relay per node, all with the same delay, and all cut together. */
export class Line implements AsyncDisposable {
  readonly #relays: Relay[] = [];
  readonly #delayMs: number;
  #cut = false;

  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  /** Forwards connections from `listen` to `target`. */
  async add(listen: Address, target: Address): Promise<void> {
    try {
      this.#relays.push(await Relay.open(target, { listen, delayMs: this.#delayMs }));
    } catch (error) {
      throw new OperatorError(
        `${printAddress(listen)} (line between the regions) cannot be listened on: ${reasonOf(error)}`,
      );
    }
  }

  /** Cuts or heals the line; returns whether that changed anything. */
  cut(cut: boolean): boolean {
    if (this.#cut === cut) return false;
    this.#cut = cut;
    for (const relay of this.#relays) relay.cut(cut);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#relays.map((relay) => relay[Symbol.asyncDispose]()));
  }
}
