import {
  type GivenRecord,
  type OwnStore,
  readRecord,
  type StoredObject,
  StoreUnavailable,
  type SystemRecord,
  systemIdentifier,
  systemInstance,
} from "@holdfast/engine";

/** What is known of a region. */
export type RegionEntry = Pick<SystemRecord<"Region">, "region" | "generation" | "retired">;

/** Whether a region's present generation was retired. */
export function isRetiredEntry({ generation, retired }: RegionEntry): boolean {
  return retired > 0 && retired >= generation;
}

/** The identifier of a region's record. */
export function regionIdentifier(region: string): string {
  return systemIdentifier("Region", region);
}

/** A region without a record: the first generation, never retired. */
function unwritten(region: string): RegionEntry {
  return { region, generation: 1, retired: 0 };
}

function givenRecord(region: string, copy: StoredObject | undefined): GivenRecord {
  return { uniqueIdentifier: regionIdentifier(region), tag: copy?.tag ?? "" };
}

/**
 * What the own store says about the regions, as last read, and what another region said about this
 * one.
 */
export class RegionRecords {
  readonly region: string;
  readonly #own: OwnStore;
  readonly #regions: readonly string[];
  readonly #entries = new Map<string, RegionEntry>();
  /**
   * Region → the generation that it said it has: its record may be newer than the own store's data.
   */
  readonly #generations = new Map<string, number>();
  #heard = 0;
  #given: readonly GivenRecord[];
  #read = false;

  constructor(options: {
    readonly region: string;
    readonly own: OwnStore;
    readonly peers: readonly string[];
  }) {
    this.region = options.region;
    this.#own = options.own;
    this.#regions = [options.region, ...options.peers];
    this.#given = this.#regions.map((region) => givenRecord(region, undefined));
  }

  /**
   * The records as last read. A change that depends on which regions there are carries them, so
   * that a node that was paused meanwhile changes nothing on the basis of old records.
   */
  get given(): readonly GivenRecord[] {
    return this.#given;
  }

  /** A region as last read. */
  of(region: string): RegionEntry {
    return this.#entries.get(region) ?? unwritten(region);
  }

  /**
   * Whether a region is retired, as far as is known; for this region, also by what another one
   * said.
   */
  isRetired(region: string): boolean {
    const entry = this.of(region);
    const retired = region === this.region ? Math.max(entry.retired, this.#heard) : entry.retired;
    const generation = Math.max(entry.generation, this.#generations.get(region) ?? 0);
    return isRetiredEntry({ region, generation, retired });
  }

  /** Notes which generation another region said it has, and which one of this region it retired. */
  heard({ region, generation, retired }: RegionEntry): void {
    // A node that was cut off from its own store may know less than another one.
    this.#generations.set(region, Math.max(this.#generations.get(region) ?? 0, generation));
    this.#heard = Math.max(this.#heard, retired);
  }

  /** Reads the records; rejects with `StoreUnavailable` where the own store cannot answer. */
  async refresh(): Promise<void> {
    const ids = this.#regions.map(regionIdentifier);
    const copies = await this.#own.read(systemInstance, ids);
    this.#given = this.#regions.map((region, at) => givenRecord(region, copies[at]));
    for (const copy of copies) {
      const record = copy && readRecord("Region", copy.object);
      if (record === undefined) continue;
      const { region, generation, retired } = record;
      this.#entries.set(region, { region, generation, retired });
    }
    this.#read = true;
  }

  /** Resolves when the records were read once. */
  async ready(): Promise<void> {
    if (!this.#read) await this.refresh();
  }

  /** Refuses a region that was retired. */
  refuseRetired(region: string): void {
    if (this.isRetired(region))
      throw new StoreUnavailable("retired", `region ${region} is retired`);
  }
}
