import { randomBytes, randomUUID } from "node:crypto";
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Event,
  kekRecord,
  type ManagedObject,
  partitionOf,
  systemInstance,
} from "@holdfast/engine";
import { DiskMemoryFile, loadScripts, type RedisStore } from "@holdfast/redis";
import { mergeInto } from "@holdfast/regions";
import { until } from "@holdfast/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import { RedisServer, sentinelName, startGroup } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  type OpenStore,
  openStore,
  recordOf,
  systemClock,
  testRoot,
} from "../support/redis-store.ts";

/** A busy machine is not what is tested here. */
const patient = {
  connectTimeoutMs: 30_000,
  commandTimeoutMs: 30_000,
  storeLeaseMs: 60_000,
  markerMs: 100,
  leaseWaitMs: 30_000,
  barrierTimeoutMs: 30_000,
};
const corrupt = { failure: "corrupt" };
const everything = { live: true, destroyed: true, limit: 100 };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-memory-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** What a node with this name passes to its store, so that it remembers it. */
function remembering(node: string) {
  const file = new DiskMemoryFile(join(folder, node));
  return { memory: { file, node, root: testRoot, randomBytes } };
}

function nodeAt(redis: RedisServer, node: string): Promise<OpenStore> {
  return openStore({ address: redis.address, ...patient, ...remembering(node) });
}

function older(events: readonly Event[]): readonly string[] {
  return events.flatMap((one) => (one.type === "olderRecord" ? [one.uniqueIdentifier] : []));
}

/** Whether a node began or ended to doubt its store, in order. */
function doubts(events: readonly Event[]): readonly boolean[] {
  return events.flatMap((one) => (one.type === "storeDoubt" ? [one.doubted] : []));
}

/** The last state that a node gave of its file. */
function stateOf(events: readonly Event[]): string | undefined {
  return events.findLast((one) => one.type === "rollbackMemory")?.state;
}

async function change(
  store: RedisStore,
  { instance, uniqueIdentifier }: ManagedObject,
  edit: (object: ManagedObject) => ManagedObject,
): Promise<ManagedObject> {
  const [before] = await store.read(instance, [uniqueIdentifier]);
  if (before === undefined) throw new Error("not found");
  const after = edit(before.object);
  const outcome = await store.commit(instance, [{ kind: "update", before, after }], []);
  expect(outcome).toEqual({ kind: "committed" });
  return after;
}

const later = (object: ManagedObject): ManagedObject => {
  return { ...object, lastChange: object.lastChange + 1_000 };
};
const destroyed = (object: ManagedObject): ManagedObject => {
  const facts = { ...object.facts, destroyed: { time: 1_800_000_000, region: "a" } };
  return { ...object, facts, material: undefined };
};

const deactivated = (object: ManagedObject): ManagedObject => {
  const facts = { ...object.facts, deactivated: { time: 1_800_000_000, region: "a" } };
  return { ...object, facts };
};

/** A destruction that can be restored until a day that is far away. */
const pending = (object: ManagedObject): ManagedObject => {
  const at = { time: 1_800_000_000, region: "a", until: 4_000_000_000, us: 1_800_000_000_000_000 };
  return { ...object, facts: { ...object.facts, destruction: { ...at, state: "pending" } } };
};

/** Waits until a node remembers an object of another partition than `beside`'s, by the file that it keeps. */
async function learnedBy(opened: OpenStore, node: string, beside = ""): Promise<void> {
  const size = async () => (await readFile(join(folder, node)).catch(() => Buffer.alloc(0))).length;
  const before = await size();
  await until("a change", async () => {
    const instance = await installed(opened.store).catch(() => beside);
    if (partitionOf(instance) === partitionOf(beside)) return false;
    return (await create(opened.store, instance).catch(() => undefined)) !== undefined;
  });
  await until(`${node} has learned`, async () => (await size()) > before);
}

