import { randomUUID } from "node:crypto";
import { KmipClient } from "@holdfast/client";
import { kindOf, partitionOf, readRecord, systemInstance } from "@holdfast/engine";
import { attributeItem, objectItem } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { answered, createKey, keyBytes, look, stateOf } from "../support/keys.ts";
import { openStoreOf } from "../support/node-root.ts";
import type { RedisServer } from "../support/redis.ts";
import { layRegion, type Region, startRegion } from "../support/region.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll, insist, told } from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";

/** Destroys an object; a busy node may do that and not say so. */
async function destroyAt(client: KmipClient, uniqueIdentifier: string): Promise<void> {
  await answered(async () => {
    const { key } = await look(client, uniqueIdentifier);
    if (key.reason === "ObjectDestroyed" || key.reason === "ItemNotFound") return;
    await client.destroy({ uniqueIdentifier });
  });
}

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
  const answer = await answered(() =>
    client.register({
      objectType: "OpaqueObject",
      attributes: {
        attributes: [{ item: attributeItem("ContactInformation", "large") }],
        templateNames: [],
      },
      object: objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue }),
    }),
  );
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
  await until("the reservation ended", released);
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
  await until("every node registered", told);
}

/** Waits until every node serves from its own store because it is level, not because of a cut. */
async function allLevel(both: TwoRegions): Promise<void> {
  const level = async ({ nodes }: TwoRegions) => {
    const lines = await Promise.all(
      nodes.map((node) => node.details().catch((): readonly string[] => [])),
    );
    return lines.every((each) => each.includes("serving: own store"));
  };
  await until("every node level", () => level(both));
  await allWell(both);
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
    const id = await answered(() => createKey(clients.at(node)));
    keys.set(id, await answered(() => keyBytes(clients.at(node), id)));
  };
  // A change that a client was refused may be made all the same.
  const allFound = async (node: string) => {
    const { uniqueIdentifiers } = await clients.at(node).locate({ attributes: [] });
    expect(uniqueIdentifiers, node).toEqual(expect.arrayContaining([...keys.keys()]));
  };
  const allRead = async (node: string) => {
    for (const [id, bytes] of keys) {
      expect(await answered(() => keyBytes(clients.at(node), id)), node).toBe(bytes);
    }
  };
  await create("a1");
  const large = await registerLarge(clients.at("a1"));
  await caughtUp(both);
  const { primary } = both.a.redis;
  await fill(primary);
  for (const node of both.a.nodes) {
    await until("its own store", async () => (await node.details()).includes("serving: own store"));
  }

  // Nothing is restarted, and no client is refused for longer than the regions lose each other on a busy machine.
  await create("a1");
  await create("a2");
  await create("b1");
  keys.set(large, "");
  for (const { name } of both.nodes) await insist(() => allFound(name));
  keys.delete(large);
  for (const { name } of both.nodes) await allRead(name);
  const before = await usedBytes(primary);
  await destroyAt(clients.at("a2"), large);
  await until("the memory freed", async () => (await usedBytes(primary)) < before - 250_000);
  await expect(primary.command("set", "x", "1")).rejects.toThrow("OOM");

  // In a cut it still serves what it has, and refuses changes because the store is full.
  const [old = ""] = keys.keys();
  await both.cut();
  await insist(async () => {
    expect(await told(createKey(clients.at("a1")))).toMatch(/the store is full/);
  });
  expect(await answered(() => keyBytes(clients.at("a2"), old))).toBe(keys.get(old));
  await both.heal();
  await insist(() => create("a1"));
  await insist(() => create("a2"));
  for (const { name } of both.a.nodes) await insist(() => allFound(name));

  await empty(primary);
  await allLevel(both);
  await create("a1");
  for (const { name } of both.nodes) {
    await insist(() => allFound(name));
    await allRead(name);
  }
  await both.cut();
  for (const { name } of both.a.nodes) {
    await insist(() => allFound(name));
    await allRead(name);
  }
});

