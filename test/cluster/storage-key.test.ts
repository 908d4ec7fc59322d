import { hkdfSync, randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { initialiseStore, loadScripts, nodeTimers, type StoreTimers } from "@holdfast/redis";
import { answerOf, until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { wrapStorageKey } from "../../packages/redis/src/records/key-wraps.ts";
import { keysMax, writeKeyEntry } from "../../packages/redis/src/storage-keys/key-entry.ts";
import { writeKeyNote } from "../../packages/redis/src/storage-keys/key-note.ts";
import { deriveStorageKey } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { RedisServer, sentinelName, startGroup } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  openNewStore,
  openStore,
  patientOptions,
  recordOf,
  systemIds,
} from "../support/redis-store.ts";

const keysAt = "{sys}:keys";
const closed = { failure: "keyClosed" };
const unsafe = { failure: "unsafe" };

let redis: RedisServer;
let root: MemoryRootOfTrust;

beforeAll(async () => {
  redis = await RedisServer.start();
});

beforeEach(async () => {
  await redis.command("flushall");
  root = new MemoryRootOfTrust(systemIds, "first");
});

afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
});

const at = () => ({ address: redis.address, root, ...patientOptions, markerMs: 250 });

/** Asks again while a busy machine keeps the store from a lease that is shorter than a fail-over. */
function served<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return answerOf("the store's answer", ask, (error) => error instanceof StoreUnavailable);
}

async function entryOf(server = redis): Promise<Record<string, string>> {
  return JSON.parse(String(await server.command("hget", keysAt, "1")));
}

describe("a root of trust that does not answer", () => {
  test("at `store init` leaves Redis empty", async () => {
    root.fail("unavailable");
    await expect(initStore(at())).rejects.toMatchObject(closed);
    expect(await redis.command("dbsize")).toBe(0);
    root.fail(undefined);
    expect(await initStore(at())).toMatchObject({ already: false });
  });

  test.each(["unavailable", "denied", "disabled", "gone"] as const)(
    "(%s) at a start is asked again, and the store serves when it answers",
    async (failure) => {
      await initStore(at());
      const before = await redis.command("hget", keysAt, "1");
      root.fail(failure);
      await expect(openStore(at())).rejects.toMatchObject(closed);
      await using opened = await openStore({ ...at(), leaseWaitMs: 500, openUnreachable: true });
      const { store, events } = opened;
      expect(store.state()).toBe("none");
      await expect(store.install("5a1ec0de-0000-4000-8000-000000000001")).rejects.toMatchObject({
        failure: "keyClosed",
        message: `the root of trust does not open storage key 1 (${failure}: as the test said)`,
      });
      // Nothing was repaired, and nothing else is said of the store.
      expect(await redis.command("hget", keysAt, "1")).toEqual(before);
      root.fail(undefined);
      await until("the store serves", () => store.state() === "full");
      const instance = await installed(store);
      await create(store, instance);
      const told = events.flatMap((event) => (event.type === "storageKey" ? [event.state] : []));
      expect(told).toEqual(["closed", "open"]);
    },
  );

  test("and hangs does not keep the store from closing", async () => {
    await initStore(at());
    root.fail("unavailable");
    let hung = 0;
    const hanging = {
      describe: () => root.describe(),
      unwrap: (...given: Parameters<typeof root.unwrap>) => {
        if (hung === 0) return root.unwrap(...given).catch(failedOnce);
        hung += 1;
        return new Promise<never>(() => undefined);
      },
    };
    const failedOnce = (error: unknown): never => {
      hung = 1;
      throw error;
    };
    // No call times out: only the end of the store ends it.
    const timers: StoreTimers = {
      ...nodeTimers,
      after: (ms, run, background) =>
        ms === 15_000 ? () => undefined : nodeTimers.after(ms, run, background),
    };
    const options = { ...at(), root: hanging, timers, openUnreachable: true };
    const opened = await openStore(options);
    await until("a call hangs", () => hung === 2);
    await opened[Symbol.asyncDispose]();
  });

  test("while the store is in use does not matter, nor at a fail-over", async () => {
    await using group = await startGroup({ replicas: 1, sentinels: 3, downAfterMs: 1_200 });
    const sentinels = group.sentinels.map(({ address }) => address);
    const options = { sentinels, name: sentinelName, root };
    await using opened = await openNewStore(options);
    const { store, events } = opened;
    root.fail("unavailable");
    const instance = await served(() => installed(store));
    const { uniqueIdentifier } = await served(() => create(store, instance));
    // The covered number is noted with the next marker.
    await until("it is covered everywhere", async () => {
      await served(() => store.read(instance, [uniqueIdentifier]));
      return store.state() === "full";
    });
    await group.primary.kill();
    await until("the promoted replica is read from", () => store.state() === "readOnly");
    await until("the object is read", async () => {
      const read = await store.read(instance, [uniqueIdentifier]).catch(() => []);
      return read[0] !== undefined;
    });
    // The control: a process that starts does need it.
    await expect(openStore(options)).rejects.toMatchObject(closed);
    await group.primary.restart();
    await until("full barriers", () => store.state() === "full");
    await served(() => create(store, instance));
    const told = events.filter(({ type }) => type === "storageKey");
    expect(told).toMatchObject([{ state: "open" }]);
  });
});