describe("a fail-over", () => {
  test("makes no doubt: what was served, and what no barrier covered, is not held against the new primary", async () => {
    await using group = await startGroup({ replicas: 1, sentinels: 3, downAfterMs: 3_000 });
    const sentinels = group.sentinels.map(({ address }) => address);
    const waits = { barrierTimeoutMs: 30_000, leaseWaitMs: 30_000, commandTimeoutMs: 5_000 };
    const place = { sentinels, name: sentinelName, ...waits };
    await group.primary.replicasInStep(1);
    await initStore(place);
    await using one = await openStore({ ...place, ...remembering("one") });
    await using two = await openStore({ ...place, ...remembering("two") });
    const instance = await installed(one.store);
    const made = await create(one.store, instance);
    const id = made.uniqueIdentifier;
    await learnedBy(one, "one");
    // The replica hears nothing more: what is written now is taken back by the fail-over.
    const [replica] = group.replicas;
    if (replica === undefined) throw new Error("no replica");
    await group.primary.command("client", "kill", "type", "replica");
    replica.signal("SIGSTOP");
    const [read] = await one.store.read(instance, [id]);
    if (read === undefined) throw new Error("not found");
    const served = { ...read.object, lastChange: read.object.lastChange + 1 };
    const { counters } = partitionKeys(partitionOf(instance));
    const changes = async () => Number(await group.primary.command("hget", counters, "change"));
    const covered = await changes();
    // Readers may be answered with the first, since it promised nothing, but not with the second.
    await one.store.markServed(instance, read, served);
    const uncovered = create(one.store, instance).catch(() => undefined);
    await until("both are written", async () => (await changes()) >= covered + 2);
    const late = two.store.read(instance, [id]).catch(() => undefined);
    // The memory asks Redis for its positions in each round, and must learn none of this.
    const asked = async () =>
      Number(/calls=(\d+)/.exec(await group.primary.info("cmdstat_evalsha"))?.[1]);
    const before = await asked();
    await until("rounds of the memory", async () => (await asked()) >= before + 4);
    await group.primary.kill();
    await Promise.all([uncovered, late]);
    replica.signal("SIGCONT");
    await until("the replica serves", async () => {
      const found = await one.store.read(instance, [id]).catch(() => undefined);
      return found?.[0] !== undefined && (await group.promoted()) !== group.primary.address;
    });
    for (const { store } of [one, two]) {
      await until("it reads", async () => {
        return (await store.read(instance, [id]).catch(() => [])).length === 1;
      });
    }
    await group.primary.restart();
    await until("full again", () => one.store.state() === "full" && two.store.state() === "full");
    await learnedBy(one, "one");
    await learnedBy(two, "two");
    for (const { store } of [one, two]) {
      expect((await store.find(instance, everything)).objects.length).toBeGreaterThan(0);
    }
    expect([...older(one.events), ...older(two.events)]).toEqual([]);
    expect([...doubts(one.events), ...doubts(two.events)]).toEqual([]);
  });
});

