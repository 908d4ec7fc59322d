import { setTimeout as sleep } from "node:timers/promises";
import type { NodeProcess } from "../support/node-process.ts";
import { type RegionName, regionNames, type TwoRegions } from "../support/two-regions.ts";
import { isWell, vitalsIn } from "../support/vitals.ts";
import type { Circumstances } from "./history.ts";
import { Intervals } from "./intervals.ts";
import { ServingLog } from "./serving-log.ts";
import { Sharing } from "./sharing.ts";

const everyMs = 400;

/** Reads all nodes' metrics continuously, and records the circumstances for judging answers. */
export class Monitor implements AsyncDisposable {
  readonly #sharing: Sharing;
  readonly #disturbed = { a: new Intervals(), b: new Intervals() };
  readonly #emptied: Record<RegionName, number[]> = { a: [], b: [] };
  readonly #isolated = new Intervals();
  /** By region: times in which its store may have no room. */
  readonly #full = { a: new Intervals(), b: new Intervals() };
  readonly #log: ServingLog;
  readonly #regionOf: ReadonlyMap<string, RegionName>;
  readonly #loops: readonly Promise<void>[];
  #stopped = false;

  constructor(both: TwoRegions) {
    const { nodes } = both;
    const names = nodes.map(({ name }) => name);
    this.#sharing = new Sharing(names, performance.now());
    this.#log = new ServingLog(new Map(nodes.map(({ name, logFile }) => [name, logFile])));
    this.#regionOf = new Map(
      nodes.map((node) => [node.name, both.regionOf(node).name as RegionName]),
    );
    this.#loops = both.regions.flatMap((region) =>
      region.nodes.map((node) => this.#watch(node, region.name as RegionName)),
    );
  }

  get circumstances(): Circumstances {
    this.#log.read();
    return {
      shared: (fromMs, toMs) => this.#sharing.certain(fromMs, toMs),
      disturbed: this.#disturbed,
      emptied: this.#emptied,
      isolated: this.#isolated,
      served: ({ node, region, beganMs, endedMs }) =>
        // For lack of room a node makes a change in the other store, although it uses its own.
        this.#full[region].touches(beganMs, endedMs)
          ? undefined
          : this.#log.during(node, beganMs, endedMs),
      levels: this.#log.levels.map(({ node, ...level }) => ({
        region: this.#regionOf.get(node) as RegionName,
        ...level,
      })),
    };
  }

  /** How many records the nodes counted as acknowledged alone. */
  get aloneRecords(): number {
    return this.#sharing.aloneRecords;
  }

  died(node: string): void {
    const atMs = performance.now();
    this.#sharing.died(node, atMs);
    this.#log.died(node, atMs);
  }

  /** A fault begins after which the region's nodes may serve from the other store, for lack of room too if `isFull`. */
  disturb(region: RegionName, isFull: boolean): void {
    const atMs = performance.now();
    this.#disturbed[region].begin("fault", atMs);
    if (isFull) this.#full[region].begin("fault", atMs);
  }

  /** Every node is healthy again. */
  settle(atMs: number): void {
    for (const region of regionNames) {
      this.#disturbed[region].endAll(atMs);
      this.#full[region].endAll(atMs);
    }
  }

  emptied(region: RegionName): void {
    this.#emptied[region].push(performance.now());
  }

  /** A time begins or ends in which the regions cannot agree. */
  isolate(name: string, isolated: boolean): void {
    // It begins a moment later: messages that nodes sent before may still arrive.
    if (isolated) this.#isolated.begin(name, performance.now() + arrivalMs);
    else this.#isolated.end(name, performance.now());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #watch(node: NodeProcess, region: RegionName): Promise<void> {
    let changes: number | undefined;
    while (!this.#stopped) {
      const beganMs = performance.now();
      const vitals = await node
        .metrics(silentMs)
        .then(vitalsIn)
        .catch(() => undefined);
      if (vitals !== undefined) {
        this.#sharing.looked(node.name, beganMs, { atMs: performance.now(), alone: vitals.alone });
      }
      // A node that served from the other store in between may do so again until all are healthy.
      if (vitals === undefined || !isWell(vitals) || changes !== vitals.servingChanges) {
        this.#disturbed[region].begin(`node ${node.name}`, beganMs - everyMs - sampleMs);
      }
      if (vitals !== undefined && isWell(vitals)) {
        if (changes === vitals.servingChanges) {
          this.#disturbed[region].end(`node ${node.name}`, performance.now());
        }
        changes = vitals.servingChanges;
      }
      await sleep(everyMs);
    }
  }
}

/** Messages that are on their way when the regions are cut off arrive within this time. */
const arrivalMs = 300;
/** A node that says nothing for this long does not serve. */
const silentMs = 5_000;
/** How long the previous reading of the metrics may have taken. */
const sampleMs = 200;
