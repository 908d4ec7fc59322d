import type { RedisServer } from "../support/redis.ts";
import type { Region } from "../support/region.ts";
import { instances } from "./holdfast.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { Exchange } from "./load-plan.ts";
import { create, newKey } from "./messages.ts";
import type { Extent } from "./options.ts";

/** How much memory objects of one kind take in Redis. */
export interface StoredBytes {
  readonly objects: "created" | "described";
  readonly title: string;
  readonly count: number;
  /** Records and indexes. */
  readonly bytes: number;
  /** The audit streams, which grow with operations, not with objects. */
  readonly streamBytes: number;
}

/** The number of objects, their bytes, and the bytes of streams since the last count. */
interface Holding {
  readonly count: number;
  readonly bytes: number;
  readonly streamBytes: number;
}

const connections = 64;
const limitMs = 600_000;
const buffers = [
  "mem_clients_normal",
  "mem_clients_slaves",
  "mem_replication_backlog",
  "mem_aof_buffer",
];

const kinds: readonly (Pick<StoredBytes, "objects" | "title"> & {
  readonly persistent: boolean;
  readonly exchanges: readonly Exchange[];
})[] = [
  {
    objects: "created",
    title: "as Create leaves it",
    persistent: true,
    exchanges: [[create]],
  },
  {
    objects: "described",
    title: "activated, with vCenter's six attributes",
    persistent: true,
    exchanges: [newKey.flatMap((messages) => messages.slice(1))],
  },
];

/** Makes objects of each kind in their own instance, and reads how Redis's memory grows. */
export async function measureStoredBytes(
  region: Region,
  generator: LoadGenerator,
  extent: Extent,
): Promise<StoredBytes[]> {
  const { primary } = region.redis;
  const found: StoredBytes[] = [];
  for (const { objects, title, persistent, exchanges } of kinds) {
    const before = await holding(primary);
    await generator.load({
      connections,
      targets: [region.target(instanceOf(objects))],
      persistent,
      operations: [exchanges],
      warmMs: 0,
      measureMs: limitMs,
      operationsMax: extent.storedObjects,
      pids: {},
    });
    const after = await holding(primary);
    found.push({
      objects,
      title,
      count: after.count - before.count,
      bytes: after.bytes - before.bytes,
      streamBytes: after.streamBytes,
    });
  }
  return found;
}

function instanceOf(objects: StoredBytes["objects"]): string {
  const found = instances.find((name) => name === objects);
  if (found === undefined) throw new Error(`no instance for ${objects}`);
  return found;
}

/** Counts the objects, and the bytes with and without the streams, which it empties. */
async function holding(redis: RedisServer): Promise<Holding> {
  const count = (await keysOf(redis, "MATCH", "{p*}:o:*")).length;
  const all = await usedBytes(redis);
  for (const key of await keysOf(redis, "TYPE", "stream")) {
    await redis.command("xtrim", key, "MAXLEN", 0);
  }
  const bytes = await usedBytes(redis);
  return { count, bytes, streamBytes: all - bytes };
}

/** The memory for data, without the buffers of connections and of the append-only file. */
async function usedBytes(redis: RedisServer): Promise<number> {
  let bytes = Number(await redis.info("used_memory"));
  for (const buffer of buffers) bytes -= Number(await redis.info(buffer));
  return bytes;
}

async function keysOf(redis: RedisServer, ...filter: readonly string[]): Promise<string[]> {
  const keys = new Set<string>();
  let cursor = "0";
  do {
    const answer = await redis.command("scan", cursor, ...filter, "COUNT", 5000);
    const [next, some] = answer as [string, string[]];
    for (const key of some) keys.add(key);
    cursor = next;
  } while (cursor !== "0");
  return [...keys];
}
