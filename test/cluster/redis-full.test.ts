import { randomUUID } from "node:crypto";
import { KmipClient } from "@holdfast/client";
import { partitionOf, readInstanceRecord, systemInstance } from "@holdfast/engine";
import { attributeItem, objectItem } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { createKey, keyBytes, stateOf } from "../support/keys.ts";
import { type RedisServer, until } from "../support/redis.ts";
import { openStore } from "../support/redis-store.ts";
import { layRegion, startRegion } from "../support/region.ts";
import { insist, told } from "../support/two-regions-clients.ts";

const instance = "vcenter";
const patientMs = 120_000;

async function usedBytes(redis: RedisServer): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(String(await redis.command("info", "memory")))?.[1]);
}

/** An object whose material is large, so that its end can be seen in Redis. */
async function registerLarge(client: KmipClient): Promise<string> {
  const opaqueDataValue = Buffer.alloc(300_000, 7);
  const answer = await client.register({
    objectType: "OpaqueObject",
    attributes: {
      attributes: [{ item: attributeItem("ContactInformation", "large") }],
      templateNames: [],
    },
    object: objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue }),
  });
  return answer.uniqueIdentifier;
}

/** The store of a region as a node has it, and the id of the instance. */
async function opened(redis: RedisServer, replicas: number) {
  const store = await openStore({ address: redis.address, replicas });
  const everything = { live: true, destroyed: false, limit: 100 };
  const { objects } = await store.store.find(systemInstance, everything);
  const named = objects.flatMap(({ object }) => readInstanceRecord(object) ?? []);
  const id = named.find(({ name }) => name === instance)?.instance;
  if (id === undefined) throw new Error("no instance");
  return { ...store, id, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** Evidence of some megabytes; answers the stream's key. */
async function growTrail(redis: RedisServer): Promise<string> {
  await using own = await opened(redis, 0);
  const fixed = { action: "kmip-key.read", outcome: "success", initiator: "test" } as const;
  const events = Array.from({ length: 500 }, () => {
    return { time: Date.now(), ...fixed, requestId: randomUUID(), detail: { on: "x".repeat(200) } };
  });
  for (let round = 0; round < 30; round += 1) await own.store.appendAudit(own.id, events, true);
  return `{p${String(partitionOf(own.id)).padStart(2, "0")}}:audit`;
}

test("a region alone, its only Redis full and its own lock master: nodes start and read, a leader trims, and all is well with room", async () => {
  await using region = await startRegion({ instances: [instance], nodes: 1, replicas: 0 });
  const { primary } = region.redis;
  const { host, kmip } = region.node(0);
  const { ca, certificate, key } = region.target(instance, 0);
  const tls = { ca, certificate, key };
  await using client = await KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls });
  const id = await createKey(client);
  const large = await registerLarge(client);
  const bytes = await keyBytes(client, id);
  const trail = await growTrail(primary);
  const entries = async () => Number(await primary.command("xlen", trail));
  const before = await entries();
  expect(before).toBeGreaterThanOrEqual(15_000);
  for (const node of region.nodes) await node.kill();
  // The trail alone is more than a quarter of this.
  const maxmemory = String((await usedBytes(primary)) - 400_000);
  await primary.command("config", "set", "maxmemory", maxmemory);
  await expect(primary.command("set", "x", "1")).rejects.toThrow("OOM");
  for (const node of region.nodes) await node.start();
  await insist(async () => expect(await keyBytes(client, id)).toBe(bytes), patientMs);
  await until(
    "the metric shows it",
    async () => {
      const text = await region.node(0).metrics();
      return text.includes(`\nholdfast_store_memory_max_bytes ${maxmemory}\n`);
    },
    patientMs,
  );
  // Nothing is raised or restarted: the leader frees what is beyond the trail's share.
  await until("the trail trimmed", async () => (await entries()) < before / 2, 180_000);
  await insist(() => createKey(client), patientMs);
  await primary.command("config", "set", "maxmemory", "1mb");
  expect(await told(createKey(client))).toMatch(/the store is full/);
  await client.destroy({ uniqueIdentifier: large });
  expect(await stateOf(client, large)).toBe("Destroyed");
  await primary.command("config", "set", "maxmemory", "0");
  await createKey(client);
}, 600_000);

test("a trail that could take more than its share of maxmemory is refused at the start", async () => {
  await using region = await layRegion({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    redisConfig: { maxmemory: "64mb" },
    settings: { audit: { retentionBytes: 17 << 20 } },
  });
  await expect(region.node(0).start()).rejects.toThrow();
  expect(region.node(0).logText()).toMatch(/audit.retentionBytes: .* quarter of .* maxmemory/);
});
