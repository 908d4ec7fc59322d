import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { holdfast } from "../support/command-line.ts";
import type { RedisServer } from "../support/redis.ts";
import type { Region } from "../support/region.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { LoadPlan, LoadResult } from "./load-plan.ts";
import { create } from "./messages.ts";
import type { Extent, Options, Part } from "./options.ts";
import { Histogram } from "./statistics.ts";
import { Contexts, identifierIn, Wire } from "./wire.ts";

const instance = "bench";
const lagRate = 1000;
const limitMs = 600_000;

/** Creates in one region that the other acknowledges, or in a region alone. */
interface RegionsCreate {
  /** Undefined for a region alone. */
  readonly wanMs: number | undefined;
  readonly connections: number;
  readonly result: LoadResult;
  /** Mean time of the own store's barrier during the measurement. */
  readonly barrierMs: number;
  readonly shared: number;
  readonly alone: number;
}

/** How late the changes that one region acknowledged were in the other one's store. */
interface RegionsLag {
  readonly perSecond: number;
  /** Milliseconds after the acknowledgement; 0 if it was already there. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly samples: number;
  readonly alone: number;
}

/** The time until the other region had what it lacked. */
export interface Transfer {
  readonly objects: number;
  readonly seconds: number;
}

/** The cost of two regions, and how fast they catch up. */
export interface TwoRegionsFigures {
  readonly creates: readonly RegionsCreate[];
  readonly lag?: RegionsLag;
  readonly catchUp?: Transfer;
  readonly refill?: Transfer;
}

/** Measures the selected parts of two regions with one node each; `alone` has no peer. */
export async function measureTwoRegions(
  alone: Region,
  generator: LoadGenerator,
  { only, extent }: Options,
): Promise<TwoRegionsFigures | undefined> {
  const has = (part: Part) => only.has(part);
  const live = has("regions-create") || has("regions-lag");
  const moved = has("regions-catch-up") || has("regions-refill");
  if (!live && !moved) return undefined;
  const figures: { -readonly [Key in keyof TwoRegionsFigures]: TwoRegionsFigures[Key] } = {
    creates: [],
  };
  if (live) {
    await using both = await startPair();
    if (has("regions-create")) {
      figures.creates = await measureCreates(alone, both, generator, extent);
    }
    if (has("regions-lag")) figures.lag = await measureLag(both, generator, extent);
  }
  if (moved) {
    // New stores, so that exactly the given number of objects is moved.
    await using both = await startPair();
    if (has("regions-catch-up")) figures.catchUp = await measureCatchUp(both, generator, extent);
    if (has("regions-refill")) figures.refill = await measureRefill(both, generator, extent);
  }
  return figures;
}

async function startPair(): Promise<TwoRegions> {
  const both = await startTwoRegions({ instances: [instance], nodes: 1, replicas: 1 });
  await using guard = new AsyncDisposableStack();
  guard.use(both);
  await allWell(both);
  guard.move();
  return both;
}

/** The load plan of Creates at a region's first node. */
function creating(region: Region, more: Partial<LoadPlan>): LoadPlan {
  return {
    connections: 1,
    targets: [region.target(instance)],
    persistent: true,
    operations: [[[create]]],
    warmMs: 0,
    measureMs: limitMs,
    pids: {},
    ...more,
  };
}

async function measureCreates(
  alone: Region,
  both: TwoRegions,
  generator: LoadGenerator,
  { warmUpMs, warmMs, measureMs, rounds }: Extent,
): Promise<RegionsCreate[]> {
  const found: RegionsCreate[] = [];
  const forMs = measureMs * Math.max(1, rounds);
  const measure = async (region: Region, wanMs: number | undefined, connections: number) => {
    const [node] = region.nodes;
    if (node === undefined) throw new Error("a region without nodes");
    // The node that clients ask, and the node that gets the changes.
    const peers = wanMs === undefined ? [] : both.b.nodes.map(({ pid }) => pid);
    const pids = { server: [node.pid], peer: peers };
    const before = { barrier: await barrierOf(region), vitals: await vitalsOf(node) };
    const result = await generator.load(
      creating(region, { connections, warmMs, measureMs: forMs, pids }),
    );
    const [barrier, vitals] = [await barrierOf(region), await vitalsOf(node)];
    const count = barrier.count - before.barrier.count;
    found.push({
      wanMs,
      connections,
      result,
      barrierMs: count === 0 ? 0 : ((barrier.sum - before.barrier.sum) / count) * 1000,
      shared: vitals.shared - before.vitals.shared,
      alone: vitals.alone - before.vitals.alone,
    });
  };
  await generator.load(creating(both.a, { connections: 32, measureMs: warmUpMs }));
  for (const connections of [1, 32]) {
    await measure(alone, undefined, connections);
    for (const wanMs of [0, 40]) {
      await both.delay(wanMs);
      await allWell(both);
      await measure(both.a, wanMs, connections);
    }
  }
  await both.delay(0);
  return found;
}

/** The total seconds and the number of full barriers of a region's first node. */
async function barrierOf(region: Region): Promise<{ sum: number; count: number }> {
  const text = (await region.nodes[0]?.metrics()) ?? "";
  const value = (what: string) =>
    Number(
      new RegExp(`^holdfast_barrier_seconds_${what}\\{full="true"\\} (\\S+)$`, "m").exec(
        text,
      )?.[1] ?? 0,
    );
  return { sum: value("sum"), count: value("count") };
}

/** Makes keys during a load of Creates, and checks how late each is in the other region's Redis. */
async function measureLag(
  both: TwoRegions,
  generator: LoadGenerator,
  { lagMs }: Extent,
): Promise<RegionsLag> {
  const [node] = both.a.nodes;
  if (node === undefined) throw new Error("a region without nodes");
  await generator.load(creating(both.a, { connections: 64, measureMs: 1000 }));
  await allWell(both);
  const before = await vitalsOf(node);
  const plan = { connections: 64, measureMs: lagMs, ratePerSecond: lagRate };
  const [{ operations, seconds }, lags] = await Promise.all([
    generator.load(creating(both.a, plan)),
    sampleLags(both, lagMs),
  ]);
  const ms = (share: number) => {
    const us = lags.percentile(share) ?? Number.NaN;
    return us <= 1 ? 0 : us / 1000;
  };
  const vitals = await vitalsOf(node);
  return {
    perSecond: operations / seconds,
    p50Ms: ms(0.5),
    p99Ms: ms(0.99),
    samples: lags.count,
    alone: vitals.alone - before.alone,
  };
}

/** Makes keys, and looks for each in the other region's Redis after its acknowledgement. */
async function sampleLags(both: TwoRegions, forMs: number): Promise<Histogram> {
  const lags = new Histogram();
  const prefix = await partitionOf(both.a.redis.primary);
  const other = both.b.redis.primary;
  const wire = await Wire.open(both.a.target(instance), new Contexts());
  try {
    const untilMs = performance.now() + forMs;
    while (performance.now() < untilMs) {
      const id = identifierIn(await wire.exchange(Buffer.from(create.bytes, "base64"))) ?? "";
      const acknowledgedMs = performance.now();
      const key = Buffer.concat([
        Buffer.from(`${prefix}:o:`),
        Buffer.from(id.replaceAll("-", ""), "hex"),
      ]);
      const isThere = async () => (await other.command("exists", key)) === 1;
      if (await isThere()) {
        lags.record(1);
      } else {
        await until("the object in the other region", isThere);
        lags.record((performance.now() - acknowledgedMs) * 1000);
      }
      await sleep(5);
    }
  } finally {
    await wire.destroy();
  }
  return lags;
}

/** Makes objects during a cut, and waits for them on the other side once it is over. */
async function measureCatchUp(
  both: TwoRegions,
  generator: LoadGenerator,
  { replicatedObjects, cutMs }: Extent,
): Promise<Transfer> {
  await generator.load(creating(both.a, { operationsMax: 1 }));
  await both.cut();
  const sinceMs = performance.now();
  // Creates wait for the other region until the node knows that it cannot be reached.
  await sleep(2000);
  await generator.load(creating(both.a, { connections: 64, operationsMax: replicatedObjects }));
  await sleep(Math.max(0, sinceMs + cutMs - performance.now()));
  const prefix = await partitionOf(both.a.redis.primary);
  const objects = (await countIn(both.a, prefix)) - (await countIn(both.b, prefix));
  const healedMs = performance.now();
  await both.heal();
  await sameIn(both, prefix);
  return { objects, seconds: (performance.now() - healedMs) / 1000 };
}

/** Empties the other region's store and waits until it has everything again and serves from it. */
async function measureRefill(
  both: TwoRegions,
  generator: LoadGenerator,
  { replicatedObjects }: Extent,
): Promise<Transfer> {
  const lacking = replicatedObjects - (await fullest(both.a.redis.primary)).count;
  if (lacking > 0) {
    await generator.load(creating(both.a, { connections: 64, operationsMax: lacking }));
  }
  const prefix = await partitionOf(both.a.redis.primary);
  await sameIn(both, prefix);
  await both.kill("b");
  const { redis, lockMasters, nodes } = both.b;
  await Promise.all([redis.primary, ...redis.replicas].map((one) => one.restart({ empty: true })));
  await redis.primary.replicasInStep(redis.replicas.length);
  await Promise.all(lockMasters.map((one) => one.restart()));
  const { code, err } = await holdfast("store", "init", "--config", nodes[0]?.configFile ?? "");
  if (code !== 0) throw new Error(`store init: ${err}`);
  const sinceMs = performance.now();
  await Promise.all(nodes.map((node) => node.start()));
  await sameIn(both, prefix);
  await allWell(both);
  const seconds = (performance.now() - sinceMs) / 1000;
  return { objects: await countIn(both.b, prefix), seconds };
}

/** Waits until both regions' stores have the same number of records. */
async function sameIn(both: TwoRegions, prefix: string): Promise<void> {
  await until(
    "as many records in both stores",
    async () => (await countIn(both.a, prefix)) === (await countIn(both.b, prefix)),
  );
}

/** The records of a partition in a region's store, by its own counter. */
async function countIn({ redis }: Region, prefix: string): Promise<number> {
  return Number(await redis.primary.command("hget", `${prefix}:counters`, "created"));
}

/** The prefix of the instance's partition: the one with records. */
async function partitionOf(redis: RedisServer): Promise<string> {
  const { prefix } = await fullest(redis);
  if (prefix === "") throw new Error("no partition has a record");
  return prefix;
}

async function fullest(redis: RedisServer): Promise<{ prefix: string; count: number }> {
  let most = { prefix: "", count: 0 };
  for (let partition = 0; partition < 64; partition++) {
    const prefix = `{p${String(partition).padStart(2, "0")}}`;
    const count = Number(await redis.command("hget", `${prefix}:counters`, "created"));
    if (count > most.count) most = { prefix, count };
  }
  return most;
}