describe("a store is refused, and stays as it is,", () => {
  beforeEach(async () => {
    await initStore(at());
  });

  async function refused(pattern: RegExp, more = {}): Promise<void> {
    const before = await redis.command("hgetall", keysAt);
    const refusal = openStore({ ...at(), openUnreachable: true, ...more });
    await expect(refusal).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringMatching(pattern),
    });
    expect(await redis.command("hgetall", keysAt)).toEqual(before);
  }

  test("if another root key wrapped its key", async () => {
    const other = new MemoryRootOfTrust(systemIds, "second");
    await refused(
      /^the configured root key does not open storage key 1 of store [0-9a-f]{32}, which root key "first" wrapped: /,
      { root: other },
    );
  });

  test("if it has no key", async () => {
    await redis.command("del", keysAt);
    await refused(
      /which has no storage key: if an older release made it, run `backup create` with that release, then `store init`/,
    );
    await expect(initStore(at())).rejects.toMatchObject(unsafe);
  });

  test("if its key was made for another store", async () => {
    await using other = await RedisServer.start();
    await initStore({ address: other.address, root });
    const foreign = await entryOf(other);
    const { store } = await entryOf();
    await redis.command("hset", keysAt, "1", JSON.stringify(foreign));
    await refused(/storage key 1 in \{sys\}:keys is of store [0-9a-f]{32}, not of store/);
    // The wrap is bound to the other store, whatever is written beside it.
    await redis.command("hset", keysAt, "1", JSON.stringify({ ...foreign, store }));
    await refused(/storage key 1 in \{sys\}:keys is damaged, or the configured root key only has/);
  });

  test("if it is another region's, whatever {sys}:region says", async () => {
    await refused(/holds the store of region a, and this node is of region b/, { region: "b" });
    await redis.command("set", "{sys}:region", "b");
    await refused(/storage key 1 in \{sys\}:keys is damaged/, { region: "b" });
  });

  test("if its key opens to another check value", async () => {
    const entry = await entryOf();
    const check = "00".repeat(16);
    await redis.command("hset", keysAt, "1", JSON.stringify({ ...entry, check }));
    await refused(/storage key 1 in \{sys\}:keys is not the original key of this store/);
  });

  test.each(["", "{}", "[]", "null", '{"store":1}', "x".repeat(20_000)])(
    "if its entry is damaged (%#)",
    async (text) => {
      await redis.command("hset", keysAt, "1", text);
      await refused(/storage key 1 in \{sys\}:keys is damaged: docs\/storage-key/);
    },
  );
});

