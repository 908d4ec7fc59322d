import { hash, randomUUID } from "node:crypto";
import { digestsOf, partitionOf, type StoreState, sysPartition } from "@holdfast/engine";
import { nameItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import type { RedisStore } from "@holdfast/redis";
import { Relay, until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { recordHeaderLength } from "../../packages/redis/src/connection/record-header.ts";
import { RedisServer, startGroup } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  type OpenStore,
  openNewStore,
  openStore,
  patientOptions,
  recordOf,
  refusingOptions,
  retried,
} from "../support/redis-store.ts";

const everyLeaf = new Uint8Array(32).fill(255);

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    (answer) => `resolved: ${JSON.stringify(answer)}`,
    (error: { readonly failure?: string }) => error.failure ?? error,
  );
}

/** Expects a failure; asks again while a busy machine keeps the store from its lease. */
async function fails(call: () => Promise<unknown>, failure: string): Promise<void> {
  await until(failure, async () => {
    const found = await failureOf(call());
    if (found !== "noLease") expect(found).toBe(failure);
    return found === failure;
  });
}

async function inState(store: RedisStore, state: StoreState): Promise<void> {
  await until(`state ${state}`, () => store.state() === state);
}

/** What a store's listeners heard. */
function hearing(store: RedisStore): StoreState[] {
  const heard: StoreState[] = [];
  store.onState((state) => heard.push(state));
  return heard;
}

describe("a store", () => {
  test("counts under a new replication ID after a fail-over to a replica, and keeps its store ID", async () => {
    await using group = await startGroup({ replicas: 1 });
    await using opened = await openNewStore({ address: group.primary.address, ...patientOptions });
    const { store } = opened;
    const instance = await installed(store);
    await create(store, instance);
    const first = await store.position();
    const [replica] = group.replicas;
    if (replica === undefined) throw new Error("no replica");
    await replica.command("replicaof", "no", "one");
    await using promoted = await openStore({
      ...{ address: replica.address, replicas: 0 },
      ...patientOptions,
    });
    // The only known replica is this server itself, and no barrier waits for that.
    await inState(promoted.store, "full");
    const second = await promoted.store.position();
    expect(second.numbers).toEqual(first.numbers);
    expect(second.replicationId).not.toBe(first.replicationId);
    expect(promoted.store.storeId).toBe(store.storeId);
    const page = await promoted.store.changes(partitionOf(instance), 0, 10, 1_000);
    expect(page.replicationId).toBe(second.replicationId);
  });

  test("counts under a new replication ID after a restart too", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    await create(store, await installed(store));
    const before = await store.position();
    await redis.restart();
    await until("it answers again", async () => {
      const after = await store.position().catch(() => before);
      return after.replicationId !== before.replicationId;
    });
    expect((await store.position()).numbers).toEqual(before.numbers);
  });

  test("keeps reservations, cursors, levels and epochs after kill -9", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    const operation = randomUUID();
    await store.reserve(instance, [uniqueIdentifier], operation);
    const epoch = await store.newEpoch();
    const asked = await store.requestResync();
    await store.setLevel(asked, epoch);
    const cursor = { replicationId: "x", number: 7 };
    await store.setCursor(3, "b", cursor, epoch);
    await redis.restart();
    await until("it is read again", async () => {
      const [stored] = await store.read(instance, [uniqueIdentifier]).catch(() => []);
      return stored?.reserved === operation;
    });
    expect(await store.reservations()).toMatchObject([{ operation, ids: [uniqueIdentifier] }]);
    expect(await store.levels()).toEqual({ asked, reached: asked, lost: 0 });
    expect(await store.cursor(3, "b")).toEqual(cursor);
    expect(await store.newEpoch()).toBe(epoch + 1);
    expect(await failureOf(store.setLevel(asked, epoch))).toBe("deposed");
  });
});

