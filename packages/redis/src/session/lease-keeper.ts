import type { Clock, Moment, Observer } from "@holdfast/engine";
import type { StoreTimers } from "../connection/timers.ts";
import {
  type Lease,
  type LeaseEvent,
  type LeaseRules,
  type LeaseState,
  noLease,
  stateAt,
  step,
} from "./lease.ts";

/** What a request needs of the store. */
export type Need = "read" | "write";

/** At most so many requests wait in a long outage; more would make others wait behind them. */
const waitersMax = 64;

type LeaseListener = (state: LeaseState, reason: string) => void;

interface Waiter {
  readonly need: Need;
  readonly resolve: (allowed: boolean) => void;
  readonly cancel: () => void;
}

/** Holds the lease: feeds it events, reports changes to the observer and wakes waiting requests. */
export class LeaseKeeper {
  readonly #rules: LeaseRules;
  readonly #clock: Clock;
  readonly #observe: Observer;
  readonly #waiters = new Set<Waiter>();
  /** For each unmet need of a request, since when it was not met. */
  readonly #unmetSinceMs = new Map<Need, number>();
  #lease: Lease = noLease;
  #reported: LeaseState = "none";
  /** What listeners heard last; unlike the observer they hear of every lapse at once. */
  #heard: LeaseState = "none";
  readonly #listeners = new Set<LeaseListener>();
  readonly #timers: StoreTimers;
  #cancelExpiry: (() => void) | undefined;
  #cancelLapse: (() => void) | undefined;

  constructor(rules: LeaseRules, clock: Clock, observe: Observer, timers: StoreTimers) {
    this.#rules = rules;
    this.#clock = clock;
    this.#observe = observe;
    this.#timers = timers;
  }

  /** Both clocks now. */
  now(): Moment {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
  }

  /** What the store may be used for at this moment. */
  state(): LeaseState {
    return stateAt(this.#lease, this.#rules, this.now()).state;
  }

  /** Why the state is what it is. */
  get reason(): string {
    return this.#lease.reason;
  }

  /** Whether what the process `runId` answered just now may be used. */
  allows(need: Need, runId: string): boolean {
    return this.#lease.holder?.runId === runId && permits(this.state(), need);
  }

  /** Takes an event. */
  apply(event: LeaseEvent): void {
    // A lapse that this event ends is still reported.
    this.#hear();
    this.#lease = step(this.#lease, event);
    this.#update();
  }

  /**
   * Calls `listener` at each change of the state, even for a lapse that ends at once; returns a
   * function that stops it.
   */
  onState(listener: LeaseListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #hear(): void {
    const state = this.state();
    if (state === this.#heard) return;
    this.#heard = state;
    for (const listener of this.#listeners) {
      try {
        listener(state, this.#lease.reason);
      } catch (cause) {
        const message = "a listener for the store's state failed";
        this.#observe({ type: "warning", message, cause });
      }
    }
  }

  /**
   * Resolves as soon as `need` is met, or with false after `waitMs`; with false at once where the
   * outage already lasts that long and many wait.
   */
  wait(need: Need, waitMs: number): Promise<boolean> {
    if (permits(this.state(), need)) return Promise.resolve(true);
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = this.#unmetSinceMs.get(need) ?? nowMs;
    this.#unmetSinceMs.set(need, sinceMs);
    if (nowMs - sinceMs >= waitMs && this.#waiters.size >= waitersMax) {
      return Promise.resolve(false);
    }
    return new Promise((resolve) => {
      const cancel = this.#timers.after(waitMs, () => {
        this.#waiters.delete(waiter);
        resolve(false);
      });
      const waiter: Waiter = { need, resolve, cancel };
      this.#waiters.add(waiter);
    });
  }

  /** Stops its timers and refuses waiting requests. */
  dispose(): void {
    this.#cancelExpiry?.();
    this.#cancelLapse?.();
    for (const { cancel, resolve } of this.#waiters) {
      cancel();
      resolve(false);
    }
    this.#waiters.clear();
    this.#listeners.clear();
  }

  /** Wakes waiting requests and reports to the observer. */
  #update(): void {
    this.#hear();
    const { state, remainingMs } = stateAt(this.#lease, this.#rules, this.now());
    this.#cancelExpiry?.();
    if (Number.isFinite(remainingMs)) {
      const ms = Math.ceil(remainingMs) + 1;
      this.#cancelExpiry = this.#timers.after(ms, () => this.#update(), true);
    }
    for (const need of this.#unmetSinceMs.keys()) {
      if (permits(state, need)) this.#unmetSinceMs.delete(need);
    }
    for (const waiter of this.#waiters) {
      if (!permits(state, waiter.need)) continue;
      waiter.cancel();
      this.#waiters.delete(waiter);
      waiter.resolve(true);
    }
    if (this.#lease.holder !== undefined && rank[state] < rank[this.#reported]) {
      // The next marker may be a moment late, and Sentinels are heard once a second: not worth an alarm yet.
      const ms = this.#rules.storeLeaseMs / 4;
      this.#cancelLapse ??= this.#timers.after(ms, () => this.#reportLapse(), true);
      return;
    }
    this.#cancelLapse?.();
    this.#cancelLapse = undefined;
    this.#report(state, this.#lease.reason);
  }

  #reportLapse(): void {
    this.#cancelLapse = undefined;
    this.#report(this.state(), `lapsed: ${this.#lease.reason}`);
  }

  #report(state: LeaseState, reason: string): void {
    if (state === this.#reported) return;
    this.#reported = state;
    this.#observe({ type: "lease", state, reason });
  }
}

const rank: Readonly<Record<LeaseState, number>> = { none: 0, readOnly: 1, full: 2 };

function permits(state: LeaseState, need: Need): boolean {
  return state === "full" || (state === "readOnly" && need === "read");
}