describe("genuine and old", () => {
  let redis: RedisServer;
  let one: OpenStore;
  let instance: string;
  beforeEach(async () => {
    redis = await RedisServer.start();
    await initStore({ address: redis.address });
    one = await nodeAt(redis, "one");
    instance = await installed(one.store);
  });
  afterEach(async () => {
    await one?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  /** Expects that no way to read the store shows a record. */
  async function notBelieved({ store }: OpenStore, id: string): Promise<void> {
    await expect(store.read(instance, [id])).rejects.toMatchObject(corrupt);
    const records = await store.records(partitionOf(instance), [id]);
    expect(records.damaged).toContain(id);
    expect(records.objects).toEqual([]);
  }

  test("a record that is put back is not believed, also after a restart, nor if it is signed again", async () => {
    const made = await create(one.store, instance);
    const id = made.uniqueIdentifier;
    const { key, value: old } = await recordOf(redis, instance, id);
    await change(one.store, made, destroyed);
    const { value: newest } = await recordOf(redis, instance, id);
    await redis.command("set", key, old);
    await notBelieved(one, id);
    await expect(one.store.find(instance, everything)).rejects.toMatchObject(corrupt);
    const page = await one.store.changes(partitionOf(instance), 0, 1_000, 1 << 20);
    expect(page.damaged).toContain(id);
    expect(older(one.events)).toEqual([id]);
    // At a node that starts with the file.
    await one[Symbol.asyncDispose]();
    one = await nodeAt(redis, "one");
    expect(stateOf(one.events)).not.toBe("missing");
    await notBelieved(one, id);
    // A node without a memory signs it again, twice: its version is higher then, and the fact is still missing.
    await using without = await openStore({ address: redis.address, ...patient });
    await change(without.store, made, later);
    await change(without.store, made, later);
    await notBelieved(one, id);
    await redis.command("set", key, newest);
    expect((await one.store.read(instance, [id]))[0]?.object.facts.destroyed).toBeDefined();
  });

  test("an older state counts again where no other region has the record, unless it lacks a fact that stays", async () => {
    const made = await create(one.store, instance);
    const id = made.uniqueIdentifier;
    const gone = await create(one.store, instance);
    const going = await create(one.store, instance);
    const olds = await Promise.all(
      [made, gone, going].map(({ uniqueIdentifier }) =>
        recordOf(redis, instance, uniqueIdentifier),
      ),
    );
    await change(one.store, made, later);
    await change(one.store, gone, destroyed);
    await change(one.store, going, pending);
    for (const { key, value } of olds) await redis.command("set", key, value);
    await one.store.quarantine(instance, id, "test", {});
    await notBelieved(one, id);
    await one.store.quarantine(instance, id, "test", { only: true });
    expect((await one.store.read(instance, [id]))[0]?.object).toEqual(made);
    expect(older(one.events)).toContain(id);
    for (const { uniqueIdentifier } of [gone, going]) {
      const before = await one.store.quarantined();
      await one.store.quarantine(instance, uniqueIdentifier, "test", { only: true });
      expect(await one.store.quarantined()).toBe(before + 1);
      await notBelieved(one, uniqueIdentifier);
      // Nor is a copy of the other region that lacks it.
      const copy = uniqueIdentifier === gone.uniqueIdentifier ? gone : going;
      const put = one.store.quarantine(instance, uniqueIdentifier, "test", { replacement: copy });
      await expect(put).rejects.toMatchObject(corrupt);
    }
  });

  test("the other region's copy is joined with an older state that proves itself: it may have more", async () => {
    const made = await create(one.store, instance);
    const id = made.uniqueIdentifier;
    const { key, value: old } = await recordOf(redis, instance, id);
    const copy = await change(one.store, made, deactivated);
    await redis.command("set", key, old);
    await using without = await openStore({ address: redis.address, ...patient });
    const changed = await change(without.store, made, later);
    await notBelieved(one, id);
    const timers = { ...systemClock, sleep: (ms: number) => sleep(ms) };
    await mergeInto(one.store, [copy], { from: "b", timers, observe: () => undefined });
    const [joined] = await one.store.read(instance, [id]);
    expect(joined?.object).toEqual({ ...copy, lastChange: changed.lastChange });
  });

  test("a record that was removed is missing, and a copy takes its place only with what is remembered", async () => {
    const made = await change(one.store, await create(one.store, instance), later);
    const id = made.uniqueIdentifier;
    const gone = await change(one.store, await create(one.store, instance), destroyed);
    for (const { uniqueIdentifier } of [made, gone]) {
      await redis.command("del", (await recordOf(redis, instance, uniqueIdentifier)).key);
      await notBelieved(one, uniqueIdentifier);
    }
    await one.store.quarantine(instance, id, "test", { replacement: made });
    expect((await one.store.read(instance, [id]))[0]?.object).toEqual(made);
    // It passes for newer than what every node remembers.
    await using two = await nodeAt(redis, "one");
    expect((await two.store.read(instance, [id]))[0]?.object).toEqual(made);
    const alive = { ...gone, facts: made.facts };
    await expect(
      one.store.quarantine(instance, gone.uniqueIdentifier, "test", { replacement: alive }),
    ).rejects.toMatchObject(corrupt);
    const again = { kind: "create", after: { ...alive, material: made.material } } as const;
    expect(await one.store.commit(instance, [again], [])).toMatchObject({ kind: "conflict" });
  });

  test("what another node wrote is remembered too, and what it wrote later is believed", async () => {
    await using two = await nodeAt(redis, "two");
    const made = await create(one.store, instance);
    const id = made.uniqueIdentifier;
    const { key, value: old } = await recordOf(redis, instance, id);
    await change(one.store, made, later);
    await learnedBy(one, "two");
    await redis.command("set", key, old);
    await notBelieved(two, id);
    expect(older(two.events)).toContain(id);
    const { value } = await recordOf(redis, instance, id);
    expect(value).toEqual(old);
  });

  test("a session reads the headers of each change once, new ones and those from before it", async () => {
    const partition = partitionKeys(partitionOf(instance));
    /** Between which change numbers each script of the memory read the partition's headers, in their order. */
    const read = async () => {
      const commands = (await redis.command("slowlog", "get", "-1")) as [
        number,
        number,
        number,
        string[],
      ][];
      return commands
        .map(([, , , line]) => line)
        .filter(([, sha, , head]) => sha === loadScripts().headers.sha && head === partition.head)
        .map((line): [number, number] => [Number(line[6]), Number(line[8])])
        .toSorted(([one], [other]) => one - other);
    };
    const covers = async () => {
      await create(one.store, instance);
      const last = Number(await redis.command("hget", partition.counters, "change"));
      await until("it is read", async () => (await read()).some(([, upTo]) => upTo >= last));
    };
    await redis.command("config", "set", "slowlog-max-len", "100000");
    await redis.command("config", "set", "slowlog-log-slower-than", "0");
    await covers();
    await one[Symbol.asyncDispose]();
    await redis.command("slowlog", "reset");
    one = await nodeAt(redis, "one");
    // The round that reads the third has ended the one that read the second.
    for (let times = 0; times < 3; times += 1) await covers();
    const ranges = await read();
    const ends = ranges.map(([, upTo]) => upTo);
    expect(ranges.map(([from]) => from)).toEqual([0, ...ends.slice(0, -1)]);
  });

  test("a partition that is put back as a whole is noticed by a node that reads it again", async () => {
    const made = await create(one.store, instance);
    const keys = (await redis.buffers(
      "keys",
      `${partitionKeys(partitionOf(instance)).prefix}*`,
    )) as Buffer[];
    const dumps = await Promise.all(
      keys.map(async (key) => (await redis.buffers("dump", key)) as unknown as Buffer),
    );
    const changed = await change(one.store, made, later);
    const added = await create(one.store, instance);
    // The round that the first one waits for may have read the numbers before.
    for (let rounds = 0; rounds < 2; rounds += 1) await learnedBy(one, "one", instance);
    const now = (await redis.buffers(
      "keys",
      `${partitionKeys(partitionOf(instance)).prefix}*`,
    )) as Buffer[];
    for (const key of now) await redis.command("del", key);
    for (const [at, key] of keys.entries()) {
      await redis.command("restore", key, 0, dumps[at] ?? Buffer.alloc(0));
    }
    await notBelieved(one, changed.uniqueIdentifier);
    await notBelieved(one, added.uniqueIdentifier);
    await until("it is doubted", () => one.store.doubted());
    expect(one.store.remembers(instance, made.uniqueIdentifier)).toBe(true);
    expect(one.store.remembers(instance, randomUUID())).toBe(false);
    // What the other region would bring: once everything is there again, the doubt ends by itself.
    await one.store.quarantine(instance, changed.uniqueIdentifier, "test", {
      replacement: changed,
    });
    expect(one.store.doubted()).toBe(true);
    await one.store.commit(instance, [{ kind: "create", after: added }], []);
    await until("its doubt is over", () => !one.store.doubted());
    expect(doubts(one.events)).toEqual([true, false]);
  });

  test("the whole store, put back while all nodes are down, is noticed, and accepted by an order", async () => {
    const made = await create(one.store, instance);
    const entry = {
      id: randomUUID(),
      createdMs: 1,
      check: new Uint8Array(randomBytes(16)),
      wraps: [],
    };
    const kek = kekRecord({ instance, kek: entry }, true, { us: 1, region: "a" });
    await one.store.commit(systemInstance, [{ kind: "create", after: kek }], []);
    const copy = join(folder, "copy");
    await cp(join(redis.directory, "appendonlydir"), copy, { recursive: true });
    const changed = await change(one.store, made, destroyed);
    await change(one.store, kek, later);
    const added = await create(one.store, instance);
    await using two = await nodeAt(redis, "two");
    for (let rounds = 0; rounds < 2; rounds += 1) {
      await learnedBy(one, "one");
      await learnedBy(two, "two");
    }
    await one[Symbol.asyncDispose]();
    await redis.kill();
    const data = join(redis.directory, "appendonlydir");
    await rm(data, { recursive: true });
    await cp(copy, data, { recursive: true });
    await redis.restart();
    one = await nodeAt(redis, "one");
    await notBelieved(one, changed.uniqueIdentifier);
    await notBelieved(one, added.uniqueIdentifier);
    // The control: a node without a memory serves the destroyed key.
    await using without = await openStore({ address: redis.address, ...patient });
    const [stored] = await without.store.read(instance, [made.uniqueIdentifier]);
    expect(stored?.object.facts.destroyed).toBeUndefined();
    expect([one.store.doubted(), without.store.doubted()]).toEqual([true, false]);
    // What is remembered is read with it.
    expect((await one.store.read(systemInstance, [entry.id]))[0]?.object).toEqual(kek);
    const found = await one.store.find(systemInstance, everything);
    expect(found.objects.map(({ object }) => object)).toContainEqual(kek);
    await until("the node that was up doubts too", () => two.store.doubted());
    const survey = await one.store.surveyMemory();
    expect(survey.lost.destroyed).toBe(1);
    expect(survey.missing).toBeGreaterThan(0);
    expect(await one.store.surveyMemory(changed.uniqueIdentifier)).toMatchObject({
      ...{ older: 1, missing: 0, ids: [changed.uniqueIdentifier] },
    });
    // A node that is down carries the order out when it starts, and once.
    await one[Symbol.asyncDispose]();
    await two.store.accept();
    await until("the order is carried out", () => !two.store.doubted());
    expect((await two.store.read(instance, [made.uniqueIdentifier]))[0]?.object).toEqual(made);
    await change(two.store, made, destroyed);
    for (let starts = 0; starts < 2; starts += 1) {
      one = await nodeAt(redis, "one");
      await until("it has the order", () => !one.store.doubted());
      const [now] = await one.store.read(instance, [made.uniqueIdentifier]);
      expect(now?.object.facts.destroyed).toBeDefined();
      expect((await one.store.surveyMemory()).missing).toBe(0);
      if (starts === 0) await one[Symbol.asyncDispose]();
    }
  });

  test("a new store begins a new memory, without a doubt", async () => {
    const made = await create(one.store, instance);
    await one[Symbol.asyncDispose]();
    await redis.restart({ empty: true });
    await initStore({ address: redis.address });
    one = await nodeAt(redis, "one");
    await one.store.install(instance);
    expect(await one.store.read(instance, [made.uniqueIdentifier])).toEqual([undefined]);
    expect((await create(one.store, instance)).instance).toBe(instance);
    expect(older(one.events)).toEqual([]);
  });

  test("a file that is torn, damaged, missing or unreadable takes no key out of service", async () => {
    const [early, late] = [await create(one.store, instance), await create(one.store, instance)];
    await learnedBy(one, "one");
    await change(one.store, late, later);
    await one[Symbol.asyncDispose]();
    const path = join(folder, "one");
    const whole = await readFile(path);
    const flipped = Buffer.from(whole);
    flipped.writeUInt8((flipped.at(-20) ?? 0) ^ 1, flipped.length - 20);
    const contents = [
      [whole.subarray(0, -3), "kept"],
      [flipped, "missing"],
      [whole.subarray(0, 7), "missing"],
    ] as const;
    for (const [content, state] of contents) {
      await writeFile(path, content);
      one = await nodeAt(redis, "one");
      const read = await one.store.read(instance, [early.uniqueIdentifier, late.uniqueIdentifier]);
      expect(read.map((stored) => stored?.object.uniqueIdentifier)).toEqual([
        early.uniqueIdentifier,
        late.uniqueIdentifier,
      ]);
      if (state === "missing") expect(stateOf(one.events)).toBe("missing");
      await until("it keeps a file again", () => stateOf(one.events) === "kept");
      await one[Symbol.asyncDispose]();
    }
    await truncate(path, 0);
    one = await nodeAt(redis, "one");
    expect(older(one.events)).toEqual([]);
    expect(await one.store.read(instance, [randomUUID()])).toEqual([undefined]);
  });

  test("a file that is another one, such as a key, is refused and stays as it is", async () => {
    const path = join(folder, "key");
    await writeFile(path, "-----BEGIN PRIVATE KEY-----");
    await expect(nodeAt(redis, "key")).rejects.toThrow(`${path} is not a memory file`);
    expect(await readFile(path, "utf8")).toBe("-----BEGIN PRIVATE KEY-----");
  });
});