describe("a running node keeps its key, and the leader puts the entry back,", () => {
  const other = { root: "another", version: "1", wrap: "AAAA" };
  const damages: readonly [string, (entry: Record<string, string>) => Promise<unknown>][] = [
    ["if its entry was deleted", () => redis.command("hdel", keysAt, "1")],
    ["if its entry is garbage", () => redis.command("hset", keysAt, "1", "garbage")],
    ["if there is another check value", (entry) => put({ ...entry, check: "11".repeat(16) })],
    ["if it names another store", (entry) => put({ ...entry, store: "11".repeat(16) })],
    [
      "if its wrap was changed",
      (entry) => put({ ...entry, wrap: `${entry["wrap"]?.slice(0, -4)}AAAA` }),
    ],
    [
      "if all but the check value is another's",
      (entry) => put({ ...entry, ...other, root: "first" }),
    ],
  ];
  const put = (entry: object) => redis.command("hset", keysAt, "1", JSON.stringify(entry));

  test.each(damages)("%s", async (_, damage) => {
    await using opened = await openNewStore({ ...at(), leaseWaitMs: 100 });
    const { store, events } = opened;
    const entry = await entryOf();
    const sound = await store.storageKeyWraps();
    expect(sound).toMatchObject({ wraps: [{ number: 1 }], faults: [] });
    await damage(entry);
    // Whoever looks is told, since a node that starts has no key to compare it with.
    expect(await store.storageKeyWraps()).toEqual({
      wraps: sound.wraps,
      faults: [expect.stringMatching(/^storage key 1 (in|is missing in) \{sys\}:keys/)],
    });
    await expect(openStore(at())).rejects.toMatchObject(unsafe);
    await redis.restart();
    await until("the next session is open", () => store.state() === "full");
    await create(store, await installed(store));
    expect(await store.rewrapStorageKeys(root)).toEqual({ rewrapped: 0, restored: 1, left: 0 });
    expect(await entryOf()).toEqual(entry);
    expect(await store.storageKeyWraps()).toEqual(sound);
    expect(events).toContainEqual({ type: "storageKeyPutBack", number: 1 });
    await using again = await openStore(at());
    await create(again.store, await installed(again.store));
    expect(await store.rewrapStorageKeys(root)).toEqual({ rewrapped: 0, restored: 0, left: 0 });
  });

  test.each([
    ["a field that is not a storage key's", "x", "x"],
    ["an entry that is damaged", "2", "x"],
    ["an entry that does not open", "2", undefined],
  ])("whatever else is there: %s", async (_, field, text) => {
    await using opened = await openNewStore({ ...at(), leaseWaitMs: 100 });
    const { store, events } = opened;
    await redis.command("hset", keysAt, field, text ?? JSON.stringify(await entryOf()));
    // What a start refuses is told before it.
    const { faults } = await store.storageKeyWraps();
    const isRefused = await openStore(at()).then(
      async (again) => await again[Symbol.asyncDispose](),
      () => "refused",
    );
    expect(faults).toHaveLength(isRefused === undefined ? 0 : 1);
    await redis.restart();
    await until("the next session is open", () => store.state() === "full");
    await create(store, await installed(store));
    const told = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
    expect(told.join()).toMatch(/\{sys\}:keys (has a field that is not|is not one that counts)/);
  });

  test("but not one that nothing opens any more", async () => {
    await using opened = await openNewStore(at());
    await redis.command("del", keysAt);
    const lost = new MemoryRootOfTrust(systemIds, "first");
    await expect(opened.store.rewrapStorageKeys(lost)).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringMatching(/do not restart the region's nodes/),
    });
    expect(await redis.command("exists", keysAt)).toBe(0);
  });

  test("but not over the entry of a key that was moved to another root key", async () => {
    await using opened = await openNewStore(at());
    const next = new MemoryRootOfTrust(systemIds, "next");
    await using command = await openStore(at());
    expect(await command.store.rewrapStorageKeys(next)).toMatchObject({ rewrapped: 1 });
    const moved = await entryOf();
    await expect(opened.store.rewrapStorageKeys(root)).rejects.toMatchObject(unsafe);
    expect(await entryOf()).toEqual(moved);
  });
});

test("a field that is not a storage key's is ignored at a start, with a warning", async () => {
  await initStore(at());
  await redis.command("hset", keysAt, "x", "x");
  await using opened = await openStore(at());
  await create(opened.store, await installed(opened.store));
  expect(opened.events).toContainEqual({
    type: "warning",
    message: "{sys}:keys has a field that is not a storage key's",
  });
});

test("a wrap under an old version is wrapped again, whatever version its entry names", async () => {
  await using opened = await openNewStore(at());
  const entry = await entryOf();
  root.rotate();
  await redis.command("hset", keysAt, "1", JSON.stringify({ ...entry, version: "2" }));
  expect(await opened.store.rewrapStorageKeys(root)).toMatchObject({ rewrapped: 1 });
  expect((await entryOf())["wrap"]).not.toBe(entry["wrap"]);
  // The control: under the current version, only what the entry says is corrected.
  const current = await entryOf();
  await redis.command("hset", keysAt, "1", JSON.stringify({ ...current, version: "1" }));
  expect(await opened.store.rewrapStorageKeys(root)).toMatchObject({ rewrapped: 1 });
  expect(await entryOf()).toEqual(current);
});

