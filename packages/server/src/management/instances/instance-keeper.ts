import {
  type InstanceStore,
  type KeyRing,
  type OwnStore,
  StoreUnavailable,
} from "@holdfast/engine";
import type { Instance } from "../../access/instances.ts";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { checkRoot } from "../../roots/root-check.ts";

export interface InstanceKeeperOptions {
  readonly store: InstanceStore;
  readonly own: Pick<OwnStore, "state" | "storeId" | "onState">;
  readonly keyRing: Pick<KeyRing, "seal">;
  readonly rootFile: string;
  /** The instances in force. */
  readonly instances: () => readonly Instance[];
  readonly observe: NodeObserver;
}

const everyMs = 1000;

/**
 * Makes the configured instances known to the region's own store: at the start, and again when the store has other data
 * than before, which it may have after each outage, since the store refuses changes of an instance without a status.
 */
export class InstanceKeeper {
  readonly #options: InstanceKeeperOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #stop: () => void;
  /** The store's data in which they are known. */
  #knownTo: string | undefined;
  #outages = 0;
  #running = false;
  #reported = "";

  constructor(options: InstanceKeeperOptions, intervalMs: number = everyMs) {
    this.#options = options;
    this.#stop = options.own.onState((state) => {
      if (state === "none") this.#outages += 1;
    });
    this.#timer = setInterval(() => void this.look(), intervalMs).unref();
  }

  /** Makes instances known; rejects where that cannot be done, or where one of them cannot be served. */
  async ensure(instances: readonly Instance[]): Promise<void> {
    const { store, keyRing, rootFile } = this.#options;
    await ensureInstances(store, instances);
    await checkRoot(keyRing, instances, rootFile);
  }

  /** Makes all of them known. */
  async ensureAll(): Promise<void> {
    const data = this.#data();
    await this.ensure(this.#options.instances());
    this.#knownTo = data;
  }

  /** Names the data that the store has: after an outage they may be older ones. */
  #data(): string {
    return `${this.#options.own.storeId} ${this.#outages}`;
  }

  /** Makes all of them known where the store does not know them yet and can be written. */
  async look(): Promise<void> {
    const { own, observe } = this.#options;
    if (this.#running || own.state() !== "full" || this.#data() === this.#knownTo) return;
    this.#running = true;
    try {
      await this.ensureAll();
      this.#reported = "";
    } catch (cause) {
      const reason = reasonOf(cause);
      // The lease reports an outage; a repeated fault is reported once.
      if (!(cause instanceof StoreUnavailable) && reason !== this.#reported) {
        observe({ type: "warning", message: `instances cannot be served: ${reason}` });
      }
      this.#reported = reason;
    } finally {
      this.#running = false;
    }
  }

  close(): void {
    this.#stop();
    clearInterval(this.#timer);
  }
}

/** Makes the instances of the configuration known to the store. */
async function ensureInstances(
  store: InstanceStore,
  instances: readonly Instance[],
): Promise<void> {
  const statuses = await Promise.all(instances.map(({ id, name }) => store.ensure(id, name)));
  for (const [at, status] of statuses.entries()) {
    if (status === "Installed") continue;
    const name = instances[at]?.name;
    throw new OperatorError(
      `instances: ${name} is ${status} in the store and cannot be served; remove it from the configuration`,
    );
  }
}
