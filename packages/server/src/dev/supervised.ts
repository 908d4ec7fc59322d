import { setTimeout as sleep } from "node:timers/promises";
import { reasonOf } from "../start-error.ts";
import type { Child } from "./child.ts";

const firstDelayMs = 200;
const delayMaxMs = 5000;
/** Who ran for so long is not in a loop of failures. */
const steadyMs = 30_000;

export interface SupervisedOptions {
  readonly start: () => Promise<Child>;
  /** Why it must not be started again, asked each time; undefined when it may. */
  readonly refusal: () => string | undefined;
  readonly say: (line: string) => void;
  /** Called when it runs again. */
  readonly restarted: () => void;
}

/** Keeps a process of the cluster running until told to stop; each end and start is said in one line. */
export class Supervised {
  readonly #options: SupervisedOptions;
  #child: Child;
  #stopping = false;
  #delayMs = firstDelayMs;

  private constructor(options: SupervisedOptions, child: Child) {
    this.#options = options;
    this.#child = child;
  }

  /** Starts it for the first time; rejects where that fails. */
  static async start(options: SupervisedOptions): Promise<Supervised> {
    return new Supervised(options, await options.start());
  }

  get child(): Child {
    return this.#child;
  }

  /** From now on an end that nobody asked for is followed by a new start. */
  watch(): void {
    void this.#keep();
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    await this.#child.stop(graceMs);
  }

  async #keep(): Promise<void> {
    for (;;) {
      const started = performance.now();
      const how = await this.#child.ended;
      if (this.#stopping) return;
      if (performance.now() - started > steadyMs) this.#delayMs = firstDelayMs;
      const { name, log } = this.#child;
      const refusal = this.#options.refusal();
      if (refusal !== undefined) {
        this.#options.say(`${name} ended (${how}) and is not started again: ${refusal} (${log})`);
        return;
      }
      this.#options.say(`${name} ended (${how}); it is started again (${log})`);
      if (!(await this.#again())) return;
    }
  }

  /** Tries until it runs; false when told to stop meanwhile. */
  async #again(): Promise<boolean> {
    for (;;) {
      await sleep(this.#delayMs);
      this.#delayMs = Math.min(this.#delayMs * 2, delayMaxMs);
      if (this.#stopping) return false;
      try {
        this.#child = await this.#options.start();
      } catch (error) {
        this.#options.say(reasonOf(error));
        continue;
      }
      // Told to stop while it started: whoever told has stopped the one before.
      if (this.#stopping) await this.#child.stop(0);
      else this.#options.restarted();
      return !this.#stopping;
    }
  }
}
