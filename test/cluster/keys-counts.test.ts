import { initialMonth, partitionOf, type StateCounts, stateCounts } from "@holdfast/engine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  installed,
  type OpenStore,
  openNewStore,
  patientOptions,
} from "../support/redis-store.ts";

const at = { time: 1, region: "a" };
let redis: RedisServer;
let opened: OpenStore;

beforeAll(async () => {
  redis = await RedisServer.start();
  opened = await openNewStore({ ...patientOptions, address: redis.address });
});

afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

function statesOf(instance: string): string {
  return `{p${String(partitionOf(instance)).padStart(2, "0")}}:counts`;
}

/** Recounts a partition, with `between` after each step; returns how many counts were wrong. */
async function recounted(instance: string, between = async () => {}): Promise<number> {
  for (;;) {
    const { left, wrong } = await opened.store.recount(partitionOf(instance));
    if (left === 0) return wrong;
    await between();
  }
}

async function counts(instance: string): Promise<StateCounts | undefined> {
  return await opened.store.counts(instance);
}

test("a store from before there were counts gives none until its objects are counted", async () => {
  const { store } = opened;
  const instance = await installed(store);
  for (let made = 0; made < 300; made++) await create(store, instance);
  await redis.command("del", statesOf(instance));
  expect(await counts(instance)).toBeUndefined();
  const early = await create(store, instance);
  expect(await counts(instance)).toBeUndefined();
  let changed = 0;
  const wrong = await recounted(instance, async () => {
    // Objects change meanwhile, both before and after they are counted.
    const [before] = await store.read(instance, [early.uniqueIdentifier]);
    if (before === undefined) throw new Error("it is gone");
    const facts = changed % 2 === 0 ? { activated: at } : { activated: at, deactivated: at };
    changed += 1;
    await store.commit(
      instance,
      [{ kind: "update", before, after: { ...before.object, facts } }],
      [],
    );
    await create(store, instance);
  });
  expect(wrong).toBeGreaterThan(0);
  expect(changed).toBeGreaterThan(1);
  const total = 301 + changed;
  const of = changed % 2 === 0 ? "Deactivated" : "Active";
  expect(await counts(instance)).toEqual(stateCounts({ PreActive: total - 1, [of]: 1 }));
  expect(await recounted(instance)).toBe(0);
});

test("a wrong count, of whatever kind, is found and corrected, and prevents no change", async () => {
  const { store } = opened;
  const instance = await installed(store);
  const month = String(initialMonth(await create(store, instance))).padStart(4, "0");
  await redis.command(
    "hset",
    statesOf(instance),
    `1${month}${instance}`,
    "7",
    `3${month}${instance}`,
    "2",
  );
  expect((await counts(instance))?.PreActive).toBe(7);
  expect(await recounted(instance)).toBe(2);
  expect(await counts(instance)).toEqual(stateCounts({ PreActive: 1 }));
  await redis.command("hset", statesOf(instance), `1${month}${instance}`, "many");
  await create(store, instance);
  expect(await counts(instance)).toBeUndefined();
  expect(await recounted(instance)).toBe(1);
  expect(await counts(instance)).toEqual(stateCounts({ PreActive: 2 }));
});

test("a repaired record is counted again, with its whole partition", async () => {
  const { store } = opened;
  const instance = await installed(store);
  const object = await create(store, instance);
  const id = Buffer.from(object.uniqueIdentifier.replaceAll("-", ""), "hex");
  const prefix = statesOf(instance).replace("counts", "o:");
  await redis.command("set", Buffer.concat([Buffer.from(prefix), id]) as never, "damaged");
  await store.quarantine(instance, object.uniqueIdentifier, "does not decode", {
    replacement: { ...object, facts: { activated: at } },
  });
  expect(await counts(instance)).toBeUndefined();
  await recounted(instance);
  expect(await counts(instance)).toEqual(stateCounts({ Active: 1 }));
});
