import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RootOfTrustError, StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { DiskMemoryFile, loadScripts } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readRecordHeader } from "../../packages/redis/src/connection/record-header.ts";
import { wrapStorageKey } from "../../packages/redis/src/records/key-wraps.ts";
import { writeKeyEntry } from "../../packages/redis/src/storage-keys/key-entry.ts";
import { writeKeyNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import { deriveStorageKey } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  type OpenOptions,
  type OpenStore,
  openStore,
  patientOptions,
  recordOf,
  systemIds,
} from "../support/redis-store.ts";
import { storageKeysOf } from "../support/stored-value.ts";

const keysAt = "{sys}:keys";
const corrupt = { failure: "corrupt" };

let redis: RedisServer;
let root: MemoryRootOfTrust;

beforeAll(async () => {
  redis = await RedisServer.start();
});

beforeEach(async () => {
  await redis.command("flushall");
  root = new MemoryRootOfTrust(systemIds, "first");
  await initStore({ address: redis.address, root });
});

afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
});

/** With it no node counts as silent, also if a busy machine gives it nothing for a while: nobody goes on without it. */
const neverSilentMs = 30_000;

/** A node of the store, which tells the others often which keys it follows. */
function node(options: Partial<OpenOptions> = {}): Promise<OpenStore> {
  const { address } = redis;
  const processName = randomUUID();
  const often = { formatsEveryMs: 200, markerMs: 250 };
  return openStore({ address, root, ...patientOptions, ...often, processName, ...options });
}

const always = () => true;
const begin = ({ store }: OpenStore) => store.rotateStorageKey(root, systemIds.randomBytes);

/** Begins a rotation, and waits until the leader follows it. */
async function begun(leader: OpenStore, number = 2): Promise<void> {
  expect(await begin(leader)).toBe(number);
  await follows(leader, number - 1, "opening");
}

/** Continues a rotation as the leader does, until it has ended, or for so many runs. */
async function rotate(leader: OpenStore, runs = Number.POSITIVE_INFINITY): Promise<void> {
  let ran = 0;
  await until("the rotation has ended", async () => {
    // The leader of a busy machine may be without its store for a moment.
    const { isUnderWay } = await leader.store.continueRotation(always).catch(busy);
    ran += 1;
    return !isUnderWay || ran >= runs;
  });
}

function busy(error: unknown): { readonly isUnderWay: true } {
  if (error instanceof StoreUnavailable && error.failure === "noLease") return { isUnderWay: true };
  throw error;
}

/** The root of trust, and what closes and opens it for one node only. */
function closingRoot() {
  let isClosed = false;
  const closing = {
    describe: () => root.describe(),
    unwrap: async (...given: Parameters<typeof root.unwrap>) => {
      if (isClosed) throw new RootOfTrustError("unavailable", "as the test said");
      return await root.unwrap(...given);
    },
  };
  const close = (closes: boolean): void => {
    isClosed = closes;
  };
  return { closing, close };
}

/** Waits until a node follows a step: number for new values, and what a rotation does. */
async function follows({ store }: OpenStore, number: number, rotation?: string): Promise<void> {
  await until(`a node follows ${number} ${rotation}`, async () => {
    const state = await store.storageKeyState();
    return state.number === number && state.rotation === rotation;
  });
}

/** The number of the storage key that made a record. */
async function numberOf(instance: string, id: string): Promise<number | undefined> {
  return readRecordHeader((await recordOf(redis, instance, id)).value)?.keyNumber;
}

/** Makes objects in new instances. */
async function filled({ store }: OpenStore, instances = 3, each = 3) {
  const made: { readonly instance: string; readonly id: string }[] = [];
  for (let n = 0; n < instances; n += 1) {
    const instance = await installed(store);
    for (let m = 0; m < each; m += 1) {
      made.push({ instance, id: (await create(store, instance)).uniqueIdentifier });
    }
  }
  return made;
}

