import { setTimeout as delay } from "node:timers/promises";
import { StoreUnavailable } from "@holdfast/engine";
import { storeFailure } from "../connection/failure.ts";
import type { Need } from "./lease-keeper.ts";
import { type StoreContext, Tenure } from "./tenure.ts";

/** Failures that only an operator mends. */
const settled: ReadonlySet<string> = new Set(["unsafe", "notInitialised", "badReply"]);
/** And where the other region serves meanwhile: an emptied store is marked anew and filled from there. */
const settledWithPeer: ReadonlySet<string> = new Set(["unsafe", "badReply"]);
const backoffMs = [50, 100, 200, 400] as const;

/** Keeps a tenure going: opens the next when one ends. */
export class Tenures implements AsyncDisposable {
  readonly #context: StoreContext;
  readonly #stop = new AbortController();
  #current: Tenure | undefined;
  #number = 0;
  /** The store of the last tenure, to which every later one is bound unless another may take its place. */
  #storeId: string | undefined;
  #failure: StoreUnavailable | undefined;
  #running: Promise<void> | undefined;

  constructor(context: StoreContext) {
    this.#context = context;
  }

  /** Opens the first tenure and waits for its lease; what it rejects with is said in `RedisStoreOptions`. */
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

  /** The tenure, if the lease allows `need` at this moment. */
  now(need: Need): Tenure | undefined {
    const tenure = this.#current;
    return tenure && this.#context.lease.allows(need, tenure.runId) ? tenure : undefined;
  }

  /** The tenure as soon as the lease allows `need`; rejects with `StoreUnavailable` after a bounded time. */
  async require(need: Need): Promise<Tenure> {
    const { lease, settings } = this.#context;
    if (!this.#stop.signal.aborted) await lease.wait(need, settings.leaseWaitMs);
    const tenure = this.now(need);
    if (tenure === undefined) throw this.#why(need);
    return tenure;
  }

  /** Ask this before using an answer of the store: it may have come too late. */
  assert(tenure: Tenure, need: Need): void {
    if (!this.#context.lease.allows(need, tenure.runId)) throw this.#why(need);
  }

  /** Waits until nothing is under way, for a bounded time, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock, barrierTimeoutMs } = this.#context.settings;
    const deadline = clock.monotonicMs() + barrierTimeoutMs;
    while (this.#current?.committer.idle === false && clock.monotonicMs() < deadline) {
      await delay(5);
    }
    this.#stop.abort();
    this.#current?.end(closing());
    await this.#running;
  }

  async #open(): Promise<Tenure> {
    this.#number += 1;
    const { allowOtherStore } = this.#context.settings;
    const began = allowOtherStore ? undefined : this.#storeId;
    const tenure = await Tenure.open(this.#context, this.#number, began);
    this.#storeId = tenure.storeId;
    return tenure;
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
        const ms = backoffMs[failed] ?? 500;
        failed += 1;
        await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
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