describe("a frozen replica", () => {
  test("keeps a store from answering change numbers that a fail-over could take back", async () => {
    await using group = await startGroup({ replicas: 1 });
    const times = { storeLeaseMs: 4_000, commandTimeoutMs: 60_000 };
    await using opened = await openNewStore({ address: group.primary.address, ...times });
    const { store } = opened;
    const instance = await installed(store);
    await retried(() => create(store, instance));
    const partition = partitionOf(instance);
    const before = await retried(() => store.position());
    const number = before.numbers[partition] ?? 0;
    group.replicas[0]?.signal("SIGSTOP");
    const after = sampleObject(instance, randomUUID());
    let calls = 0;
    const written = () => {
      calls += 1;
    };
    const commit = () => store.commit(instance, [{ kind: "create", after }], [], { written });
    await fails(commit, "barrierShort");
    // The push to the other region had begun by then: the change may survive.
    expect(calls).toBe(1);
    await inState(store, "readOnly");
    for (const call of [
      () => store.position(),
      () => store.changes(partition, 0, 10, 1_000_000),
      () => store.digests(partition),
      () => store.leaves(partition, everyLeaf, undefined),
      () => store.records(partition, [after.uniqueIdentifier]),
      () => store.levels(),
    ]) {
      await fails(call, "barrierShort");
    }
    // Covered changes are answered all the same.
    const page = await retried(() => store.changes(partition, number - 1, 1, 1_000_000));
    expect(page).toMatchObject({ upTo: number, last: number + 1 });
    expect(page.objects).toHaveLength(1);
    for (const call of [
      () => store.reserve(instance, [after.uniqueIdentifier], "one"),
      () => store.release(instance, "one"),
      () => store.newEpoch(),
      () => store.requestResync(),
      () => store.loseLevel(),
      () => store.setLevel(1, 1),
      () => store.setCursor(0, "b", { replicationId: "x", number: 1 }, 1),
      () => store.quarantine(instance, after.uniqueIdentifier, "x", {}),
    ]) {
      expect(await failureOf(call())).toBe("noLease");
    }
    group.replicas[0]?.signal("SIGCONT");
    await inState(store, "full");
    expect((await retried(() => store.position())).numbers[partition]).toBe(number + 1);
    const whole = await retried(() => store.changes(partition, number, 10, 1_000_000));
    expect(whole.objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual([
      after.uniqueIdentifier,
    ]);
  });
});

test("reservations are bounded, and ending them makes room", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
  const { store } = opened;
  const instance = await installed(store);
  const ids = () => Array.from({ length: 10_000 }, () => randomUUID());
  await store.reserve(instance, ids(), "one");
  await store.reserve(instance, ids(), "two");
  expect(await failureOf(store.reserve(instance, [randomUUID()], "three"))).toBe("reserved");
  expect(await store.release(instance, "one")).toBe(10_000);
  expect(await store.reserve(instance, [randomUUID()], "three")).toEqual({ kind: "reserved" });
});

describe("with leaders at two nodes", () => {
  test("a leader that was paused makes no more writes of any kind", async () => {
    await using redis = await RedisServer.start();
    await using one = await openNewStore({ address: redis.address, ...refusingOptions });
    await using two = await openStore({ address: redis.address, ...refusingOptions });
    const instance = await installed(one.store);
    const { uniqueIdentifier } = await create(one.store, instance);
    await one.store.reserve(instance, [uniqueIdentifier], "operation");
    const old = await one.store.newEpoch();
    const epoch = await two.store.newEpoch();
    expect(epoch).toBeGreaterThan(old);
    const cursor = { replicationId: "x", number: 1 };
    for (const call of [
      () => one.store.setCursor(0, "b", cursor, old),
      () => one.store.setLevel(1, old),
      () => one.store.release(instance, "operation", old),
    ]) {
      expect(await failureOf(call())).toBe("deposed");
    }
    await two.store.setCursor(0, "b", cursor, epoch);
    expect(await one.store.cursor(0, "b")).toEqual(cursor);
    expect(await one.store.reservations()).toHaveLength(1);
    expect(await two.store.release(instance, "operation", epoch)).toBe(1);
  });
});