/** What no rotation may cause. */
function troubles(...nodes: readonly OpenStore[]): readonly unknown[] {
  const types = new Set(["warning", "unprovenValue", "olderRecord", "storageKeyPutBack"]);
  return nodes.flatMap(({ events }) => events.filter(({ type }) => types.has(type)));
}

const note = () => redis.command("hget", keysAt, "note");
/** What a Redis has in `{sys}:keys`, to put it back later. */
const keysNow = async () => (await redis.command("hgetall", keysAt)) as Record<string, string>;
const putBack = async (fields: Readonly<Record<string, string>>) => {
  await redis.command("del", keysAt);
  await redis.command("hset", keysAt, ...Object.entries(fields).flat());
};

test("a rotation brings everything under the new key while other nodes write, and the old one ends", async () => {
  await using leader = await node({ formatsEveryMs: neverSilentMs });
  await using other = await node({ formatsEveryMs: neverSilentMs });
  const made = await filled(other);
  const [first] = made;
  if (first === undefined) throw new Error("nothing was made");
  const old = await recordOf(redis, first.instance, first.id);
  const epoch = await leader.store.newEpoch();
  const cursor = { number: 7, replicationId: "of another region" };
  await leader.store.setCursor(3, "b", cursor, epoch);
  const asked = await leader.store.requestResync();
  await leader.store.setLevel(asked, epoch);
  const point = { number: 5, hash: Buffer.alloc(32, 9) };
  await leader.store.audit.setSinkPoints("s", new Map([[2, point]]), epoch);
  await leader.store.accept(first.id);
  const oldCursor = await redis.buffers("hget", "{p03}:cursors", "b");

  await begun(leader);
  expect(await begin(leader)).toBeUndefined();
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const { instance, id } = made[n % made.length] ?? first;
      await other.store.read(instance, [id]).catch(busy);
      if (made.length < 200) {
        const one = await create(other.store, instance).catch(busy);
        if ("uniqueIdentifier" in one) made.push({ instance, id: one.uniqueIdentifier });
      }
    }
  })();
  await rotate(leader);
  isOver = true;
  await writing;
  await follows(other, 2);

  for (const { instance, id } of made) {
    expect(await numberOf(instance, id)).toBe(2);
    const [found] = await other.store.read(instance, [id]);
    expect(found?.object.uniqueIdentifier).toBe(id);
  }
  // An order of `store accept` is one of the values: its proof begins with the number of the key.
  const order = String(await redis.command("hget", "{sys}:local", "accepted"));
  expect(Buffer.from(order, "base64").subarray(-18).readUInt16BE()).toBe(2);
  for (const { store } of [leader, other]) {
    expect(await store.cursor(3, "b")).toEqual(cursor);
    expect((await store.levels()).reached).toBe(asked);
    expect((await store.audit.sinkPoints("s")).get(2)).toEqual(point);
    expect(store.unprovenValues()).toEqual([]);
  }
  expect(troubles(leader, other)).toEqual([]);

  // A script of a node that was paused all the time, with a proof by the older key, writes nothing.
  const stamp = Buffer.from(`${leader.store.storeId}0001`, "hex");
  const { "set-cursor": setCursor } = loadScripts();
  const sha = String(await redis.command("script", "load", setCursor.source));
  const at = ["{p03}:head", "{sys}:epoch", "{p03}:cursors"];
  const late = [...at, String(epoch), stamp, "b", oldCursor as unknown as Buffer] as const;
  expect(await redis.command("evalsha", sha, 3, ...late)).toEqual(["notInitialised"]);

  // What the ended key has proven is refused when it appears later, as what is forged.
  await redis.command("set", old.key, old.value);
  await redis.command("hset", "{p03}:cursors", "b", oldCursor as unknown as Buffer);
  await using fresh = await node();
  await follows(fresh, 2);
  for (const { store } of [other, fresh]) {
    await expect(store.read(first.instance, [first.id])).rejects.toMatchObject(corrupt);
    expect(await store.cursor(3, "b")).toBeUndefined();
  }
});

