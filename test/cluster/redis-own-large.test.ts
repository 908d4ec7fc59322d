import { randomUUID } from "node:crypto";
import { digestsOf, type Leaf, type ManagedObject, partitionOf } from "@holdfast/engine";
import { groupItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import type { RedisStore } from "@holdfast/redis";
import { expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import { installed, openNewStore, patientOptions } from "../support/redis-store.ts";

const perCommit = 250;

/** Fills an instance as another region does; returns identifiers in order of creation. */
async function fill(store: RedisStore, instance: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let made = 0; made < count; made += perCommit) {
    const objects = Array.from({ length: perCommit }, () => sampleObject(instance, randomUUID()));
    const changes = objects.map((after) => ({ kind: "create", after }) as const);
    const outcome = await store.commit(instance, changes, [], { joined: true });
    expect(outcome).toEqual({ kind: "committed" });
    ids.push(...objects.map(({ uniqueIdentifier }) => uniqueIdentifier));
  }
  return ids;
}

/** The tenth longest script in milliseconds; the longest ones may have waited for the processor. */
async function busyMs(redis: RedisServer): Promise<number> {
  const entries = (await redis.command("slowlog", "get", "1000")) as [number, number, number][];
  const longest = entries
    .map(([, , microseconds]) => microseconds / 1_000)
    .toSorted((a, b) => b - a);
  return longest[9] ?? 0;
}

test("a large partition is answered in pages that delay no other client", async () => {
  const count = 20_000;
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  const partition = partitionOf(instance);
  const ids = await fill(store, instance, count);
  await redis.command("config", "set", "slowlog-log-slower-than", "5000");
  await redis.command("config", "set", "slowlog-max-len", "1000");
  await redis.command("slowlog", "reset");

  const told: string[] = [];
  let pages = 0;
  for (let after = 0; ; pages += 1) {
    const page = await store.changes(partition, after, 2_000, 4 << 20);
    told.push(...page.objects.map(({ uniqueIdentifier }) => uniqueIdentifier));
    after = page.upTo;
    if (page.upTo === page.last) break;
  }
  expect(told).toEqual(ids);
  expect(pages).toBeLessThan(20);

  const leaves: Leaf[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    const page = await store.leaves(partition, new Uint8Array(32).fill(255), after);
    leaves.push(...page.leaves);
    after = page.next;
  }
  expect(leaves.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(ids);
  const digests = Buffer.from(await store.digests(partition));
  expect(digests.equals(Buffer.from(digestsOf(leaves)))).toBe(true);
  // The work for a page is bounded. Its time depends on the machine's load, so it is only printed.
  process.stdout.write(`    tenth longest command: ${await busyMs(redis)} ms\n`);
});

test("a page of large records ends early, and its scripts earlier", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  const partition = partitionOf(instance);
  const group = sampleRegister(groupItem("g".repeat(200_000)), 1);
  for (let made = 0; made < 8; made += 1) {
    const after = sampleObject(instance, randomUUID(), [group]);
    await store.commit(instance, [{ kind: "create", after }], []);
  }
  await redis.command("config", "resetstat");
  const page = await store.changes(partition, 0, 1_000, 1_000_000);
  expect(page.objects).toHaveLength(5);
  expect(page.last).toBe(8);
  const stats = String(await redis.command("info", "commandstats"));
  expect(Number(/cmdstat_get:calls=(\d+)/.exec(stats)?.[1])).toBeLessThan(15);
  const objects: ManagedObject[] = [];
  for (let after = 0; objects.length < 8; ) {
    const some = await store.changes(partition, after, 1_000, 1);
    expect(some.objects).toHaveLength(1);
    objects.push(...some.objects);
    after = some.upTo;
  }
});