describe("with another store in the place of a lost one, and the data in another region", () => {
  test("FLUSHALL and init give a new ID, listeners hear of it, and the old epoch is refused", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({
      ...{ address: redis.address, ...refusingOptions },
      allowOtherStore: true,
    });
    const { store } = opened;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    const before = store.storeId;
    const { replicationId } = await store.position();
    for (let elections = 0; elections < 5; elections += 1) await store.newEpoch();
    const epoch = await store.newEpoch();
    const heard = hearing(store);
    await redis.command("flushall");
    await until("it is seen", () => store.state() === "none");
    expect(await failureOf(store.read(instance, [uniqueIdentifier]))).toBe("notInitialised");
    expect(store.storeId).toBe(before);
    const made = await initStore({ address: redis.address });
    await inState(store, "full");
    expect(store.storeId).toBe(made.storeId);
    expect(heard).toEqual(["none", "full"]);
    const position = await store.position();
    expect(position.replicationId).not.toBe(replicationId);
    expect(position.numbers.every((number) => number === 0)).toBe(true);
    const cursor = { replicationId: "x", number: 1 };
    expect(await failureOf(store.setCursor(0, "b", cursor, epoch))).toBe("deposed");
    const next = await store.newEpoch();
    await store.setCursor(0, "b", cursor, next);
    // What comes from the other region, before anybody has made the instance known here.
    const joined = { joined: true };
    const after = sampleObject(instance, uniqueIdentifier);
    expect(await store.commit(instance, [{ kind: "create", after }], [], joined)).toEqual({
      kind: "committed",
    });
    expect(await store.status(instance)).toBeUndefined();
    expect(await store.install(instance)).toBe("Installed");
  });

  test("a command for an earlier store changes nothing in the store that replaced it", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    await create(store, instance);
    const heads = "for _, key in ipairs(redis.call('KEYS', '*:head')) do";
    const rename = `${heads} redis.call('SETRANGE', key, 0, ARGV[1]) end`;
    await redis.command("eval", rename, "0", "0123456789abcdef");
    const size = await redis.command("dbsize");
    const refused = ["noLease", "notInitialised"];
    expect(refused).toContain(await failureOf(create(store, instance)));
    expect(await redis.command("dbsize")).toEqual(size);
  });

  test("a node starts beside an emptied Redis, and serves when it is initialised", async () => {
    await using redis = await RedisServer.start();
    const own = { address: redis.address, ...refusingOptions };
    const options = { ...own, openUnreachable: true, allowOtherStore: true };
    await using opened = await openStore(options);
    const { store } = opened;
    const heard = hearing(store);
    expect(store.state()).toBe("none");
    expect(store.storeId).toBeUndefined();
    expect(await failureOf(store.position())).toBe("notInitialised");
    await expect(openStore({ address: redis.address, ...refusingOptions })).rejects.toThrow(
      "holds no store",
    );
    await initStore({ address: redis.address });
    await inState(store, "full");
    expect(heard).toEqual(["full"]);
    expect((await store.position()).numbers).toHaveLength(sysPartition + 1);
  });

  test("a new store's change numbers have another replication ID", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({
      ...{ address: redis.address, ...refusingOptions },
      allowOtherStore: true,
    });
    const { store } = opened;
    const before = await store.position();
    await redis.restart({ empty: true });
    const made = await initStore({ address: redis.address });
    await until("it is taken", () => store.storeId === made.storeId && store.state() === "full");
    expect((await store.position()).replicationId).not.toBe(before.replicationId);
  });
});

describe("listeners", () => {
  test("hear when a lease lapses, and hear nothing after they are removed", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address });
    const { store } = opened;
    const heard = hearing(store);
    let calls = 0;
    const stop = store.onState(() => {
      calls += 1;
    });
    redis.signal("SIGSTOP");
    // The state is read from the clock, and listeners are called a moment later.
    await until("the lapse is heard", () => calls > 0 && heard.includes("none"));
    stop();
    const before = calls;
    redis.signal("SIGCONT");
    await until("the return is heard", () => heard.at(-1) === "full");
    expect(heard.slice(0, 2)).toEqual(["none", "full"]);
    expect(calls).toBe(before);
  });
});

