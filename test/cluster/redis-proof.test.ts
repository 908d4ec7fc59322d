import { randomUUID } from "node:crypto";
import {
  digestsOf,
  encodeRecord,
  type ManagedObject,
  partitionOf,
  recordKinds,
  sysPartition,
  systemInstance,
} from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { instanceKeys, partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import {
  headerAt,
  readRecordHeader,
  recordHeaderLength,
} from "../../packages/redis/src/connection/record-header.ts";
import { versionMax } from "../../packages/redis/src/proof/record-proof.ts";
import {
  deriveStorageKey,
  type StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  installed,
  type OpenStore,
  openNewStore,
  patientOptions,
  recordOf,
} from "../support/redis-store.ts";
import { commitAs, copyIn, recordIn, storageKeysOf, withRecord } from "../support/stored-value.ts";

const everything = { live: true, destroyed: true, limit: 100 };
const corrupt = { failure: "corrupt" };

let redis: RedisServer;
let opened: OpenStore;
let keys: StorageKeys;
let instance: string;

beforeAll(async () => {
  redis = await RedisServer.start();
  opened = await openNewStore({ address: redis.address, ...patientOptions });
  keys = await storageKeysOf(redis);
});
beforeEach(async () => {
  instance = await installed(opened.store);
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});

/** Expects that no way to read the store shows what is under this identifier. */
async function notBelieved(id: string, of = instance): Promise<void> {
  const { store } = opened;
  const partition = partitionOf(of);
  await expect(store.read(of, [id])).rejects.toMatchObject(corrupt);
  await expect(store.find(of, everything)).rejects.toMatchObject(corrupt);
  const pages = [
    await store.changes(partition, 0, 10_000, 1 << 28),
    await store.records(partition, [id]),
  ];
  for (const { objects, damaged } of pages) {
    expect(damaged).toContain(id);
    expect(objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).not.toContain(id);
  }
}

/** Counts a partition's records anew, and tells how many live ones an instance has. */
async function counted(of = instance): Promise<number> {
  const { store } = opened;
  for (let left = 1; left > 0; ) ({ left } = await store.recount(partitionOf(of)));
  const { months } = (await store.countsIn(partitionOf(of)))?.get(of) ?? { months: new Map() };
  return [...months.values()].reduce((sum, count) => sum + count, 0);
}

async function setRaw(of: ManagedObject | { readonly key: Buffer }, value: Buffer): Promise<void> {
  const { key } = "key" in of ? of : await recordOf(redis, of.instance, of.uniqueIdentifier);
  await redis.command("set", key, value);
}

function flipped(value: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(value);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at);
  return copy;
}

test.each([
  ["of an object", () => instance],
  ["of the system, which is sealed", () => systemInstance],
])(
  "a bit of a record %s that is another: it is not read, found, handed on or counted",
  async (_name, of) => {
    const { store } = opened;
    const { uniqueIdentifier: id } = await create(store, of());
    const { key, value } = await recordOf(redis, of(), id);
    expect(await store.read(of(), [id])).toHaveLength(1);
    const before = await counted(of());
    const local = (at: number) => at >= headerAt.promised && at < headerAt.version;
    const places = [...value.keys()].filter((at) => !local(at));
    // Each byte of the header, and some of the body.
    for (const at of places.filter((at) => at < recordHeaderLength || at % 29 === 0)) {
      await setRaw({ key }, flipped(value, at, at % 8));
      await notBelieved(id, of());
    }
    expect(await counted(of())).toBe(before - 1);
    await setRaw({ key }, value);
    expect((await store.read(of(), [id]))[0]?.object.uniqueIdentifier).toBe(id);
    expect(await counted(of())).toBe(before);
  },
);