test("a record that the index of changes lacks comes under the new key too", async () => {
  await using leader = await node();
  const [first] = await filled(leader, 1, 2);
  if (first === undefined) throw new Error("nothing was made");
  const { key } = await recordOf(redis, first.instance, first.id);
  const prefix = key.toString("latin1", 0, key.indexOf(":") + 1);
  await begun(leader);
  await rotate(leader, 2);
  // What somebody who writes to Redis hides during the pass, he could show again after the end.
  await redis.command("del", `${prefix}changes`, `${prefix}changes:0`);
  await redis.command("hset", `${prefix}counters`, "change", "0");
  expect(await numberOf(first.instance, first.id)).toBe(1);
  await rotate(leader);
  expect(await numberOf(first.instance, first.id)).toBe(2);
});

test("another leader continues a rotation that ended after any step", async () => {
  await using first = await node();
  const made = await filled(first, 3, 100);
  await begun(first);
  // The leaders end at the first page of records, at the second, and so on.
  let ends = 0;
  await until("the rotation has ended", async () => {
    await using leader = await node();
    let pages = 0;
    const isActive = () => {
      pages += 1;
      return pages <= ends;
    };
    const { isUnderWay } = await leader.store.continueRotation(isActive).catch(busy);
    // While a leader waits for other nodes, it asks for no page.
    if (pages > ends) ends += 1;
    return !isUnderWay;
  });
  expect(ends).toBeGreaterThan(3);
  await follows(first, 2);
  for (const { instance, id } of made) {
    expect(await numberOf(instance, id)).toBe(2);
    expect((await first.store.read(instance, [id]))[0]?.object.uniqueIdentifier).toBe(id);
  }
  // The next one begins where this one ended.
  await begun(first, 3);
  await rotate(first);
  expect(troubles(first)).toEqual([]);
});

test("a rotation waits for a node whose root of trust is closed, which serves meanwhile", async () => {
  await using leader = await node({ formatsEveryMs: neverSilentMs });
  const { closing, close } = closingRoot();
  await using other = await node({ root: closing, formatsEveryMs: neverSilentMs });
  const [first] = await filled(other);
  if (first === undefined) throw new Error("nothing was made");
  await follows(other, 1);
  close(true);
  await begun(leader);
  const told = () =>
    other.events.flatMap((event) => (event.type === "storageKey" ? [event.state] : []));
  await until("the node says that it cannot open the key", async () => told().includes("closed"));
  for (let n = 0; n < 5; n += 1) await leader.store.continueRotation(always).catch(busy);
  expect(String(await note())).toMatch(/^4 /);
  await create(other.store, first.instance);
  expect(await other.store.read(first.instance, [first.id])).toHaveLength(1);
  close(false);
  await rotate(leader);
  await follows(other, 2);
  expect(told().at(-1)).toBe("open");
});

test("a root of trust that is closed when a key is made changes nothing", async () => {
  await using leader = await node();
  await follows(leader, 1);
  const before = await keysNow();
  root.fail("unavailable");
  await expect(begin(leader)).rejects.toMatchObject({ failure: "keyClosed" });
  root.fail(undefined);
  expect(await keysNow()).toEqual(before);
});

test("no key is wrapped with another root key than the one before it", async () => {
  await using leader = await node();
  await follows(leader, 1);
  const before = await keysNow();
  const other = new MemoryRootOfTrust(systemIds, "second");
  await expect(leader.store.rotateStorageKey(other, systemIds.randomBytes)).rejects.toMatchObject({
    failure: "unsafe",
    message: expect.stringContaining(
      'is under root key "first", and this node is configured with "second"',
    ),
  });
  expect(await keysNow()).toEqual(before);
});