describe("a record that is damaged, gone or of another type", () => {
  type Damage = (value: Buffer) => readonly [command: string, ...args: Buffer[]];
  const kinds: readonly (readonly [string, Damage])[] = [
    ["cut short", (value) => ["set", value.subarray(0, 20)]],
    ["its header overwritten", (value) => ["set", zeroed(value)]],
    ["another's bytes", (value) => ["set", Buffer.alloc(value.length, 1)]],
    ["empty", () => ["set", Buffer.alloc(0)]],
    ["gone", () => ["del"]],
    ["of another type", () => ["lpush", Buffer.from("x")]],
  ];

  test.each(kinds)("(%s) is replaced by a whole copy in every index", async (_name, damage) => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const partition = partitionOf(instance);
    const registers = [sampleRegister(nameItem("old"), 1)];
    const made = sampleObject(instance, randomUUID(), registers);
    await store.commit(instance, [{ kind: "create", after: made }], []);
    const other = await create(store, instance);
    const { uniqueIdentifier } = made;
    const { key, value } = await recordOf(redis, instance, uniqueIdentifier);
    await redis.command("del", key);
    const [command, ...rest] = damage(value);
    if (command !== "del") await redis.command(command, key, ...rest);
    const page = await store.changes(partition, 0, 10, 1_000_000);
    expect(page.damaged).toEqual([uniqueIdentifier]);
    expect(page.objects.map((object) => object.uniqueIdentifier)).toEqual([other.uniqueIdentifier]);
    const answer = await store.records(partition, [uniqueIdentifier, other.uniqueIdentifier]);
    expect(answer.damaged).toEqual(command === "del" ? [] : [uniqueIdentifier]);
    expect(answer.objects).toHaveLength(1);
    const replacement = { ...made, registers: [sampleRegister(nameItem("new"), 2)] };
    await store.quarantine(instance, uniqueIdentifier, "does not decode", { replacement });
    const [stored] = await store.read(instance, [uniqueIdentifier]);
    expect(stored?.object.registers).toEqual(replacement.registers);
    const found = await store.find(instance, { live: true, destroyed: true, limit: 10 });
    expect(found.objects.map(({ object }) => object.uniqueIdentifier)).toEqual([
      other.uniqueIdentifier,
      uniqueIdentifier,
    ]);
    const { leaves } = await store.leaves(partition, everyLeaf, undefined);
    expect(leaves).toHaveLength(2);
    const digests = Buffer.from(await store.digests(partition));
    expect(digests.equals(Buffer.from(digestsOf(leaves)))).toBe(true);
    const named = (name: string) =>
      sampleObject(instance, randomUUID(), [sampleRegister(nameItem(name), 1)]);
    const create1 = { kind: "create", after: named("new") } as const;
    expect((await store.commit(instance, [create1], [])).kind).toBe("nameTaken");
    const create2 = { kind: "create", after: named("old") } as const;
    expect((await store.commit(instance, [create2], [])).kind).toBe("committed");
    expect(await store.quarantined()).toBe(1);
    expect(opened.events).toContainEqual({
      type: "warning",
      message: `record ${uniqueIdentifier} is put in quarantine: does not decode`,
    });
  });
});

test("a record that another node has repaired meanwhile is not replaced", async () => {
  await using redis = await RedisServer.start();
  await using line = await Relay.open(redis.port);
  await using slow = await openNewStore({ address: line.address, ...patientOptions });
  await using fast = await openStore({ address: redis.address, ...patientOptions });
  const instance = await installed(slow.store);
  const made = await create(slow.store, instance);
  const { uniqueIdentifier } = made;
  const { key } = await recordOf(redis, instance, uniqueIdentifier);
  await redis.command("set", key, "x");
  const repair = ({ store }: OpenStore, name: string) => {
    const replacement = { ...made, registers: [sampleRegister(nameItem(name), 2)] };
    return store.quarantine(instance, uniqueIdentifier, "does not decode", { replacement });
  };
  // The repair names the damaged value by its digest.
  const digest = hash("sha1", "x");
  line.watch = (bytes) => {
    if (bytes.includes(digest)) line.set({ ...line.state, cut: { forth: true, back: false } });
    return "pass";
  };
  const late = repair(slow, "late");
  await until("the repair is on its way", () => line.state.cut.forth);
  await repair(fast, "first");
  const [first] = await fast.store.read(instance, [uniqueIdentifier]);
  line.watch = () => "pass";
  line.cut(false);
  await late;
  const [now] = await fast.store.read(instance, [uniqueIdentifier]);
  expect(now?.tag).toBe(first?.tag);
});

test("many damaged records do not fill the log, and are all put aside", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
  const { store, events } = opened;
  const instance = await installed(store);
  const ids: string[] = [];
  for (let made = 0; made < 120; made += 1) {
    const { uniqueIdentifier } = await create(store, instance);
    const { key } = await recordOf(redis, instance, uniqueIdentifier);
    await redis.command("set", key, "x");
    ids.push(uniqueIdentifier);
  }
  for (const id of ids) await store.quarantine(instance, id, "altered", {});
  expect(await store.quarantined()).toBe(ids.length);
  const told = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  expect(told.filter((message) => message.endsWith("is put in quarantine: altered"))).toEqual(
    ids.slice(0, 100).map((id) => `record ${id} is put in quarantine: altered`),
  );
  expect(told.filter((message) => message.startsWith("more than 100 records"))).toHaveLength(1);
});

/** The same bytes with every byte of the header set to 0. */
function zeroed(value: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(recordHeaderLength), value.subarray(recordHeaderLength)]);
}
