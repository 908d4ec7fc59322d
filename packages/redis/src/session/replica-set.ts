/**
 * The replicas that a barrier must cover: every one ever seen, since any of them might be promoted
 * (or was counted by WAITAOF in place of one that will be). Only an operator removes one.
 */
export class ReplicaSet {
  readonly #own: string;
  readonly #leastReplicas: number;
  readonly #known = new Set<string>();
  /** Seen but not yet noted in the store. */
  readonly #fresh = new Set<string>();
  /** The store's version number of the set. */
  version: string | undefined;

  /** `own` is the primary's address: a former replica that was promoted cannot acknowledge itself. */
  constructor(own: string, leastReplicas: number) {
    this.#own = own;
    this.#leastReplicas = leastReplicas;
  }

  /** How many replicas a full barrier covers. */
  get required(): number {
    return Math.max(this.#leastReplicas, this.#known.size - (this.#known.has(this.#own) ? 1 : 0));
  }

  /** Adds the addresses that were seen; returns those that are new. */
  see(addresses: readonly string[]): readonly string[] {
    const added = addresses.filter((address) => !this.#known.has(address) && address !== this.#own);
    for (const address of added) {
      this.#known.add(address);
      this.#fresh.add(address);
    }
    return added;
  }

  /** Takes over the store's list in this version. Replicas not yet noted in the store stay. */
  load(addresses: readonly string[], version: string): void {
    this.#known.clear();
    for (const address of [...addresses, ...this.#fresh]) this.#known.add(address);
    for (const address of addresses) this.#fresh.delete(address);
    this.version = version;
  }

  /** What keeps a barrier from covering them all, in words; `connected` are those that the primary has. */
  lacking(connected: readonly string[]): string {
    const others = [...this.#known].filter((address) => address !== this.#own);
    const gone = others.filter((address) => !connected.includes(address));
    if (gone.length > 0) return `${gone.join(", ")} not connected`;
    if (others.length < this.#leastReplicas) {
      return `${others.length} of ${this.#leastReplicas} replicas were ever seen`;
    }
    return `too late from one of ${others.join(", ")}`;
  }

  /** Replicas not yet noted in the store. */
  get fresh(): readonly string[] {
    return [...this.#fresh];
  }
}
