import { type ChainPoint, sysPartition } from "@holdfast/engine";
import { loadScripts } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { partitionKeys, sysKeys } from "../../packages/redis/src/connection/keys.ts";
import { wrapStorageKey } from "../../packages/redis/src/records/key-wraps.ts";
import { writeKeyEntry } from "../../packages/redis/src/storage-keys/key-entry.ts";
import { writeKeyNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import { deriveStorageKey } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import {
  proveValue,
  type ValuePlace,
  valueProofLength,
} from "../../packages/redis/src/storage-keys/value-proof.ts";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  installed,
  type OpenStore,
  openNewStore,
  openStore,
  patientOptions,
  testRoot,
} from "../support/redis-store.ts";
import { storageKeysOf } from "../support/stored-value.ts";

const formatsEveryMs = 200;
const cursor = { replicationId: "b b1", number: 7 };
const { head } = partitionKeys(sysPartition);
const cursorsOf = (partition: number) => partitionKeys(partition).cursors;

let redis: RedisServer;
let opened: OpenStore;
let epoch: number;
/** How many events there were before a test. */
let eventsBefore: number;
/** Another region's Redis, whose store has the same content. */
let elsewhere: RedisServer;

beforeAll(async () => {
  [redis, elsewhere] = await Promise.all([RedisServer.start(), RedisServer.start()]);
  opened = await openNewStore({ address: redis.address, ...patientOptions, formatsEveryMs });
  epoch = await opened.store.newEpoch();
  await using other = await openNewStore({ address: elsewhere.address, ...patientOptions });
  await other.store.newEpoch();
  await other.store.setCursor(3, "b", cursor, epoch);
  await other.store.setLevel(await other.store.requestResync(), epoch);
});
beforeEach(() => {
  eventsBefore = opened.events.length;
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
  await elsewhere?.[Symbol.asyncDispose]();
});

async function field({ key, field }: ValuePlace, of = redis): Promise<Buffer> {
  return (await of.buffers("hget", key, field)) as unknown as Buffer;
}

function nameOf({ key, field }: ValuePlace): string {
  return `${key} ${field}`;
}

/** The events of this test that say that the value at this place does not prove itself. */
function told(place: ValuePlace, events = opened.events.slice(eventsBefore)) {
  return events.filter((event) => event.type === "unprovenValue" && event.place === nameOf(place));
}

function flipped(value: Buffer): Buffer {
  const copy = Buffer.from(value);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return copy;
}

describe("a cursor", () => {
  const place = { key: cursorsOf(3), field: "b" };
  const kept = () => opened.store.cursor(3, "b");

  test.each([
    ["altered", async () => flipped(await field(place))],
    ["without a proof", async () => Buffer.from("9 b b1")],
    [
      "of another region",
      async () => {
        await opened.store.setCursor(3, "c", { ...cursor, number: 9 }, epoch);
        return field({ ...place, field: "c" });
      },
    ],
    [
      "of another partition",
      async () => {
        await opened.store.setCursor(4, "b", { ...cursor, number: 9 }, epoch);
        return field({ ...place, key: cursorsOf(4) });
      },
    ],
    ["of another store", () => field(place, elsewhere)],
  ])("%s counts as absent, and is reported once", async (_, forge) => {
    await opened.store.setCursor(3, "b", cursor, epoch);
    expect(await kept()).toEqual(cursor);
    await redis.command("hset", place.key, place.field, await forge());
    expect(await kept()).toBeUndefined();
    expect(await kept()).toBeUndefined();
    expect(told(place)).toEqual([{ type: "unprovenValue", place: nameOf(place) }]);
    expect(opened.store.unprovenValues()).toEqual(["{p03}:cursors b"]);
    await opened.store.setCursor(3, "b", cursor, epoch);
    expect(await kept()).toEqual(cursor);
    expect(opened.store.unprovenValues()).toEqual([]);
  });

  test("under an earlier storage key counts while the store has that key, and no longer", async () => {
    await using server = await RedisServer.start();
    const options = { address: server.address, ...patientOptions };
    await using first = await openNewStore(options);
    await first.store.setCursor(3, "b", cursor, await first.store.newEpoch());
    const name = { storeId: first.store.storeId ?? "", region: "a", number: 2 };
    const secret = Buffer.alloc(32, 2);
    const key = deriveStorageKey(secret, name);
    const before = (await storageKeysOf(server, testRoot)).newest;
    const entry = writeKeyEntry(await wrapStorageKey(secret, name, testRoot, before));
    await server.command("hset", sysKeys.keys, "2", entry, "note", writeKeyNote(key, 5));
    await using renewed = await openStore(options);
    expect(await renewed.store.cursor(3, "b")).toEqual(cursor);
    await renewed.store.setCursor(4, "b", cursor, 1);
    await server.command("hset", sysKeys.keys, "note", writeKeyNote(key, 6));
    await using later = await openStore(options);
    expect(await later.store.cursor(3, "b")).toBeUndefined();
    expect(told(place, [...later.events])).toHaveLength(1);
    expect(await later.store.cursor(4, "b")).toEqual(cursor);
  });
});