describe("storage keys are wrapped again", () => {
  test("under the new version of their root key, and under another root key", async () => {
    await using opened = await openNewStore(at());
    const { store } = opened;
    const first = await entryOf();
    expect(await store.rewrapStorageKeys(root)).toEqual({ rewrapped: 0, restored: 0, left: 0 });
    root.rotate();
    expect(await store.rewrapStorageKeys(root)).toEqual({ rewrapped: 1, restored: 0, left: 0 });
    const second = await entryOf();
    expect(second).toEqual({ ...first, version: "2", wrap: second["wrap"] });
    expect(second["wrap"]).not.toBe(first["wrap"]);
    expect(await store.rewrapStorageKeys(root)).toEqual({ rewrapped: 0, restored: 0, left: 0 });
    await using again = await openStore(at());
    await create(again.store, await installed(again.store));

    const next = new MemoryRootOfTrust(systemIds, "next");
    expect(await store.rewrapStorageKeys(next)).toEqual({ rewrapped: 1, restored: 0, left: 0 });
    await expect(openStore(at())).rejects.toMatchObject(unsafe);
    await using moved = await openStore({ ...at(), root: next });
    await create(moved.store, await installed(moved.store));
    const third = await entryOf();
    expect(third).toEqual({ ...first, root: "next", version: "1", wrap: third["wrap"] });
  });

  test("and every node sees and keeps the new wrap, so that it can put that back when the old version is gone", async () => {
    await using opened = await openNewStore(at());
    await using other = await openStore(at());
    const first = { number: 1, rootOfTrust: "first", rootKeyVersion: "1" };
    const sound = (wraps: readonly object[]) => ({ wraps, faults: [] });
    expect(await other.store.storageKeyWraps()).toMatchObject(sound([first]));
    root.rotate();
    await opened.store.rewrapStorageKeys(root);
    const entry = await entryOf();
    const second = { ...first, rootKeyVersion: "2" };
    expect(await other.store.storageKeyWraps()).toMatchObject(sound([second]));
    // What an entry says of its version does not count, nor does one that is damaged.
    const hset = (text: string) => redis.command("hset", keysAt, "1", text);
    await hset(JSON.stringify({ ...entry, version: "7" }));
    expect(await opened.store.storageKeyWraps()).toMatchObject(sound([second]));
    await hset("garbage");
    expect(await other.store.storageKeyWraps()).toMatchObject({
      wraps: [second],
      faults: ["storage key 1 in {sys}:keys is damaged"],
    });
    root.forget("1");
    expect(await other.store.rewrapStorageKeys(root)).toMatchObject({ restored: 1 });
    expect(other.events).toContainEqual({ type: "storageKeyPutBack", number: 1 });
    expect(await entryOf()).toEqual(entry);
  });

  test("by one of two processes at a time", async () => {
    await using opened = await openNewStore(at());
    root.rotate();
    const both = await Promise.all([1, 2].map(() => opened.store.rewrapStorageKeys(root)));
    const sums = both.map(({ rewrapped, left }) => rewrapped + left);
    expect(both.map(({ rewrapped }) => rewrapped).toSorted()).toEqual([0, 1]);
    expect(sums.every((sum) => sum <= 1)).toBe(true);
    await using again = await openStore(at());
    expect(again.store.state()).not.toBe("none");
  });

  test("but not by a root of trust that does not answer, which changes nothing", async () => {
    await using opened = await openNewStore(at());
    const before = await entryOf();
    root.rotate();
    root.fail("unavailable");
    await expect(opened.store.rewrapStorageKeys(root)).rejects.toMatchObject(closed);
    expect(await entryOf()).toEqual(before);
  });
});

