import { type ChainPoint, chainHash, chainStart, checkpointEvery } from "@holdfast/engine";
import type { ChainedEntry } from "@holdfast/regions";
import { valueProofLength } from "../../packages/redis/src/storage-keys/value-proof.ts";
import type { CadfSettings } from "../../packages/server/src/audit/cadf.ts";
import { shippedTexts } from "../../packages/server/src/audit/sinks/shipped.ts";
import type { RedisServer } from "./redis.ts";

type Entry = readonly [id: Buffer, fields: readonly Buffer[]];
type Snapshot = ReadonlyMap<string, Buffer>;

/** The leaves and texts of the log over the trail. */
export const logKeys = ["{sys}:audit-tree", "{sys}:audit-leaves"] as const;

/** Somebody who may do everything in a region's Redis, and knows how the audit trail is kept there. */
export class TrailAttacker {
  readonly #redis: RedisServer;

  constructor(redis: RedisServer) {
    this.#redis = redis;
  }

  /** Everything of the trail, by key. */
  async copy(): Promise<Snapshot> {
    const all = new Map<string, Buffer>();
    for (const key of await this.#keys()) {
      all.set(key, (await this.#redis.buffers("dump", key)) as unknown as Buffer);
    }
    return all;
  }

  /** Puts back what `copy` took. */
  async putBack(snapshot: Snapshot, keys: readonly string[] = [...snapshot.keys()]): Promise<void> {
    for (const key of await this.#keys()) {
      if (keys.includes(key) || !snapshot.has(key)) await this.#redis.command("del", key);
    }
    for (const key of keys) {
      const bytes = snapshot.get(key);
      if (bytes !== undefined) await this.#redis.command("restore", key, 0, bytes, "replace");
    }
  }

  /** The last signed step of the log. */
  async step(): Promise<Buffer> {
    return (await this.#redis.buffers("hget", logKeys[0], "last")) as unknown as Buffer;
  }

  /** Puts an earlier step back, and leaves what witnesses cosigned. */
  async putStepBack(step: Buffer): Promise<void> {
    await this.#redis.command("hset", logKeys[0], "last", step);
  }

  /** Says that leaves up to `end` were removed, with no range that fits, and removes all. */
  async fold(end: number): Promise<void> {
    const base = JSON.stringify({ begin: end, end, hashes: [] });
    await this.#redis.command("hset", logKeys[0], "base", base);
    await this.remove(logKeys[1]);
  }

  async remove(...keys: readonly string[]): Promise<void> {
    await this.#redis.command("del", ...keys);
  }

  async entries(partition: string): Promise<readonly Buffer[]> {
    const all = await this.#redis.buffers("xrange", `{${partition}}:audit`, "-", "+");
    return (all as unknown as readonly Entry[]).map(([, fields]) => fields[1] as Buffer);
  }

  /** Makes these the only entries of a partition, without a chain that fits. */
  async replace(partition: string, number: number, entry: Buffer): Promise<void> {
    const entries = [...(await this.entries(partition))];
    entries[number - 1] = entry;
    await this.#write(partition, entries, 0);
  }

  /** Makes these the entries of a partition, from `base` on, with counters and the chain that they would have. */
  async forge(partition: string, entries: readonly Buffer[], base = 0): Promise<void> {
    await this.#write(partition, entries, base);
    let point = await this.#start(partition);
    const points: [string, Buffer][] = [];
    for (const [at, entry] of entries.entries()) {
      point = {
        number: at + 1,
        hash: chainHash(point.hash, at + 1, entry),
        bytes: point.bytes + entry.length,
        timeMs: entry.readUIntBE(2, 6),
      };
      if (point.number % checkpointEvery === 0 && point.number >= base) {
        points.push([String(point.number), written(point)]);
      }
      if (point.number === base) points.push(["base", written(point)]);
    }
    points.push(["head", written(point)]);
    const [chain, counters] = [`{${partition}}:audit-chain`, `{${partition}}:counters`];
    await this.#redis.command("del", chain);
    await this.#redis.command("hset", chain, ...points.flat());
    await this.#redis.command("hset", counters, "audit", entries.length, "auditBase", base);
  }

  /** Says that the store gave up these entries at its hard bound. */
  async sayDropped(partition: string, number: number): Promise<void> {
    const range = ["minid", `${number + 1}-0`] as const;
    await this.#redis.command("xtrim", `{${partition}}:audit`, ...range);
    await this.#redis.command("hset", `{${partition}}:counters`, "auditDropped", number);
  }

  /** What receivers would have of a partition if nothing but its present entries had ever been there. */
  async shipped(partition: string, cadf: CadfSettings): Promise<readonly string[]> {
    const found = await this.#redis.buffers("xrange", `{${partition}}:audit`, "-", "+");
    const all = found as unknown as readonly Entry[];
    if (all.length === 0) return [];
    const base = await this.#redis.buffers("hget", `{${partition}}:audit-chain`, "base");
    const storeId = await this.#storeId(partition);
    let { hash } = chainStart(storeId, numberOf(partition));
    if (base !== null) hash = (base as unknown as Buffer).subarray(18);
    const entries = all.map(([id, fields]): ChainedEntry => {
      const [number, bytes] = [Number.parseInt(String(id), 10), fields[1] as Buffer];
      hash = chainHash(hash, number, bytes);
      return { storeId, partition: numberOf(partition), number, bytes, hash };
    });
    return (await shippedTexts(entries, cadf)).map(({ text }) => text);
  }

  async #write(partition: string, entries: readonly Buffer[], base: number): Promise<void> {
    const key = `{${partition}}:audit`;
    await this.#redis.command("del", key);
    for (const [at, entry] of entries.entries()) {
      if (at >= base) await this.#redis.command("xadd", key, `${at + 1}-0`, "e", entry);
    }
  }

  async #start(partition: string): Promise<ChainPoint> {
    return chainStart(await this.#storeId(partition), numberOf(partition));
  }

  async #storeId(partition: string): Promise<string> {
    const head = (await this.#redis.buffers("get", `{${partition}}:head`)) as unknown as Buffer;
    return head.toString("hex", 0, 16);
  }

  async #keys(): Promise<readonly string[]> {
    const keys = (await this.#redis.command("keys", "*")) as string[];
    return keys.filter((key) => /^\{.*\}:(audit.*|counters)$/.test(key)).toSorted();
  }
}

function numberOf(partition: string): number {
  return partition === "sys" ? 64 : Number(partition.slice(1));
}

function written({ number, bytes, timeMs, hash }: ChainPoint): Buffer {
  const value = Buffer.alloc(18);
  for (const [at, part] of [number, bytes, timeMs].entries()) value.writeUIntBE(part, 6 * at, 6);
  // Without the store's key, its proof is only as long as one.
  return Buffer.concat([value, hash, Buffer.alloc(valueProofLength)]);
}