test("a user of Redis that may not call SCAN is told so, and nothing has changed", async () => {
  await using leader = await node();
  await follows(leader, 1);
  const before = await keysNow();
  await redis.command("acl", "setuser", "default", "-scan");
  try {
    await expect(begin(leader)).rejects.toMatchObject({
      message: expect.stringContaining("users.acl"),
    });
  } finally {
    await redis.command("acl", "setuser", "default", "+scan");
  }
  expect(await keysNow()).toEqual(before);
});

test("a rotation ends while Redis is full", async () => {
  await using leader = await node();
  const made = await filled(leader);
  const instance = made[0]?.instance ?? "";
  await redis.command("config", "set", "maxmemory", "1");
  try {
    await expect(create(leader.store, instance)).rejects.toMatchObject({ failure: "full" });
    await begun(leader);
    await rotate(leader);
  } finally {
    await redis.command("config", "set", "maxmemory", "0");
  }
  for (const { id, ...one } of made) expect(await numberOf(one.instance, id)).toBe(2);
});

test("a node for which nobody waits opens the new key before it reads what was made with it", async () => {
  await using leader = await node();
  // It tells nobody which keys it follows, so it counts as silent at once.
  await using away = await node({ formatsEveryMs: 1_000_000 });
  const [first] = await filled(leader);
  if (first === undefined) throw new Error("nothing was made");
  await begun(leader);
  await rotate(leader);
  expect(await numberOf(first.instance, first.id)).toBe(2);
  await until("it reads", async () => {
    const read = await away.store.read(first.instance, [first.id]).catch((error: unknown) => error);
    // Never is the record taken for damaged.
    expect(read).not.toMatchObject(corrupt);
    return Array.isArray(read);
  });
  await follows(away, 2);
});

