import { reloadInstances } from "./ensure-instances.ts";
import { type Instance, loadInstances } from "./instances.ts";
import type { Parts } from "./node-parts.ts";
import { Trust } from "./trust.ts";

type Ensure = (instances: readonly Instance[]) => Promise<void>;

/** The instances of the configuration in force. */
export class Tenants {
  readonly #parts: Parts;
  #instances: readonly Instance[];
  #reloading = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#instances = loadInstances(parts.config.instances);
    parts.log.nameInstances(this.#instances);
  }

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  /** Reads them again. One after another: what was read first must not come into force last. */
  reload(ensure: Ensure, use: (trust: Trust) => void): Promise<void> {
    const next = () => this.#reload(ensure, use);
    this.#reloading = this.#reloading.then(next, next);
    return this.#reloading;
  }

  async #reload(ensure: Ensure, use: (trust: Trust) => void): Promise<void> {
    const { configFile, config, log } = this.#parts;
    // Who is new needs the store; who is gone is cut off although it cannot be reached.
    const known = new Set(this.#instances.map(({ id }) => id));
    const ensureNew: Ensure = (all) => ensure(all.filter(({ id }) => !known.has(id)));
    const newer = await reloadInstances(configFile, config, ensureNew, log);
    if (newer === undefined) return;
    this.#instances = newer;
    log.nameInstances(newer);
    use(new Trust(newer));
  }
}
