import type { Timers } from "@holdfast/engine";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** The wall clocks' time at the start. */
export const epochMs = 1_780_000_000_000;

/** One run of a node's process: everything that it started ends with it. */
export class Life {
  readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  get over(): boolean {
    return this.machine.life !== this;
  }

  /** Runs something in this process: now, once it is thawed, or never if it has ended. */
  run(what: () => void): void {
    if (this.over) return;
    if (this.machine.frozen) {
      this.machine.hold(this, what);
    } else {
      this.machine.scheduler.stir();
      what();
    }
  }

  /** Runs something in this process after a time; returns a function that cancels it. */
  after(ms: number, what: () => void): () => void {
    return this.machine.scheduler.after(ms, () => this.run(what));
  }

  /** A promise for something from outside; `begin` gets the functions that settle it. */
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

  /** The timers for the product's code. */
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

/** A machine with two clocks, on which a process runs, freezes, dies and restarts. */
export class Machine {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** How far ahead the wall clock is. */
  skewMs = 0;
  life: Life | undefined;
  #frozen = false;
  /** Since when its monotonic clock stands still, and for how long it has stood. */
  #stoppedMs: number | undefined;
  #missedMs = 0;
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
    return (this.#stoppedMs ?? this.scheduler.nowMs) - this.#missedMs;
  }

  wallMs(): number {
    return Math.floor(epochMs + this.scheduler.nowMs + this.skewMs);
  }

  start(): Life {
    this.#held = [];
    this.#frozen = false;
    this.#goOn();
    this.life = new Life(this);
    return this.life;
  }

  kill(): void {
    this.life = undefined;
    this.#held = [];
    this.#frozen = false;
  }

  /** Stops everything; where the machine is suspended, its monotonic clock too. */
  freeze(suspended = false): void {
    this.#frozen = true;
    if (suspended) this.#stoppedMs = this.scheduler.nowMs;
  }

  /** Everything that arrived meanwhile runs now, in order. */
  thaw(): void {
    this.#frozen = false;
    this.#goOn();
    const held = this.#held;
    this.#held = [];
    for (const { life, what } of held) this.scheduler.after(0, () => life.run(what));
  }

  #goOn(): void {
    if (this.#stoppedMs !== undefined) this.#missedMs += this.scheduler.nowMs - this.#stoppedMs;
    this.#stoppedMs = undefined;
  }

  hold(life: Life, what: () => void): void {
    this.#held.push({ life, what });
  }
}