describe("what does not prove itself in {sys}:keys", () => {
  test("a key without a link, or a note by another key, is not followed, and is put back", async () => {
    await using leader = await node();
    const [first] = await filled(leader);
    if (first === undefined) throw new Error("nothing was made");
    await follows(leader, 1);
    const before = await keysNow();
    // Somebody who may wrap with the root key, and has not the store's key.
    const { storeId = "" } = leader.store;
    const secret = systemIds.randomBytes(32);
    const name = { storeId, region: "a", number: 2 };
    const entry = await wrapStorageKey(secret, name, root);
    const key = deriveStorageKey(secret, name);
    for (const step of [4, 5, 6]) {
      const forged = ["2", writeKeyEntry(entry), "note", writeKeyNote(key, step)] as const;
      await redis.command("hset", keysAt, ...forged);
      await until("the store serves", async () => {
        await create(leader.store, first.instance).catch(() => undefined);
        return leader.store.state() === "full";
      });
      await until("the note is put back", async () => {
        await leader.store.rewrapStorageKeys(root).catch(() => undefined);
        return (await note()) === before["note"];
      });
      const state = await leader.store.storageKeyState();
      expect(state).toMatchObject({ number: 1, rotation: undefined });
    }
    // A rotation does not take that key either.
    await begun(leader);
    await rotate(leader);
    await follows(leader, 2);
    expect(JSON.parse((await keysNow())["2"] ?? "{}")).not.toMatchObject({
      check: Buffer.from(entry.check).toString("hex"),
    });
  });

  test("a link that was altered is put back at any step, and ends no rotation", async () => {
    await using leader = await node();
    await follows(leader, 1);
    const alter = async () => {
      const entry = JSON.parse((await keysNow())["2"] ?? "{}");
      await redis.command("hset", keysAt, "2", JSON.stringify({ ...entry, link: "" }));
      expect((await leader.store.storageKeyWraps()).faults).toHaveLength(1);
    };
    await begun(leader);
    const genuine = (await keysNow())["2"];
    await alter();
    await expect(node()).rejects.toMatchObject({ failure: "unsafe" });
    await leader.store.rewrapStorageKeys(root);
    expect((await keysNow())["2"]).toBe(genuine);
    await alter();
    await rotate(leader);
    await follows(leader, 2);
    await leader.store.rewrapStorageKeys(root);
    expect((await keysNow())["2"]).toBe(genuine);
    await using again = await node();
    await follows(again, 2);
  });

  test("a forged key with a forged note asks no root of trust, so that a closed one stops nobody", async () => {
    const { closing, close } = closingRoot();
    await using leader = await node({ root: closing });
    const [first] = await filled(leader, 1, 1);
    if (first === undefined) throw new Error("nothing was made");
    const name = { storeId: leader.store.storeId ?? "", region: "a", number: 2 };
    const secret = systemIds.randomBytes(32);
    const entry = writeKeyEntry(await wrapStorageKey(secret, name, root));
    const forged = writeKeyNote(deriveStorageKey(secret, name), 6);
    close(true);
    await redis.command("hset", keysAt, "2", entry, "note", forged);
    await until("the store serves with the forged note", async () => {
      await create(leader.store, first.instance).catch(() => undefined);
      return leader.store.state() === "full";
    });
    expect(await leader.store.read(first.instance, [first.id])).toHaveLength(1);
    expect(leader.events).not.toContainEqual(expect.objectContaining({ state: "closed" }));
  });

  test("a forged end, by who has the old key, does not end it", async () => {
    await using leader = await node();
    const [first] = await filled(leader);
    if (first === undefined) throw new Error("nothing was made");
    const old = await storageKeysOf(redis, root);
    await begun(leader);
    await rotate(leader, 2);
    await redis.command("hset", keysAt, "note", writeKeyNote(old.newest, 6));
    await until("the leader has seen it", async () => {
      await create(leader.store, first.instance);
      return (await leader.store.storageKeyState()).rotation !== undefined;
    });
    expect(await leader.store.read(first.instance, [first.id])).toHaveLength(1);
    await leader.store.rewrapStorageKeys(root);
    await rotate(leader);
    expect(await numberOf(first.instance, first.id)).toBe(2);
  });

  test("an older note is put back by nodes that run, and refused by one that remembers", async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-rotation-"));
    const memory = { ...systemIds, file: new DiskMemoryFile(join(folder, "a1")), node: "a1", root };
    try {
      await using leader = await node();
      const before = await keysNow();
      {
        await using remembering = await node({ memory });
        await begun(leader);
        await rotate(leader);
        await follows(remembering, 2);
      }
      const after = await keysNow();
      await putBack(before);
      const reopened = () =>
        node({ memory: { ...memory, file: new DiskMemoryFile(join(folder, "a1")) } });
      await expect(reopened()).rejects.toMatchObject({
        failure: "unsafe",
        message: expect.stringContaining("{sys}:keys is older than it was"),
      });
      // The old note beside the new key.
      await putBack({ ...after, note: before["note"] ?? "" });
      await expect(reopened()).rejects.toMatchObject({ failure: "unsafe" });
      expect((await leader.store.storageKeyWraps()).faults).toHaveLength(1);
      expect(await leader.store.rewrapStorageKeys(root)).toMatchObject({ restored: 1 });
      expect(await keysNow()).toEqual(after);
      await using again = await reopened();
      await follows(again, 2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.each([
    ["note", "does not say which storage keys count"],
    ["1", "storage key 1 is missing"],
  ])(
    "without the field %s a node that starts refuses the store, and the leader puts it back",
    async (field, why) => {
      await using leader = await node();
      await follows(leader, 1);
      await redis.command("hset", keysAt, "x", "not a key");
      await redis.command("hdel", keysAt, field);
      await expect(node()).rejects.toMatchObject({
        failure: "unsafe",
        message: expect.stringContaining(why),
      });
      expect(await leader.store.rewrapStorageKeys(root)).toMatchObject({ restored: 1 });
      await using again = await node();
      expect(again.store.state()).toBe("full");
    },
  );
});