describe("the level", () => {
  const place = { key: sysKeys.levels, field: "reached" };

  test.each([
    ["raised", ["reached", "9"]],
    ["no number", ["reached", "x"]],
    ["without its proof", ["reachedProof", ""]],
  ])("%s counts as not reached, until a resync is done again", async (_, forged) => {
    const { store } = opened;
    const asked = await store.requestResync();
    await store.setLevel(asked, epoch);
    expect(await store.levels()).toMatchObject({ asked, reached: asked });
    await redis.command("hset", place.key, ...forged);
    expect(await store.levels()).toMatchObject({ asked, reached: 0 });
    expect(told(place)).toEqual([{ type: "unprovenValue", place: nameOf(place) }]);
    await store.setLevel(asked, epoch);
    expect(await store.levels()).toMatchObject({ asked, reached: asked });
    expect(store.unprovenValues()).toEqual([]);
  });

  test("of another store counts as not reached", async () => {
    const { store } = opened;
    await store.setLevel(await store.requestResync(), epoch);
    for (const name of ["reached", "reachedProof"]) {
      const value = await field({ ...place, field: name }, elsewhere);
      await redis.command("hset", place.key, name, value);
    }
    expect((await store.levels()).reached).toBe(0);
  });

  test("is asked for above what was reached, although somebody set back what was asked", async () => {
    const { store } = opened;
    const reached = await store.requestResync();
    await store.setLevel(reached, epoch);
    await redis.command("hset", place.key, "asked", "0");
    expect(await store.requestResync()).toBe(reached + 1);
    await redis.command("hset", place.key, "asked", "0");
    await store.loseLevel();
    const next = reached + 1;
    expect(await store.levels()).toEqual({ asked: next, reached, lost: next });
  });
});

describe("the required format", () => {
  const place = { key: sysKeys.formats, field: "required" };
  const required = async () => String(await redis.command("hget", place.key, place.field));

  test.each([
    ["raised", ["required", "9"]],
    ["lowered", ["required", "1"]],
    ["without its proof", ["requiredProof", ""]],
  ])("%s stops no node, is reported, and is replaced", async (_, forged) => {
    const { store } = opened;
    const instance = await installed(store);
    const before = await required();
    await redis.command("hset", place.key, ...forged);
    await create(store, instance);
    await using next = await openStore({
      address: redis.address,
      ...patientOptions,
      formatsEveryMs,
    });
    await until("it is replaced", async () => (await required()) === before);
    await until("both nodes know it", () =>
      [store, next.store].every((each) => each.unprovenValues().length === 0),
    );
    await create(next.store, instance);
    await create(store, instance);
    expect([...told(place), ...told(place, [...next.events])].length).toBeGreaterThan(0);
    expect(store.state()).toBe("full");
  });
});