describe("a genuine record is not believed", () => {
  test("under another identifier, also by Locate", async () => {
    const { store } = opened;
    const [one, other] = [await create(store, instance), await create(store, instance)];
    const { value } = await recordOf(redis, instance, one.uniqueIdentifier);
    const place = await recordOf(redis, instance, other.uniqueIdentifier);
    await setRaw(place, value);
    await notBelieved(other.uniqueIdentifier);
    await setRaw(place, place.value);
    // An identifier that no record has, added to the index that Locate walks.
    const added = randomUUID();
    const { prefix, record } = partitionKeys(partitionOf(instance));
    const id = Buffer.from(added.replaceAll("-", ""), "hex");
    await redis.command("set", Buffer.concat([Buffer.from(record), id]), value);
    const score = (readRecordHeader(value)?.created ?? 0) + 1_000_000;
    const block = Math.floor(score / 128);
    const { live } = instanceKeys(prefix, instance);
    await redis.command("zadd", `${live}:${block}`, score, id);
    await redis.command("zadd", live, block, String(block));
    await expect(store.find(instance, everything)).rejects.toMatchObject(corrupt);
    await redis.command("del", `${live}:${block}`);
    await redis.command("zrem", live, String(block));
  });

  test("in another partition", async () => {
    const { store } = opened;
    let neighbour = await installed(store);
    while (partitionOf(neighbour) === partitionOf(instance)) neighbour = await installed(store);
    const made = await create(store, instance);
    const id = made.uniqueIdentifier;
    await store.read(instance, [id]);
    const there = { ...made, instance: neighbour };
    await store.commit(neighbour, [{ kind: "create", after: there }], []);
    const { value } = await recordOf(redis, instance, id);
    await setRaw(there, value);
    await notBelieved(id, neighbour);
    expect((await store.read(instance, [id]))[0]?.object).toEqual(made);
  });

  test.each([0, 2, 65_535])(
    "with the number of a key that the store does not have: %i",
    async (number) => {
      const { uniqueIdentifier: id } = await create(opened.store, instance);
      const { key, value } = await recordOf(redis, instance, id);
      const secret = { storeId: keys.storeId, region: "a", number };
      const newest = deriveStorageKey(Buffer.alloc(32), secret);
      await setRaw({ key }, withRecord({ newest }, key, value, recordIn(keys, key, value)));
      await notBelieved(id);
      const renumbered = Buffer.from(value);
      renumbered.writeUInt16BE(number, headerAt.keyNumber);
      await setRaw({ key }, renumbered);
      await notBelieved(id);
    },
  );
});

test("a record that is committed with another key than the store's is not believed", async () => {
  const after = sampleObject(instance, randomUUID());
  const key = deriveStorageKey(Buffer.alloc(32, 7), {
    storeId: keys.storeId,
    region: "a",
    number: 1,
  });
  expect(await commitAs(key, redis, [{ kind: "create", after }])).toBe("committed");
  await notBelieved(after.uniqueIdentifier);
});

describe("the version of a record", () => {
  async function versionOf(id: string): Promise<number | undefined> {
    return readRecordHeader((await recordOf(redis, instance, id)).value)?.version;
  }

  async function update(id: string, lastChange: number, from?: ManagedObject) {
    const [before] = await opened.store.read(instance, [id]);
    if (before === undefined) throw new Error("not read");
    const change = {
      kind: "update",
      before: { ...before, object: from ?? before.object },
      after: { ...before.object, lastChange },
    } as const;
    expect((await opened.store.commit(instance, [change], [])).kind).toBe("committed");
    return { ...before, change };
  }

  test("grows with each change, whoever read the record, and not without one", async () => {
    const made = await create(opened.store, instance);
    const { uniqueIdentifier: id } = made;
    expect(await versionOf(id)).toBe(1);
    await update(id, 100);
    expect(await versionOf(id)).toBe(2);
    // As another region's node sends it: the store has not read this object.
    const [before] = await opened.store.read(instance, [id]);
    await update(id, 101, { ...(before?.object ?? made) });
    expect(await versionOf(id)).toBe(3);
    await update(id, 101);
    expect(await versionOf(id)).toBe(3);
    expect(readRecordHeader((await recordOf(redis, instance, id)).value)?.facts).toBe(0);
  });

  test("decides over a script that comes late, although the record is again as it was", async () => {
    const { uniqueIdentifier: id } = await create(opened.store, instance);
    await update(id, 100);
    const late = (await update(id, 101)).change;
    await update(id, 100);
    const is = (await recordOf(redis, instance, id)).value;
    expect(await commitAs(keys.newest, redis, [late], 3)).toBe("conflict");
    expect((await recordOf(redis, instance, id)).value).toEqual(is);
    expect(await commitAs(keys.newest, redis, [late], 5)).toBe("committed");
    expect((await opened.store.read(instance, [id]))[0]?.object.lastChange).toBe(101);
  });

  test("of a damaged record does not matter: the highest is repaired, and the record changes again", async () => {
    const { store } = opened;
    const made = await create(store, instance);
    const { uniqueIdentifier: id } = made;
    const [before] = await store.read(instance, [id]);
    if (before === undefined) throw new Error("not read");
    const { key, value } = await recordOf(redis, instance, id);
    const highest = Buffer.from(value);
    highest.writeUIntBE(versionMax, headerAt.version, 5);
    await setRaw({ key }, highest);
    await notBelieved(id);
    const after = { ...made, lastChange: 9 };
    const change = { kind: "update", before: { ...before, object: { ...made } }, after } as const;
    expect((await store.commit(instance, [change], [])).kind).toBe("conflict");
    expect(await store.markServed(instance, change.before, after)).toBe(false);
    await store.quarantine(instance, id, "altered", { replacement: made });
    expect((await store.read(instance, [id]))[0]?.object).toEqual(made);
    const counters = `${partitionKeys(partitionOf(instance)).prefix}counters`;
    expect(await versionOf(id)).toBe(Number(await redis.command("hget", counters, "change")));
    await update(id, 102);
    const partition = partitionOf(instance);
    const { leaves } = await store.leaves(partition, Buffer.alloc(32, 0xff), undefined);
    expect(Buffer.from(await store.digests(partition))).toEqual(Buffer.from(digestsOf(leaves)));
  });
});

