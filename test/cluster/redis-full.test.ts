import { randomUUID } from "node:crypto";
import { KmipClient } from "@holdfast/client";
import { kindOf, partitionOf, readRecord, systemInstance } from "@holdfast/engine";
import { attributeItem, objectItem } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { createKey, keyBytes, stateOf } from "../support/keys.ts";
import { openStoreOf } from "../support/node-root.ts";
import type { RedisServer } from "../support/redis.ts";
import { layRegion, type Region, startRegion } from "../support/region.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll, insist, told } from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";
const patientMs = 120_000;

/** Sets `maxmemory` below the used memory, so that Redis refuses what needs memory. */
async function fill(redis: RedisServer): Promise<void> {
  await redis.command("config", "set", "maxmemory", "1mb");
  await expect(redis.command("set", "x", "1")).rejects.toThrow("OOM");
}

async function empty(redis: RedisServer): Promise<void> {
  await redis.command("config", "set", "maxmemory", "0");
}

async function usedBytes(redis: RedisServer): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(String(await redis.command("info", "memory")))?.[1]);
}

/** Registers an object that is so large that its deletion shows in the memory of Redis. */
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
async function opened(region: Region) {
  const store = await openStoreOf(region, { replicas: 0 });
  const everything = { live: true, destroyed: false, limit: 100 };
  const { objects } = await store.store.find(systemInstance, everything);
  const named = objects.flatMap(({ object }) => readRecord("Instance", object) ?? []);
  const id = named.find(({ name }) => name === instance)?.instance;
  if (id === undefined) throw new Error("no instance");
  return { ...store, id, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** Reserves an object, like a Destroy whose node died before the decision. */
async function holdIn(region: Region, uniqueIdentifier: string): Promise<void> {
  await using own = await opened(region);
  const outcome = await own.store.reserve(own.id, [uniqueIdentifier], "interrupted");
  expect(outcome).toEqual({ kind: "reserved" });
}

/** Waits until the object is no longer reserved in the store itself. */
async function untilReleased(region: Region, uniqueIdentifier: string): Promise<void> {
  await using own = await opened(region);
  const released = async () => {
    const [copy] = await own.store.read(own.id, [uniqueIdentifier]);
    return copy !== undefined && copy.reserved === undefined;
  };
  await until("the reservation ended", released, patientMs);
}

/** Waits until so many nodes have registered in the store: a full one would refuse them. */
async function untilTold(region: Region, nodes: number): Promise<void> {
  await using own = await opened(region);
  const everything = { live: true, destroyed: false, limit: 100 };
  const told = async () => {
    const { objects } = await own.store.find(systemInstance, everything);
    const settings = objects.filter(({ object }) => kindOf(object) === "Setting");
    return settings.length >= nodes;
  };
  await until("every node registered", told, patientMs);
}

/** Waits until every node serves from its own store because it is level, not because of a cut. */
async function allLevel(both: TwoRegions): Promise<void> {
  const level = async ({ nodes }: TwoRegions) => {
    const lines = await Promise.all(
      nodes.map((node) => node.details().catch((): readonly string[] => [])),
    );
    return lines.every((each) => each.includes("serving: own store"));
  };
  await until("every node level", () => level(both), patientMs);
  await allWell(both, patientMs);
}

/** Writes some megabytes of audit events; returns the stream's key. */
async function growTrail(region: Region): Promise<string> {
  await using own = await opened(region);
  const fixed = { action: "kmip-key.read", outcome: "success", initiator: "test" } as const;
  const events = Array.from({ length: 500 }, () => {
    return { time: Date.now(), ...fixed, requestId: randomUUID(), detail: { on: "x".repeat(200) } };
  });
  for (let round = 0; round < 30; round += 1) await own.store.appendAudit(own.id, events, true);
  return `{p${String(partitionOf(own.id)).padStart(2, "0")}}:audit`;
}

test("two regions, one Redis full while level: its nodes let the other region make changes and show all; with room it is level again", async () => {
  await using both = await startTwoRegions({ instances: [instance], nodes: 2, replicas: 0 });
  await allLevel(both);
  await using clients = await ClientsOfAll.open(both, instance);
  const keys = new Map<string, string>();
  const create = async (node: string) => {
    const id = await createKey(clients.at(node));
    keys.set(id, await keyBytes(clients.at(node), id));
  };
  // A change that a client was refused may be made all the same.
  const allFound = async (node: string) => {
    const { uniqueIdentifiers } = await clients.at(node).locate({ attributes: [] });
    expect(uniqueIdentifiers, node).toEqual(expect.arrayContaining([...keys.keys()]));
  };
  const allRead = async (node: string) => {
    for (const [id, bytes] of keys) expect(await keyBytes(clients.at(node), id), node).toBe(bytes);
  };
  await create("a1");
  const large = await registerLarge(clients.at("a1"));
  await caughtUp(both, patientMs);
  const { primary } = both.a.redis;
  await fill(primary);
  for (const node of both.a.nodes) expect(await node.details()).toContain("serving: own store");

  // Nothing is restarted, and no client is refused.
  await create("a1");
  await create("a2");
  await create("b1");
  keys.set(large, "");
  for (const { name } of both.nodes) await insist(() => allFound(name), patientMs);
  keys.delete(large);
  for (const { name } of both.nodes) await allRead(name);
  const before = await usedBytes(primary);
  await clients.at("a2").destroy({ uniqueIdentifier: large });
  await until(
    "the memory freed",
    async () => (await usedBytes(primary)) < before - 250_000,
    patientMs,
  );
  await expect(primary.command("set", "x", "1")).rejects.toThrow("OOM");

  // In a cut it still serves what it has, and refuses changes because the store is full.
  const [old = ""] = keys.keys();
  await both.cut();
  await insist(async () => {
    expect(await told(createKey(clients.at("a1")))).toMatch(/the store is full/);
  }, patientMs);
  expect(await keyBytes(clients.at("a2"), old)).toBe(keys.get(old));
  await both.heal();
  await insist(() => create("a1"), patientMs);
  await insist(() => create("a2"), patientMs);
  for (const { name } of both.a.nodes) await insist(() => allFound(name), patientMs);

  await empty(primary);
  await allLevel(both);
  await create("a1");
  for (const { name } of both.nodes) {
    await allFound(name);
    await allRead(name);
  }
  await both.cut();
  for (const { name } of both.a.nodes) {
    await insist(() => allFound(name), patientMs);
    await allRead(name);
  }
}, 600_000);

test("two regions, one Redis full: its nodes start and lead, Destroy frees memory, a reservation ends, and missing changes come once there is room", async () => {
  await using both = await startTwoRegions({ instances: [instance], nodes: 2, replicas: 0 });
  await allLevel(both);
  await using clients = await ClientsOfAll.open(both, instance);
  const [kept, held, ended] = await Promise.all([0, 1, 2].map(() => createKey(clients.at("a1"))));
  const large = await registerLarge(clients.at("a1"));
  await clients.at("a1").activate({ uniqueIdentifier: ended ?? "" });
  const bytes = await keyBytes(clients.at("b1"), kept ?? "");
  for (const region of [both.a, both.b]) await untilTold(region, both.nodes.length);
  await caughtUp(both, patientMs);
  const { primary } = both.a.redis;
  await fill(primary);
  await holdIn(both.a, held ?? "");
  await restartAndLead(both);
  const reads = async () => expect(await keyBytes(clients.at("a1"), kept ?? "")).toBe(bytes);
  await insist(reads, patientMs);
  await untilReleased(both.a, held ?? "");
  await insist(() => keyBytes(clients.at("a1"), held ?? ""), patientMs);

  // It lacks nothing, so its own store takes part in agreed operations.
  const before = await usedBytes(primary);
  await insist(() => clients.at("a1").destroy({ uniqueIdentifier: large }), patientMs);
  await until(
    "the memory freed",
    async () => (await usedBytes(primary)) < before - 250_000,
    patientMs,
  );
  // An Active key is revoked first.
  const uniqueIdentifier = ended ?? "";
  const revocationReason = { code: "CessationOfOperation" } as const;
  await insist(() => clients.at("a2").revoke({ uniqueIdentifier, revocationReason }), patientMs);
  await insist(() => clients.at("a2").destroy({ uniqueIdentifier }), patientMs);
  for (const node of ["a1", "b1"]) {
    await insist(async () => {
      expect(await stateOf(clients.at(node), uniqueIdentifier), node).toBe("Destroyed");
    }, patientMs);
  }
  await expect(primary.command("set", "x", "1")).rejects.toThrow("OOM");

  // The full store does not get what the other region makes now; it is level only with room again.
  let lacking = "";
  await insist(async () => {
    lacking = await createKey(clients.at("b1"));
  }, patientMs);
  await restartAndLead(both);
  await insist(reads, patientMs);
  await insist(() => keyBytes(clients.at("a2"), lacking), patientMs);

  // Nothing is restarted.
  await empty(primary);
  await allWell(both, patientMs);
  await both.cut();
  await insist(reads, patientMs);
  await insist(() => keyBytes(clients.at("a1"), lacking), patientMs);
  await insist(() => createKey(clients.at("a1")), patientMs);
}, 600_000);

/** Ends both nodes of region a and starts them again; waits until one of them leads. */
async function restartAndLead({ a }: TwoRegions): Promise<void> {
  for (const node of a.nodes) await node.kill();
  for (const node of a.nodes) await node.start();
  const leads = async () => {
    const vitals = await Promise.all(a.nodes.map((node) => vitalsOf(node)));
    return vitals.some((one) => one.leads);
  };
  await until("a leader in a", leads, patientMs);
}

test("a region alone, its only Redis full and also its lock master: a node starts and reads, a leader trims, and with room it works again", async () => {
  await using region = await startRegion({ instances: [instance], nodes: 1, replicas: 0 });
  const { primary } = region.redis;
  const { host, kmip } = region.node(0);
  const { ca, certificate, key } = region.target(instance, 0);
  const tls = { ca, certificate, key };
  await using client = await KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls });
  const id = await createKey(client);
  const large = await registerLarge(client);
  const bytes = await keyBytes(client, id);
  const trail = await growTrail(region);
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
  // Without more memory or a restart, the leader frees what exceeds the trail's share.
  await until("the trail trimmed", async () => (await entries()) < before / 2, 180_000);
  await insist(() => createKey(client), patientMs);
  await primary.command("config", "set", "maxmemory", "1mb");
  expect(await told(createKey(client))).toMatch(/the store is full/);
  await client.destroy({ uniqueIdentifier: large });
  expect(await stateOf(client, large)).toBe("Destroyed");
  await primary.command("config", "set", "maxmemory", "0");
  await createKey(client);
}, 600_000);

test("a node refuses to start if its audit trail could take more than its share of maxmemory", async () => {
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