describe("the position of a sink", () => {
  const point = { number: 9, hash: new Uint8Array(32).fill(7) };
  const set = (sink: string, partition: number) =>
    opened.store.audit.setSinkPoints(sink, new Map([[partition, point]]), epoch);

  test("altered, of another sink or of another partition is none, and reported", async () => {
    const { audit } = opened.store;
    for (const [sink, partition] of [
      ["file", 2],
      ["file", 5],
      ["syslog", 2],
    ] as const) {
      await set(sink, partition);
    }
    const place = { key: sysKeys.auditSinks, field: "file/2" };
    const own = await field(place);
    const forged = [
      flipped(own),
      await field({ ...place, field: "file/5" }),
      await field({ ...place, field: "syslog/2" }),
    ];
    for (const [at, value] of forged.entries()) {
      await redis.command("hset", place.key, place.field, value);
      expect([...(await audit.sinkPoints("file")).keys()]).toEqual([5]);
      expect(told(place)).toHaveLength(at + 1);
    }
    await redis.command("hset", place.key, place.field, own);
    expect((await audit.sinkPoints("file")).get(2)?.number).toBe(9);
  });
});

test("a point of the audit chain that does not prove itself is reported once", async () => {
  const { store } = opened;
  const { audit } = store;
  const made: ChainPoint = { number: 1, bytes: 10, timeMs: 5, hash: new Uint8Array(32).fill(3) };
  const faults = () =>
    opened.events.slice(eventsBefore).flatMap((each) => (each.type === "auditFault" ? [each] : []));
  for (const partition of [0, 1]) {
    const start = (await audit.standings())[partition]?.head;
    if (start === undefined) throw new Error("no standing");
    expect(await audit.extend(partition, start, [made], epoch)).toBe(true);
  }
  expect((await audit.standings())[0]?.head).toEqual(made);
  expect(faults()).toEqual([]);
  const chain = partitionKeys(0).chain;
  const other = await field({ key: partitionKeys(1).chain, field: "head" });
  const own = await field({ key: chain, field: "head" });
  for (const [at, value] of [other, flipped(own)].entries()) {
    await redis.command("hset", chain, "head", value);
    for (let times = 0; times < 2; times += 1) await audit.standings();
    expect(faults()).toHaveLength(at + 1);
    expect(faults()[at]).toMatchObject({ partition: 0 });
    expect(faults()[at]?.reason).toContain("point head of the chain does not prove itself");
  }
  // A release that knew no proofs wrote it.
  await redis.command("hset", chain, "head", own.subarray(0, -valueProofLength));
  expect((await audit.standings())[0]?.head).toEqual(made);
  expect(faults()).toHaveLength(3);
  await redis.command("hset", chain, "256", own, "head", own);
  await audit.standings();
  expect(await audit.points(0, [256])).toHaveLength(1);
  expect(faults().at(-1)?.reason).toContain("point 256 of the chain");
  expect(store.unprovenValues()).toEqual([`${chain} 256`]);
});

test.each([
  ["set-cursor", [head, sysKeys.epoch, cursorsOf(sysPartition)], ["b", "7 r"]],
  ["set-level", [head, sysKeys.epoch, sysKeys.levels], ["999", "", ""]],
  ["require-format", [head, sysKeys.epoch, sysKeys.formats], ["1", "", "2", "60000"]],
  ["set-audit-sink", [head, sysKeys.epoch, sysKeys.auditSinks], ["file/1", "x"]],
  ["ask-level", [head, sysKeys.levels], ["1", "0"]],
  ["note-covered", [head], ["999"]],
  [
    "audit-chain",
    [head, ...["counters", "epoch", "audit-chain", "audit", "shares"].map((of) => `{sys}:${of}`)],
    ["", "", "1", "head", "x"],
  ],
] as const)("%s of a session of another store writes nothing", async (name, keys, args) => {
  const { source } = loadScripts()[name];
  // No node is open on this store, so only the script can change it.
  const kept = () =>
    Promise.all([keys.at(-1) ?? "", sysKeys.epoch].map((key) => elsewhere.command("dump", key)));
  const before = await kept();
  const ofStore = Buffer.alloc(16);
  const fence = keys.length > 2 ? ["999", ofStore] : [ofStore];
  const answer = await elsewhere.command("eval", source, keys.length, ...keys, ...fence, ...args);
  expect(answer).toEqual(["notInitialised"]);
  expect(await kept()).toEqual(before);
});

test("a store that is made has a proven format", async () => {
  const { newest } = await storageKeysOf(elsewhere);
  const place = { key: sysKeys.formats, field: "required" };
  const proof = proveValue(newest, place, await field(place, elsewhere));
  expect(proof.equals(await field({ ...place, field: "requiredProof" }, elsewhere))).toBe(true);
});