test("two regions, one Redis full: its nodes start and lead, Destroy frees memory, a reservation ends, and missing changes come once there is room", async () => {
  await using both = await startTwoRegions({ instances: [instance], nodes: 2, replicas: 0 });
  await allLevel(both);
  await using clients = await ClientsOfAll.open(both, instance);
  const [kept, held, ended] = await Promise.all(
    [0, 1, 2].map(() => answered(() => createKey(clients.at("a1")))),
  );
  const large = await registerLarge(clients.at("a1"));
  await answered(() => clients.at("a1").activate({ uniqueIdentifier: ended ?? "" }));
  const bytes = await answered(() => keyBytes(clients.at("b1"), kept ?? ""));
  for (const region of [both.a, both.b]) await untilTold(region, both.nodes.length);
  await caughtUp(both);
  const { primary } = both.a.redis;
  await fill(primary);
  await holdIn(both.a, held ?? "");
  await restartAndLead(both);
  const reads = async () => expect(await keyBytes(clients.at("a1"), kept ?? "")).toBe(bytes);
  await insist(reads);
  await untilReleased(both.a, held ?? "");
  await insist(() => keyBytes(clients.at("a1"), held ?? ""));

  // It lacks nothing, so its own store takes part in agreed operations.
  const before = await usedBytes(primary);
  await insist(() => destroyAt(clients.at("a1"), large));
  await until("the memory freed", async () => (await usedBytes(primary)) < before - 250_000);
  // An Active key is revoked first.
  const uniqueIdentifier = ended ?? "";
  const revocationReason = { code: "CessationOfOperation" } as const;
  await insist(async () => {
    if ((await stateOf(clients.at("a2"), uniqueIdentifier)) !== "Active") return;
    await clients.at("a2").revoke({ uniqueIdentifier, revocationReason });
  });
  await insist(() => destroyAt(clients.at("a2"), uniqueIdentifier));
  for (const node of ["a1", "b1"]) {
    await insist(async () => {
      expect(await stateOf(clients.at(node), uniqueIdentifier), node).toBe("Destroyed");
    });
  }
  await expect(primary.command("set", "x", "1")).rejects.toThrow("OOM");

  // The full store does not get what the other region makes now; it is level only with room again.
  let lacking = "";
  await insist(async () => {
    lacking = await createKey(clients.at("b1"));
  });
  await restartAndLead(both);
  await insist(reads);
  await insist(() => keyBytes(clients.at("a2"), lacking));

  // Nothing is restarted.
  await empty(primary);
  await allWell(both);
  await both.cut();
  await insist(reads);
  await insist(() => keyBytes(clients.at("a1"), lacking));
  await insist(() => createKey(clients.at("a1")));
});

/** Ends both nodes of region a and starts them again; waits until one of them leads. */
async function restartAndLead({ a }: TwoRegions): Promise<void> {
  for (const node of a.nodes) await node.kill();
  for (const node of a.nodes) await node.start();
  const leads = async () => {
    const each = a.nodes.map((node) => vitalsOf(node).catch(() => undefined));
    return (await Promise.all(each)).some((one) => one?.leads === true);
  };
  await until("a leader in a", leads);
}

test("a region alone, its only Redis full and also its lock master: a node starts and reads, a leader trims, and with room it works again", async () => {
  await using region = await startRegion({ instances: [instance], nodes: 1, replicas: 0 });
  const { primary } = region.redis;
  const { host, kmip } = region.node(0);
  const { ca, certificate, key } = region.target(instance, 0);
  const tls = { ca, certificate, key };
  const connect = () => KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls });
  await using client = await answered(connect);
  const id = await answered(() => createKey(client));
  const large = await registerLarge(client);
  const bytes = await answered(() => keyBytes(client, id));
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
  await insist(async () => expect(await keyBytes(client, id)).toBe(bytes));
  await until("the metric shows it", async () => {
    const text = await region.node(0).metrics();
    return text.includes(`\nholdfast_store_memory_max_bytes ${maxmemory}\n`);
  });
  // Without more memory or a restart, the leader frees what exceeds the trail's share.
  await until("the trail trimmed", async () => (await entries()) < before / 2);
  await insist(() => createKey(client));
  await primary.command("config", "set", "maxmemory", "1mb");
  await insist(async () => expect(await told(createKey(client))).toMatch(/the store is full/));
  await destroyAt(client, large);
  expect(await answered(() => stateOf(client, large))).toBe("Destroyed");
  await primary.command("config", "set", "maxmemory", "0");
  await answered(() => createKey(client));
});

test("a node refuses to start if its audit trail could take more than its share of maxmemory", async () => {
  await using region = await layRegion({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    redisConfig: { maxmemory: "64mb" },
    settings: { audit: { retentionBytes: 17 << 20 } },
  });
  const node = region.node(0);
  node.launch();
  await until("the end of the node", () => !node.running);
  // What a process printed may be in the file a moment after its end.
  await until("the reason in the log", () =>
    /audit.retentionBytes: .* quarter of .* maxmemory/.test(node.logText()),
  );
});
