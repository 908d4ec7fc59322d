import { setTimeout as sleep } from "node:timers/promises";
import { reasonOf } from "@holdfast/server/base";
import type { Child } from "./child.ts";
import { isFrozen, signal } from "./process-identity.ts";

const firstDelayMs = 200;
const delayMaxMs = 5000;
/** A process that ran for this long is not in a loop of failures. */
const steadyMs = 30_000;
const timerMaxMs = 2_147_483_647;

export interface SupervisedOptions {
  readonly start: () => Promise<Child>;
  /** Called before each restart: why it must not be started again; undefined if it may. */
  readonly refusal: () => string | undefined;
  readonly say: (line: string) => void;
  /** Called after each restart. */
  readonly restarted: () => void;
}

/** Keeps a process of the cluster running until it is stopped; each end and start is reported in one line. */
export class Supervised {
  readonly #options: SupervisedOptions;
  #child: Child;
  #stopping = false;
  /** Set while it is down on request: when it may be started again. */
  #downUntilMs: number | undefined;
  #wake = new AbortController();
  #delayMs = firstDelayMs;

  private constructor(options: SupervisedOptions, child: Child) {
    this.#options = options;
    this.#child = child;
  }

  /** Starts it for the first time; rejects if that fails. */
  static async start(options: SupervisedOptions): Promise<Supervised> {
    return new Supervised(options, await options.start());
  }

  get child(): Child {
    return this.#child;
  }

  get state(): "runs" | "frozen" | "ended" {
    if (!this.#child.alive) return "ended";
    return isFrozen(this.#child.identity) ? "frozen" : "runs";
  }

  /** From now on, restarts the process whenever it ends without a request. */
  watch(): void {
    void this.#keep();
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.#wake.abort();
    await this.#child.stop(graceMs);
  }

  /** Ends it at once, and starts it again after `restMs`; with `Infinity` only when it is revived. */
  async kill(restMs: number): Promise<void> {
    this.#downUntilMs = performance.now() + restMs;
    this.#wake.abort();
    if (!this.#child.alive) return;
    signal(this.#child.identity, "SIGKILL");
    await this.#child.ended;
  }

  /** Starts it now if it was killed; returns whether it was. */
  revive(): boolean {
    if (this.#downUntilMs === undefined) return false;
    this.#downUntilMs = 0;
    this.#wake.abort();
    return true;
  }

  /** Stops it (SIGSTOP); false if it does not run. */
  freeze(): boolean {
    const runs = this.state === "runs";
    if (runs) signal(this.#child.identity, "SIGSTOP");
    return runs;
  }

  /** Continues it (SIGCONT); false if it was not frozen. */
  thaw(): boolean {
    const frozen = this.state === "frozen";
    if (frozen) signal(this.#child.identity, "SIGCONT");
    return frozen;
  }

  async #keep(): Promise<void> {
    for (;;) {
      const started = performance.now();
      const how = await this.#child.ended;
      if (this.#stopping) return;
      if (performance.now() - started > steadyMs) this.#delayMs = firstDelayMs;
      const { name, log } = this.#child;
      const asked = this.#downUntilMs !== undefined;
      await this.#rest();
      if (this.#stopping) return;
      const refusal = this.#options.refusal();
      if (refusal !== undefined) {
        this.#options.say(`${name} ended (${how}) and is not started again: ${refusal} (${log})`);
        return;
      }
      if (!asked) {
        this.#options.say(`${name} ended (${how}); it is started again (${log})`);
      }
      if (!(await this.#again(!asked))) return;
      this.#options.say(`${name} runs again (process ${this.#child.identity.pid})`);
    }
  }

  /** Waits as long as it must stay down. */
  async #rest(): Promise<void> {
    while (this.#downUntilMs !== undefined && !this.#stopping) {
      const leftMs = this.#downUntilMs - performance.now();
      if (leftMs <= 0) this.#downUntilMs = undefined;
      else {
        this.#wake = new AbortController();
        const { signal: woken } = this.#wake;
        await sleep(Math.min(leftMs, timerMaxMs), undefined, { signal: woken }).catch(() => {});
      }
    }
  }

  /** Tries until it runs; false if it was stopped meanwhile. */
  async #again(afterDelay: boolean): Promise<boolean> {
    for (let waits = afterDelay; ; waits = true) {
      if (waits) {
        await sleep(this.#delayMs);
        this.#delayMs = Math.min(this.#delayMs * 2, delayMaxMs);
      }
      if (this.#stopping) return false;
      try {
        this.#child = await this.#options.start();
      } catch (error) {
        this.#options.say(reasonOf(error));
        continue;
      }
      // Stopped during the start: `stop` has ended only the previous process.
      if (this.#stopping) await this.#child.stop(0);
      else this.#options.restarted();
      return !this.#stopping;
    }
  }
}
