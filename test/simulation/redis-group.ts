import { keys, Tables } from "./database.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import { RedisProcess } from "./redis-process.ts";
import type { Scheduler } from "./scheduler.ts";
import { initialise } from "./scripts.ts";

const pollMs = 250;
/** Longer than the store lease, as the product requires at its start. */
const downAfterMs = 1_500;

/** The Sentinels' answer to a node. */
export interface SentinelAnswer {
  readonly address: string;
  /** How long ago they got that address. */
  readonly sinceMs: number;
  readonly members: readonly string[];
}

/** One region's Redis: a primary, its replicas, and Sentinels (in one place). */
export class RedisGroup {
  readonly region: string;
  readonly processes: readonly RedisProcess[];
  /** Where the Sentinels are. */
  readonly sentinel: string;
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #random: Random;
  #named: RedisProcess;
  #heardMs = 0;
  #downAfterMs = downAfterMs;
  /** Process → since when it does not follow the named primary, although it could. */
  readonly #pretendsMs = new Map<string, number>();
  /** How often all data was lost or replaced by an old copy: data of only this store may be gone. */
  losses = 0;
  promotions = 0;
  /** Told of each promotion. */
  promoted: ((process: string) => void) | undefined;

  constructor(
    region: string,
    replicas: number,
    parts: { scheduler: Scheduler; network: Network; random: Random },
  ) {
    const { scheduler, network, random } = parts;
    this.region = region;
    this.sentinel = `${region}:sentinel`;
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
    const neighbours = {
      open: (from: string, to: string) => network.open(from, to),
      replicasOf: (primary: RedisProcess) =>
        this.processes.filter(({ source, state }) => source === primary && state !== "down"),
      copied: (from: string, to: string) =>
        network.watch?.({ from, to, kind: "copy", sentMs: scheduler.nowMs, lost: false }),
    };
    const make = (at: number) =>
      new RedisProcess(`${region}:redis${at}`, at === 0 ? "primary" : "replica", {
        scheduler,
        random,
        neighbours,
      });
    this.processes = Array.from({ length: replicas + 1 }, (_, at) => make(at));
    this.#named = this.process(0);
  }

  /** Initialises the store for these instances, and starts the Sentinels. */
  begin(storeId: string, instances: readonly string[]): void {
    const primary = this.process(0);
    const tables = new Tables(primary.cells);
    initialise(tables, storeId, instances);
    tables.set(
      keys.replicas,
      this.processes.slice(1).map(({ name }) => name),
    );
    for (const replica of this.processes.slice(1)) replica.follow(primary);
    if (this.processes.length > 1) this.#watch();
  }

  process(at: number): RedisProcess {
    const found = this.processes[at];
    if (found === undefined) throw new RangeError(`${this.region} has no Redis ${at}`);
    return found;
  }

  named(name: string): RedisProcess | undefined {
    return this.processes.find((process) => process.name === name);
  }

  /** The primary: the process that was promoted last. */
  get primary(): RedisProcess {
    return this.#named;
  }

  /** Asks the Sentinels. */
  ask(): SentinelAnswer {
    return {
      address: this.#named.name,
      sinceMs: this.#scheduler.nowMs - this.#heardMs,
      members: this.processes.map(({ name }) => name),
    };
  }

  /** Restarts all processes with other data: an operator's old copy, or an empty store. */
  replaceData(make: () => ReadonlyMap<string, unknown>): void {
    this.losses += 1;
    const cells = make();
    const primary = this.#named;
    if (primary.state !== "down") primary.kill(false);
    primary.role = "primary";
    primary.source = undefined;
    primary.restore(cells);
    for (const process of this.processes) {
      if (process === primary) continue;
      if (process.state !== "down") process.kill(false);
      process.restart();
      process.follow(primary);
    }
  }

  #watch(): void {
    const tick = (): void => {
      this.#look();
      this.#scheduler.after(pollMs, tick);
    };
    this.#scheduler.after(pollMs, tick);
  }

  #look(): void {
    if (this.#hears(this.#named) && this.#named.role === "primary") {
      this.#heardMs = this.#scheduler.nowMs;
    } else if (this.#scheduler.nowMs - this.#heardMs > this.#downAfterMs) {
      this.#promote();
    }
    for (const process of this.processes) this.#lead(process);
  }

  #hears({ name, state }: RedisProcess): boolean {
    const { sentinel } = this;
    return (
      state === "up" && this.#network.open(sentinel, name) && this.#network.open(name, sentinel)
    );
  }

  #promote(): void {
    const candidates = this.processes.filter(
      (process) => process !== this.#named && process.role === "replica" && this.#hears(process),
    );
    const [best] = candidates.toSorted((one, other) => other.offset - one.offset);
    if (best === undefined) return;
    best.promote();
    this.promotions += 1;
    this.#named = best;
    this.#heardMs = this.#scheduler.nowMs;
    this.#downAfterMs = downAfterMs + this.#random.between(0, 1_000);
    this.promoted?.(best.name);
  }

  /** Makes a process follow the named primary after a time, if it does not. */
  #lead(process: RedisProcess): void {
    const named = this.#named;
    if (process === named) return;
    const { name } = process;
    const current = process.source === named && process.replicationId === named.replicationId;
    if (current) {
      process.pull();
      return;
    }
    if (!this.#hears(process) || named.state !== "up" || !this.#network.open(named.name, name)) {
      this.#pretendsMs.delete(name);
      return;
    }
    const since = this.#pretendsMs.get(name) ?? this.#scheduler.nowMs;
    this.#pretendsMs.set(name, since);
    if (this.#scheduler.nowMs - since < this.#random.between(500, 6_000)) return;
    this.#pretendsMs.delete(name);
    process.follow(named);
  }
}
