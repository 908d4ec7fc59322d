import {
  type ObjectStore,
  type OwnStore,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { nodeTimers, type StoreTimers } from "@holdfast/redis";
import type { NodeObserver } from "../observe/events.ts";

interface DamagedRecordsOptions {
  /** A read of it takes the other region's copy in the place of a damaged record. */
  readonly store: Pick<ObjectStore, "read">;
  readonly own: Pick<OwnStore, "read" | "quarantine">;
  readonly observe: NodeObserver;
  /** How it waits; Node's timers unless given. */
  readonly timers?: Pick<StoreTimers, "after">;
}

/** From one try to the next. */
const againMs = 10_000;
/** How many wait to be healed, at most: somebody who writes to Redis can damage any number. */
const pendingMax = 1_000;
const reason = "a system record does not prove itself, and no other region has a copy";

/**
 * System records that the own store shows in a form that is not believed. No client reads them, so the node does: what
 * the other region has takes their place; anything else is put into quarantine, which reports it, and is tried again.
 */
export class DamagedRecords implements AsyncDisposable {
  readonly #options: DamagedRecordsOptions;
  readonly #pending = new Set<string>();
  readonly #aside = new Set<string>();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: DamagedRecordsOptions) {
    this.#options = options;
  }

  /** Takes identifiers of damaged records, of which it keeps 1,000. */
  readonly found = (identifiers: readonly string[]): void => {
    for (const id of identifiers) if (this.#pending.size < pendingMax) this.#pending.add(id);
    if (this.#running === undefined) this.#run();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
  }

  #run(): void {
    this.#cancel?.();
    if (this.#closed || this.#pending.size === 0) return;
    this.#running = this.#healAll().finally(() => {
      this.#running = undefined;
      if (this.#closed || this.#pending.size === 0) return;
      const { timers = nodeTimers } = this.#options;
      this.#cancel = timers.after(againMs, () => this.#run(), true);
    });
  }

  async #healAll(): Promise<void> {
    for (const id of this.#pending) {
      if (this.#closed) return;
      try {
        await this.#heal(id);
      } catch (cause) {
        const message = `system record ${id} cannot be healed`;
        if (!(cause instanceof StoreUnavailable))
          this.#options.observe({ type: "warning", message, cause });
      }
    }
  }

  async #heal(id: string): Promise<void> {
    const { store, own } = this.#options;
    try {
      await store.read(systemInstance, [id]);
      // The answer may be another region's, while the own store cannot be written.
      await own.read(systemInstance, [id]);
    } catch (error) {
      const failure = error instanceof StoreUnavailable ? error.failure : undefined;
      // An intact record of another release's format: it stays as it is.
      if (failure === "unknownFormat") this.#forget(id);
      if (failure !== "corrupt") throw error;
      if (this.#aside.has(id)) return;
      await own.quarantine(systemInstance, id, reason, {});
      if (this.#aside.size < pendingMax) this.#aside.add(id);
      return;
    }
    this.#forget(id);
  }

  #forget(id: string): void {
    this.#pending.delete(id);
    this.#aside.delete(id);
  }
}