test("system records cannot be read in Redis, except KEKs and regions", async () => {
  const { store } = opened;
  const made = Object.values(recordKinds).map(({ type: objectType }) => ({
    ...sampleObject(systemInstance, randomUUID()),
    objectType,
  }));
  const open: number[] = [];
  for (const after of made) {
    await store.commit(systemInstance, [{ kind: "create", after }], []);
    const { key, value } = await recordOf(redis, systemInstance, after.uniqueIdentifier);
    const record = recordIn(keys, key, value);
    if (value.includes(record)) open.push(after.objectType);
    else expect(value).toHaveLength(recordHeaderLength + record.length + 16);
    expect((await store.read(systemInstance, [after.uniqueIdentifier]))[0]?.object).toEqual(after);
  }
  expect(open).toEqual([recordKinds.Kek.type, recordKinds.Region.type]);
  const page = await store.changes(sysPartition, 0, 10_000, 1 << 28);
  const ids = made.map(({ uniqueIdentifier }) => uniqueIdentifier);
  expect(page.objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(
    expect.arrayContaining(ids),
  );
});

test("another region's copy of a system record is sealed in quarantine, too", async () => {
  const copy = Buffer.from(encodeRecord(sampleObject(systemInstance, randomUUID())));
  const id = randomUUID();
  await opened.store.quarantine(systemInstance, id, "differs", { copy });
  const field = Buffer.from(id.replaceAll("-", ""), "hex");
  const names = await redis.buffers("hkeys", "{sys}:quarantine");
  const name = names.find((one) => one.subarray(0, 16).equals(field)) ?? "";
  const aside = (await redis.buffers("hget", "{sys}:quarantine", name)) as unknown as Buffer;
  expect(aside.includes(copy)).toBe(false);
  const key = Buffer.concat([Buffer.from("{sys}:o:"), field]);
  const value = aside.subarray(aside.indexOf("\n") + 1);
  expect(copyIn(keys, key, value)).toEqual(copy);
  // In the place of the record it proves nothing: it was refused.
  await setRaw({ key }, value);
  await expect(opened.store.read(systemInstance, [id])).rejects.toMatchObject({
    failure: "corrupt",
  });
  await redis.command("del", key);
});

test("two regions' stores have equal digests of equal records, and other proofs", async () => {
  await using second = await RedisServer.start();
  await using there = await openNewStore({
    ...{ address: second.address, region: "b" },
    ...patientOptions,
  });
  await there.store.install(instance);
  const made = await create(opened.store, instance);
  const sealed = sampleObject(systemInstance, randomUUID());
  await opened.store.commit(systemInstance, [{ kind: "create", after: sealed }], []);
  for (const after of [made, sealed]) {
    await there.store.commit(after.instance, [{ kind: "create", after }], []);
    const [here, other] = await Promise.all(
      [redis, second].map((at) => recordOf(at, after.instance, after.uniqueIdentifier)),
    );
    if (here === undefined || other === undefined) throw new Error("two records");
    expect(other.value.subarray(0, 32)).toEqual(here.value.subarray(0, 32));
    expect(other.value.subarray(headerAt.mac)).not.toEqual(here.value.subarray(headerAt.mac));
    // A genuine record of the other region's store proves nothing here.
    await second.command("set", other.key, here.value);
    await expect(there.store.read(after.instance, [after.uniqueIdentifier])).rejects.toMatchObject(
      corrupt,
    );
    await second.command("set", other.key, other.value);
    const partition = partitionOf(after.instance);
    const leaf = async ({ store }: OpenStore) =>
      (await store.leaves(partition, Buffer.alloc(32, 0xff), undefined)).leaves.find(
        ({ uniqueIdentifier }) => uniqueIdentifier === after.uniqueIdentifier,
      );
    expect(await leaf(there)).toEqual(await leaf(opened));
  }
});
