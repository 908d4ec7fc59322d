import { type Moment, type StoreState, StoreUnavailable } from "@holdfast/engine";
import {
  type Lease,
  type LeaseEvent,
  type LeaseRules,
  noLease,
  stateAt,
  step,
} from "../../packages/redis/src/session/lease.ts";
import type { Tables } from "./database.ts";
import type { Life } from "./machine.ts";
import type { RedisProcess } from "./redis-process.ts";
import type { StoreFlaw } from "./scripts.ts";
import type { Keeper, Session } from "./sim-store.ts";
import type { StoreLink } from "./store-link.ts";
import { type BarrierResult, type SessionListener, StoreSession } from "./store-session.ts";

const storeLeaseMs = 1_000;
const hearMs = 300;
const reconnectMs = 150;
const waitSlices = 5;
const waitSliceMs = 100;

type Listener = (state: StoreState, reason: string) => void;

/** A node's lease on its region's store: the product's state machine, with input from sessions. */
export class StoreKeeper implements SessionListener, Keeper {
  readonly life: Life;
  readonly flaws: ReadonlySet<StoreFlaw>;
  readonly #link: StoreLink;
  readonly #rules: LeaseRules;
  readonly #listeners = new Set<Listener>();
  #lease: Lease = noLease;
  #told: StoreState = "none";
  #session: StoreSession | undefined;
  #connections = 0;
  #callOffExpiry: (() => void) | undefined;
  storeId: string | undefined;

  constructor(link: StoreLink, flaws: ReadonlySet<StoreFlaw>) {
    this.life = link.life;
    this.flaws = flaws;
    this.#link = link;
    const watched = link.group.processes.length > 1;
    this.#rules = { storeLeaseMs, promotion: watched ? "sentinels" : "nobody", sentinels: 3 };
    void this.#run();
    if (watched) void this.#hear();
  }

  /** What the lease allows now. */
  state(): StoreState {
    return stateAt(this.#lease, this.#rules, this.now()).state;
  }

  onState(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  now(): Moment {
    const { machine } = this.life;
    return { monotonicMs: machine.monotonicMs(), wallMs: machine.wallMs() };
  }

  /** Waits, for a bounded time, for a usable session. */
  async require(need: "read" | "write"): Promise<StoreSession> {
    for (let slice = 0; slice < waitSlices; slice += 1) {
      const session = this.#allowed(need);
      if (session !== undefined) return session;
      await this.life.timers.sleep(waitSliceMs);
    }
    const session = this.#allowed(need);
    if (session === undefined) throw new StoreUnavailable("noLease", this.#lease.reason);
    return session;
  }

  /** Reads on a separate connection; the answer is valid only while the lease holds. */
  async read<Value>(
    script: (tables: Tables, process: RedisProcess) => Value,
  ): Promise<ReadAnswer<Value>> {
    const session = await this.require("read");
    const { process, runId } = session;
    const found = await this.#link.call<{ value: Value; storeId: string | undefined }>(
      process,
      runId,
      (answer) =>
        answer(
          process.execute((tables) => ({
            value: script(tables, process),
            storeId: tables.get({ name: "store" }) as string | undefined,
          })),
        ),
      "read",
    );
    this.assert(session, "read");
    if (found.storeId !== session.storeId) {
      const failure = new StoreUnavailable("notInitialised", "the store is empty or another one");
      session.end(failure);
      throw failure;
    }
    return { session, value: found.value };
  }

  /** Refuses an answer that came after the end of the lease. */
  assert(session: Session, need: "read" | "write"): void {
    if (this.#allowed(need) === session) return;
    throw new StoreUnavailable("noLease", this.#lease.reason);
  }

  /** Writes without a barrier on the connection for reads; false if that is not possible. */
  async tryWrite(script: (tables: Tables) => boolean): Promise<boolean> {
    const session = this.#allowed("write");
    if (session === undefined) return false;
    const { process, runId } = session;
    try {
      return await this.#link.call<boolean>(process, runId, (answer) =>
        answer(process.role === "primary" && process.execute(script)),
      );
    } catch {
      return false;
    }
  }

  barrier(session: StoreSession, { beganMs, local, replicas }: BarrierResult): void {
    if (session !== this.#session) return;
    const connection = this.#connections;
    this.#apply({ type: "barrier", connection, began: beganMs, local, replicas });
  }

  ended(session: StoreSession, failure: StoreUnavailable): void {
    if (session !== this.#session) return;
    this.#apply({ type: "ended", connection: this.#connections, reason: failure.message });
    this.#session = undefined;
  }

  #allowed(need: "read" | "write"): StoreSession | undefined {
    const session = this.#session;
    if (session === undefined || this.#lease.holder?.runId !== session.runId) return undefined;
    const state = this.state();
    return state === "full" || (state === "readOnly" && need === "read") ? session : undefined;
  }

  async #run(): Promise<void> {
    for (;;) {
      try {
        const parts = { listener: this, flaws: this.flaws };
        const session = await StoreSession.open(this.#link, parts, this.storeId);
        this.storeId = session.storeId;
        this.#session = session;
        this.#connections += 1;
        const { runId, process } = session;
        const holder = { connection: this.#connections, runId, address: process.name };
        this.#apply({ type: "connected", holder });
        await session.run();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
      }
      await this.life.timers.sleep(reconnectMs);
    }
  }

  async #hear(): Promise<void> {
    for (;;) {
      const asked = this.now();
      try {
        const { address, sinceMs } = await this.#link.ask();
        const at = { monotonicMs: asked.monotonicMs - sinceMs, wallMs: asked.wallMs - sinceMs };
        const hearing = { address, at, sentinels: 3 };
        for (const sentinel of ["s1", "s2", "s3"])
          this.#apply({ type: "heard", sentinel, hearing });
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
      }
      await this.life.timers.sleep(hearMs);
    }
  }

  /** Reports first what expired before this event. */
  #apply(event: LeaseEvent): void {
    this.#tell();
    this.#lease = step(this.#lease, event);
    this.#tell();
  }

  #tell(): void {
    const { state, remainingMs } = stateAt(this.#lease, this.#rules, this.now());
    this.#callOffExpiry?.();
    if (Number.isFinite(remainingMs)) {
      this.#callOffExpiry = this.life.after(remainingMs + 1, () => this.#tell());
    }
    if (state === this.#told) return;
    this.#told = state;
    for (const listener of this.#listeners) listener(state, this.#lease.reason);
  }
}

/** The result of a read, and its session. */
export interface ReadAnswer<Value> {
  readonly session: StoreSession;
  readonly value: Value;
}