test("neither the storage key nor a key derived from it is in Redis or on its disk, and its bytes are zeroed", async () => {
  const given: Buffer[] = [];
  const secrets: Buffer[] = [];
  const ids = {
    randomBytes: (count: number) => {
      const made = randomBytes(count);
      if (count === 32) {
        given.push(made);
        secrets.push(Buffer.from(made));
      }
      return made;
    },
  };
  const { storeId } = await initialiseStore({ ...at(), region: "a", ids });
  await using opened = await openStore(at());
  await create(opened.store, await installed(opened.store));
  const [secret] = secrets;
  if (secret === undefined) throw new Error("no key was made");
  expect(given.map((made) => made.every((byte) => byte === 0))).toEqual([true]);
  const salt = Buffer.from(storeId, "hex");
  const keys = ["record", "value", "statement", "system"].map((purpose) => {
    const info = ["holdfast-storage-key-1", purpose, "a", "1"].join("\0");
    return Buffer.from(hkdfSync("sha256", secret, salt, info, 32));
  });
  const files = await readdir(redis.directory, { recursive: true, withFileTypes: true });
  const contents = await Promise.all(
    files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name))),
  );
  const all = Buffer.concat(contents);
  // The control: the entry itself is on the disk.
  expect(all.includes(Buffer.from((await entryOf())["wrap"] ?? ""))).toBe(true);
  for (const key of [secret, ...keys]) {
    const forms = [key, Buffer.from(key.toString("hex")), Buffer.from(key.toString("base64"))];
    expect(forms.some((form) => all.includes(form))).toBe(false);
  }
});

test("no rotation makes more keys than a node reads", async () => {
  const secret = systemIds.randomBytes(32);
  await initStore(at());
  const first = await openStore(at());
  const name = { storeId: first.store.storeId ?? "", region: "a", number: keysMax };
  const entry = writeKeyEntry(await wrapStorageKey(secret, name, root));
  const last = writeKeyNote(deriveStorageKey(secret, name), 3 * keysMax);
  await first[Symbol.asyncDispose]();
  await redis.command("del", keysAt);
  await redis.command("hset", keysAt, String(keysMax), entry, "note", last);
  await using leader = await openStore(at());
  const { store } = leader;
  await until("it follows", async () => (await store.storageKeyState()).rotation === undefined);
  const before = await redis.command("hgetall", keysAt);
  await expect(store.rotateStorageKey(root, systemIds.randomBytes)).rejects.toMatchObject({
    ...unsafe,
    message: expect.stringContaining("this store has had"),
  });
  expect(await redis.command("hgetall", keysAt)).toEqual(before);
});

test("a record that changed meanwhile keeps its own proof", async () => {
  await initStore(at());
  await using leader = await openStore(at());
  const instance = await installed(leader.store);
  const { uniqueIdentifier } = await create(leader.store, instance);
  const { key, value } = await recordOf(redis, instance, uniqueIdentifier);
  const { remac } = loadScripts();
  const sha = String(await redis.command("script", "load", remac.source));
  const { storeId = "" } = leader.store;
  const stale = Buffer.from(value.subarray(50, 74));
  stale[23] = (stale[23] ?? 0) ^ 1;
  const stamp = Buffer.from(storeId, "hex");
  const call = (digest: Buffer, proof: Buffer) => {
    const args = [stamp, digest, proof, Buffer.alloc(24, 7), ""] as const;
    return redis.command("evalsha", sha, 2, "{sys}:head", key, ...args);
  };
  expect(await call(value.subarray(0, 32), stale)).toEqual(["committed", 0, 0]);
  expect(await call(Buffer.alloc(32), value.subarray(50, 74))).toEqual(["committed", 0, 0]);
  expect((await recordOf(redis, instance, uniqueIdentifier)).value.equals(value)).toBe(true);
});

test("a change by a node that was away for a whole rotation is refused with the reason", async () => {
  await initStore(at());
  await using leader = await openStore({ ...at(), processName: "leader", formatsEveryMs: 200 });
  // It tells nobody which keys it follows, and asks the store for nothing.
  const silent = { formatsEveryMs: 1_000_000, markerMs: 1_000_000 };
  await using away = await openStore({ ...at(), ...silent, processName: "away" });
  const instance = await installed(leader.store);
  await served(() => leader.store.rotateStorageKey(root, systemIds.randomBytes));
  await until("the rotation has ended", async () => {
    const { rotation, number } = await served(() => leader.store.storageKeyState());
    if (rotation !== undefined) await served(() => leader.store.continueRotation(() => true));
    return rotation === undefined && number === 2;
  });
  const message = `Redis ${redis.address}: the storage key was rotated while this node was away; it opens the new one now: try again`;
  const refused = create(away.store, instance);
  await expect(refused).rejects.toMatchObject({ failure: "noLease", message });
  await served(() => create(away.store, instance));
});
