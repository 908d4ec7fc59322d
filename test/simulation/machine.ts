import type { Timers } from "@holdfast/engine";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** Wall clocks begin here. */
const epochMs = 1_780_000_000_000;

/** One start of a node's process: what was set off in it dies with it. */
export class Life {
  readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  get over(): boolean {
    return this.machine.life !== this;
  }

  /** Something comes to this process: at once, when it is thawed, or never when it is gone. */
  run(what: () => void): void {
    if (this.over) return;
    if (this.machine.frozen) {
      this.machine.hold(this, what);
    } else {
      this.machine.scheduler.stir();
      what();
    }
  }

  /** Something that this process does after a time; answers how to call it off. */
  after(ms: number, what: () => void): () => void {
    return this.machine.scheduler.after(ms, () => this.run(what));
  }

  /** A promise for what comes from outside; `begin` gets how to settle it. */
  wait<Value>(
    begin: (resolve: (value: Value) => void, reject: (error: unknown) => void) => void,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      begin(
        (value) => this.run(() => resolve(value)),
        (error) => this.run(() => reject(error)),
      );
    });
  }

  /** The timers that the product's code gets. */
  readonly timers: Timers = {
    wallMs: () => this.machine.wallMs(),
    monotonicMs: () => this.machine.monotonicMs(),
    sleep: (ms, signal) => this.#sleep(ms, signal),
  };

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const callOff = this.after(ms, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      const abort = () => {
        callOff();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }
}

/** A machine with two clocks, on which a process lives, freezes, dies and starts again. */
export class Machine {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** How far the wall clock is ahead. */
  skewMs = 0;
  life: Life | undefined;
  #frozen = false;
  #held: { readonly life: Life; readonly what: () => void }[] = [];

  constructor(name: string, scheduler: Scheduler, random: Random) {
    this.name = name;
    this.scheduler = scheduler;
    this.random = random;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  monotonicMs(): number {
    return this.scheduler.nowMs;
  }

  wallMs(): number {
    return Math.floor(epochMs + this.scheduler.nowMs + this.skewMs);
  }

  start(): Life {
    this.#held = [];
    this.#frozen = false;
    this.life = new Life(this);
    return this.life;
  }

  kill(): void {
    this.life = undefined;
    this.#held = [];
    this.#frozen = false;
  }

  freeze(): void {
    this.#frozen = true;
  }

  /** Everything that came meanwhile comes now, in its order. */
  thaw(): void {
    this.#frozen = false;
    const held = this.#held;
    this.#held = [];
    for (const { life, what } of held) this.scheduler.after(0, () => life.run(what));
  }

  hold(life: Life, what: () => void): void {
    this.#held.push({ life, what });
  }
}
