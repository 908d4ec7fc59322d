import { StoreUnavailable } from "@holdfast/engine";
import { storeFailure } from "../connection/failure.ts";
import { sleep } from "../connection/timers.ts";
import type { Need } from "./lease-keeper.ts";
import { PrimarySession, type StoreContext } from "./primary-session.ts";

/** Failures that only an operator can end. */
const settled: ReadonlySet<string> = new Set(["unsafe", "notInitialised", "badReply"]);
/**
 * The same where the other region serves meanwhile: an emptied store is marked again and filled
 * from there.
 */
const settledWithPeer: ReadonlySet<string> = new Set(["unsafe", "badReply"]);
const backoffMs = [50, 100, 200, 400] as const;
/** A key manager is asked less often than Redis: it may count tries, or charge for them. */
const keyBackoffMs = 2_000;

/** Keeps a session going: opens the next when one ends. */
export class PrimarySessions implements AsyncDisposable {
  readonly #context: StoreContext;
  readonly #stop = new AbortController();
  #current: PrimarySession | undefined;
  #number = 0;
  /** The store of the last session, to which every later one is bound unless another may take its place. */
  #storeId: string | undefined;
  #failure: StoreUnavailable | undefined;
  #running: Promise<void> | undefined;

  constructor(context: StoreContext) {
    this.#context = context;
  }

  /** Opens the first session and waits for its lease. `openRedisStore` names its errors. */
  async start(): Promise<void> {
    const { settings, lease } = this.#context;
    try {
      this.#current = await this.#open();
    } catch (error) {
      const failure = storeFailure(error, "");
      const given = settings.allowOtherStore ? settledWithPeer : settled;
      if (given.has(failure.failure) || !settings.openUnreachable) throw failure;
      this.#failure = failure;
    }
    this.#running = this.#run();
    if (this.#current !== undefined) await lease.wait("read", settings.leaseWaitMs);
  }

  /** The store's id, once it was reached. */
  get storeId(): string | undefined {
    return this.#storeId;
  }

  /** The session, if the lease allows `need` at this moment. */
  now(need: Need): PrimarySession | undefined {
    const session = this.#current;
    return session && this.#context.lease.allows(need, session.runId) ? session : undefined;
  }

  /** The session as soon as the lease allows `need`; rejects with `StoreUnavailable` after a bounded time. */
  async require(need: Need): Promise<PrimarySession> {
    const { lease, settings } = this.#context;
    if (!this.#stop.signal.aborted) await lease.wait(need, settings.leaseWaitMs);
    const session = this.now(need);
    if (session === undefined) throw this.#why(need);
    return session;
  }

  /** Call this before using an answer of the store: it may have come too late. */
  assert(session: PrimarySession, need: Need): void {
    if (!this.#context.lease.allows(need, session.runId)) throw this.#why(need);
  }

  /** Waits until nothing is under way, for a bounded time, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock, timers, barrierTimeoutMs } = this.#context.settings;
    const deadline = clock.monotonicMs() + barrierTimeoutMs;
    while (this.#current?.groupCommit.idle === false && clock.monotonicMs() < deadline) {
      await sleep(timers, 5);
    }
    this.#stop.abort();
    this.#context.keys.close();
    this.#current?.end(closing());
    await this.#running;
  }

  async #open(): Promise<PrimarySession> {
    this.#number += 1;
    const { allowOtherStore } = this.#context.settings;
    const began = allowOtherStore ? undefined : this.#storeId;
    const session = await PrimarySession.open(this.#context, this.#number, began);
    this.#storeId = session.storeId;
    return session;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let failed = 0; !signal.aborted; ) {
      try {
        this.#current ??= await this.#open();
        if (signal.aborted) this.#current.end(closing());
        this.#failure = undefined;
        failed = 0;
        this.#failure = await this.#current.ended;
      } catch (error) {
        this.#failure = storeFailure(error, "");
        const isClosed = this.#failure.failure === "keyClosed";
        const ms = isClosed ? keyBackoffMs : (backoffMs[failed] ?? 500);
        failed += 1;
        await sleep(this.#context.settings.timers, ms, { signal, background: true });
      }
      this.#current = undefined;
    }
  }

  #why(need: Need): StoreUnavailable {
    if (this.#stop.signal.aborted) return closing();
    if (this.#failure !== undefined && this.#current === undefined) {
      const { failure, message } = this.#failure;
      return new StoreUnavailable(failure, message, { cause: this.#failure });
    }
    const { lease } = this.#context;
    const state = lease.state();
    const where = this.#current?.address ?? "";
    const why =
      state === "readOnly" && need === "write"
        ? "takes no writes while a replica does not acknowledge"
        : "may not be used now";
    return new StoreUnavailable("noLease", `Redis ${where} ${why}: ${lease.reason}`);
  }
}

function closing(): StoreUnavailable {
  return new StoreUnavailable("noLease", "the store is closing");
}
