import {
  type Ids,
  type Moment,
  type Observer,
  type OwnStore,
  type Timers,
  withTimeout,
} from "@holdfast/engine";
import type { Duty, LeaderLock } from "./duty.ts";
import { DutyLoop } from "./duty-loop.ts";
import {
  actingEpoch,
  type LeaderEvent,
  type LeaderLease,
  type LeaderRules,
  leaderRules,
  leaseStep,
  noLeadership,
  remainingMs,
} from "./lease.ts";
import { Nap } from "./waiting.ts";

export interface LeaderOptions {
  readonly lock: LeaderLock;
  readonly own: Pick<OwnStore, "state" | "newEpoch">;
  readonly timers: Timers;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly duties: readonly Duty[];
  /** 5 s and 1.5 s unless given. */
  readonly rules?: LeaderRules;
}

/** How often a follower asks for the lock; a takeover takes this long after the lease. */
const campaignEveryMs = 400;
/** How long `close` waits for runs that are under way; their writes are refused once another leads. */
const closeWaitMs = 2_000;
/** How long to wait for an answer of the lock masters. */
const lockWaitMs = 1_000;

/**
 * A node's part in its region's election, and the duties while it leads. Every write of a duty that matters carries the
 * epoch, so that a leader that does not know yet that it was deposed changes nothing.
 */
export class Leader implements AsyncDisposable {
  readonly #options: LeaderOptions;
  readonly #rules: LeaderRules;
  readonly #loops: readonly DutyLoop[];
  readonly #nap: Nap;
  readonly #running: Promise<void>;
  #lease: LeaderLease = noLeadership;
  #term: AbortController | undefined;
  #epoch = 0;
  #closing = false;

  /** Takes part in elections at once. */
  constructor(options: LeaderOptions) {
    const { timers, observe, ids } = options;
    this.#options = options;
    this.#rules = options.rules ?? leaderRules;
    this.#nap = new Nap(timers);
    const chance = (): number => (ids.randomBytes(1)[0] ?? 0) / 255;
    const deposed = (reason: string): void => {
      this.#step({ type: "ended", reason });
    };
    this.#loops = options.duties.map(
      (duty) => new DutyLoop(duty, { timers, observe, chance, deposed }),
    );
    this.#running = this.#run(chance);
  }

  /** The state at this moment, by both clocks. */
  get state(): LeaderLease["state"] {
    return this.#step({ type: "tick" }).state;
  }

  /** The epoch in which this node leads; undefined where it does not. */
  get epoch(): number | undefined {
    return actingEpoch(this.#lease, this.#now(), this.#rules);
  }

  /** Runs a duty soon, where this node leads. */
  wake(duty: string): void {
    for (const loop of this.#loops) if (loop.duty.name === duty) loop.wake();
  }

  /** Gives the lock back at once, so that another node takes over, and ends the duties. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#lease.state !== "follower") this.#step({ type: "ended", reason: "handed over" });
    this.#nap.wake();
    await this.#orGiveUp(closeWaitMs, this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(chance: () => number): Promise<void> {
    while (!this.#closing) {
      const epoch = await this.#campaign();
      if (epoch !== undefined) await this.#lead(epoch);
      if (!this.#closing) await this.#nap.sleep(campaignEveryMs * (0.75 + chance() / 2));
    }
  }

  /** Wins the lock and a durable epoch, or neither. */
  async #campaign(): Promise<number | undefined> {
    const { lock, own } = this.#options;
    // A node that cannot use the store leaves the work to one that can.
    if (own.state() !== "full") return undefined;
    const asked = this.#now();
    const { leaseMs } = this.#rules;
    if ((await this.#orGiveUp(lockWaitMs, lock.acquire(leaseMs))) !== true) return undefined;
    this.#step({ type: "locked", asked });
    const epoch = this.#closing
      ? undefined
      : await this.#orGiveUp(remainingMs(this.#lease, this.#now(), this.#rules), own.newEpoch());
    if (epoch !== undefined && !this.#closing) this.#step({ type: "epoch", epoch });
    if (this.epoch !== undefined) return epoch;
    this.#step({ type: "ended", reason: "no epoch from the store" });
    await this.#release();
    return undefined;
  }

  async #lead(epoch: number): Promise<void> {
    const term = this.#term;
    if (term === undefined) return;
    const { own } = this.#options;
    const active = (): boolean =>
      !term.signal.aborted && this.epoch === epoch && own.state() === "full";
    const context = { epoch, signal: term.signal, active };
    const duties = Promise.all(this.#loops.map((loop) => loop.run(context)));
    await this.#renew();
    await this.#release();
    // The next term of this node begins when nothing of this one runs any more.
    await duties;
  }

  /** Resolves when the term is over. */
  async #renew(): Promise<void> {
    const { lock, own, timers } = this.#options;
    const { leaseMs, renewMs } = this.#rules;
    let restMs = renewMs;
    let usableMs = timers.monotonicMs();
    while (this.#lease.state === "leader") {
      await this.#nap.sleep(Math.min(restMs, remainingMs(this.#lease, this.#now(), this.#rules)));
      if (this.#step({ type: "tick" }).state !== "leader") return;
      if (own.state() === "full") usableMs = timers.monotonicMs();
      if (timers.monotonicMs() - usableMs > leaseMs) {
        this.#step({ type: "ended", reason: "the store has had no lease for long" });
        return;
      }
      const asked = this.#now();
      const leftMs = remainingMs(this.#lease, asked, this.#rules);
      const extended = await this.#orGiveUp(Math.min(lockWaitMs, leftMs), lock.extend(leaseMs));
      if (extended === true) this.#step({ type: "extended", asked });
      restMs = extended === true ? renewMs : renewMs / 4;
    }
  }

  async #release(): Promise<void> {
    await this.#orGiveUp(lockWaitMs, this.#options.lock.release());
  }

  /** Undefined where the work takes longer than `ms`, or fails. */
  async #orGiveUp<Result>(ms: number, work: Promise<Result>): Promise<Result | undefined> {
    return await withTimeout(this.#options.timers, ms, work).catch(() => undefined);
  }

  /** The one place where the lease changes; reports the new state, and ends the term with it. */
  #step(event: LeaderEvent): LeaderLease {
    const before = this.#lease;
    const after = leaseStep(before, event, this.#now(), this.#rules);
    this.#lease = after;
    if (after.state === before.state) return after;
    if (after.state === "leader") {
      this.#epoch = after.epoch;
      this.#term = new AbortController();
    }
    if (before.state === "leader") this.#endTerm();
    const reason = after.state === "follower" ? after.reason : "has the lock";
    this.#options.observe({ type: "leader", state: after.state, epoch: this.#epoch, reason });
    return after;
  }

  #endTerm(): void {
    this.#term?.abort();
    this.#nap.wake();
    for (const loop of this.#loops) loop.wake();
  }

  #now(): Moment {
    const { timers } = this.#options;
    return { monotonicMs: timers.monotonicMs(), wallMs: timers.wallMs() };
  }
}
