import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  decodeRecord,
  indexTerms,
  type ManagedObject,
  restorableTerm,
  stateOf,
  stateValues,
  termFor,
} from "@holdfast/engine";
import {
  groupItem,
  nameItem,
  ownStoreModel,
  sampleObject,
  sampleRegister,
  storeModel,
} from "@holdfast/engine/testing";
import type { RedisStore } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { readRecordHeader } from "../../packages/redis/src/connection/record-header.ts";
import { RedisServer, startGroup } from "../support/redis.ts";
import {
  auditOf,
  create,
  installed,
  openNewStore,
  patientOptions,
  recordOf,
  setStatus,
} from "../support/redis-store.ts";
import { recordIn, storageKeysOf } from "../support/stored-value.ts";

/** A record as it is stored in Redis. */
interface Raw {
  readonly id: Buffer;
  readonly tag: Buffer;
  readonly promised: number;
  readonly created: number;
  readonly changed: number;
  readonly version: number;
  readonly object: ManagedObject;
}

const none = { promised: 0, created: 0, changed: 0, version: 0 };

/** Checks that every index has exactly what the records say. */
async function checkIndexes(redis: RedisServer): Promise<number> {
  const keys = await redis.buffers("keys", "{p*");
  const names = keys.map((key) => key.toString("latin1"));
  let records = 0;
  for (const prefix of new Set(names.map((name) => name.slice(0, 6)))) {
    const own = keys.filter((key) => key.toString("latin1", 0, 6) === prefix);
    const raws = await Promise.all(
      own.filter((key) => key.toString("latin1", 6, 8) === "o:").map((key) => rawOf(redis, key)),
    );
    records += raws.length;
    await checkChanges(redis, prefix, raws);
    await checkDigests(redis, prefix, raws);
    await checkInstances(redis, prefix, raws, names);
    await checkTerms(redis, own, raws);
    const counters = (await redis.command(
      "hmget",
      `${prefix}counters`,
      "change",
      "promised",
      "created",
    )) as string[];
    const [change = 0, promised = 0, created = 0] = counters.map(Number);
    for (const raw of raws) {
      expect(raw.changed).toBeLessThanOrEqual(change);
      expect(raw.promised).toBeLessThanOrEqual(promised);
      expect(raw.created).toBeLessThanOrEqual(created);
      expect(raw.version).toBeLessThanOrEqual(change);
    }
  }
  return records;
}

async function rawOf(redis: RedisServer, key: Buffer): Promise<Raw> {
  const value = (await redis.buffers("get", key)) as unknown as Buffer;
  const { promised, created, changed, version } = readRecordHeader(value) ?? none;
  return {
    id: key.subarray(8),
    tag: value.subarray(0, 16),
    promised,
    created,
    changed,
    version,
    object: decodeRecord(recordIn(await storageKeysOf(redis), key, value)),
  };
}

/** A sorted set's entries by blocks, as `score member`; its directory names exactly its blocks. */
async function blocksOf(
  redis: RedisServer,
  base: string,
  among: readonly string[],
): Promise<string[]> {
  const directory = (await redis.command("zrange", base, 0, -1)) as string[];
  const there = among
    .filter((name) => name.startsWith(`${base}:`))
    .map((name) => name.slice(base.length + 1));
  expect(directory.toSorted()).toEqual(there.toSorted());
  const entries: string[] = [];
  for (const block of directory) {
    const flat = await redis.buffers("zrange", `${base}:${block}`, 0, -1, "withscores");
    for (let i = 0; i < flat.length; i += 2) {
      const score = Number(flat[i + 1]);
      expect(Math.floor(score / 128)).toBe(Number(block));
      entries.push(`${score} ${flat[i]?.toString("hex")}`);
    }
  }
  return entries.toSorted();
}

async function checkChanges(
  redis: RedisServer,
  prefix: string,
  raws: readonly Raw[],
): Promise<void> {
  const names = (await redis.buffers("keys", `${prefix}changes*`)).map(String);
  // Identifier, tag and the digit of the state.
  const expected = raws.map(({ changed, id, tag, object }) => {
    const state = Buffer.from(String(stateValues[stateOf(object.facts)]));
    return `${changed} ${Buffer.concat([id, tag, state]).toString("hex")}`;
  });
  expect(await blocksOf(redis, `${prefix}changes`, names)).toEqual(expected.toSorted());
}

async function checkDigests(
  redis: RedisServer,
  prefix: string,
  raws: readonly Raw[],
): Promise<void> {
  const expected = Buffer.alloc(256 * 16);
  for (const { id, tag } of raws) {
    for (const [at, byte] of tag.entries()) {
      const place = (id[0] ?? 0) * 16 + at;
      expected[place] = (expected[place] ?? 0) ^ byte;
    }
  }
  const found = (await redis.buffers("get", `${prefix}digests`)) as unknown as Buffer | null;
  const padded = Buffer.concat([found ?? Buffer.alloc(0), Buffer.alloc(expected.length)]);
  expect(padded.subarray(0, expected.length).equals(expected)).toBe(true);
}

async function checkInstances(
  redis: RedisServer,
  prefix: string,
  raws: readonly Raw[],
  names: readonly string[],
): Promise<void> {
  for (const instance of new Set(raws.map(({ object }) => object.instance))) {
    for (const [letter, destroyed] of [
      ["l", false],
      ["d", true],
    ] as const) {
      const expected = raws
        .filter(({ object }) => object.instance === instance)
        .filter(({ object }) => (object.facts.destroyed !== undefined) === destroyed)
        .map(({ created, id }) => `${created} ${id.toString("hex")}`);
      expect(await blocksOf(redis, `${prefix}${letter}:${instance}`, names)).toEqual(
        expected.toSorted(),
      );
    }
  }
}

/** Each term of each object has one entry, and there are no others: creation counter, destroyed. */
async function checkTerms(
  redis: RedisServer,
  own: readonly Buffer[],
  raws: readonly Raw[],
): Promise<void> {
  const found: string[] = [];
  for (const key of own.filter((each) => each.toString("latin1", 6, 8) === "t:")) {
    for (const member of await redis.buffers("zrange", key, 0, -1)) {
      expect([15, 23]).toContain(member.length);
      found.push(member.subarray(-7).toString("hex"));
    }
  }
  const expected = raws.flatMap(({ object, created }) => {
    const flag = object.facts.destroyed === undefined ? "00" : "01";
    return indexTerms(object).map(() => flag + created.toString(16).padStart(12, "0"));
  });
  expect(found.toSorted()).toEqual(expected.toSorted());
}

test("after any operations, indexes, changes and digests agree with the records", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  await mixedWork(opened.store);
  expect(await checkIndexes(redis)).toBeGreaterThan(300);
});

/** Creates, updates, serves, renames and destroys, over several blocks and instances. */
async function mixedWork(store: RedisStore): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const instance = await installed(store);
    const made = await Promise.all(
      Array.from({ length: 150 }, async (_, index) => {
        const registers = [
          sampleRegister(nameItem(`name ${index}`), 1),
          sampleRegister(groupItem(`group ${index % 7}`), 1),
        ];
        const after = { ...sampleObject(instance, randomUUID()), registers };
        await store.commit(instance, [{ kind: "create", after }], []);
        return after.uniqueIdentifier;
      }),
    );
    await Promise.all(made.map((id, index) => change(store, instance, id, index)));
    await Promise.all(made.map((id, index) => change(store, instance, id, index + 1)));
  }
}

async function change(store: RedisStore, instance: string, id: string, index: number) {
  const [before] = await store.read(instance, [id]);
  if (before === undefined) throw new Error("not found");
  const { object } = before;
  if (index % 5 === 0) {
    const served = { time: 1, region: "a" };
    await store.markServed(instance, before, { ...object, facts: { ...object.facts, served } });
  } else if (index % 5 === 1) {
    const destroyed = { time: 1, region: "a" };
    const after = { ...object, material: undefined, facts: { ...object.facts, destroyed } };
    await store.commit(instance, [{ kind: "update", before, after }], []);
  } else if (index % 5 === 2) {
    const registers = [sampleRegister(nameItem(`renamed ${index}`), 2)];
    const after = { ...object, registers };
    await store.commit(instance, [{ kind: "update", before, after }], []);
  } else if (index % 5 === 3) {
    await store.commit(instance, [{ kind: "update", before, after: object }], []);
  }
}

test("a term that is too common is no longer kept, and a search for it still finds everything", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({
    ...{ address: redis.address, ...patientOptions },
    commonTermMin: 20,
  });
  const { store } = opened;
  const instance = await installed(store);
  const common = groupItem("common");
  const rare = groupItem("rare");
  const ids: string[] = [];
  for (let index = 0; index < 60; index += 1) {
    const items = index % 20 === 0 ? [common, rare] : [common];
    const registers = items.map((item, at) => sampleRegister(item, 1, "", at));
    const after = { ...sampleObject(instance, randomUUID()), registers };
    await store.commit(instance, [{ kind: "create", after }], []);
    ids.unshift(after.uniqueIdentifier);
  }
  const entries = await Promise.all(
    (await redis.buffers("keys", "{p*}:t:*")).map((key) => redis.command("zcard", key)),
  );
  expect(entries.toSorted()).toEqual([21, 3]);
  expect(await findAll(store, instance, common)).toEqual(ids);
  expect(await findAll(store, instance, rare)).toEqual(ids.filter((_, at) => at % 20 === 19));
  // The entries that exist are removed when their object changes.
  const [first] = await store.read(instance, [ids.at(-1) ?? ""]);
  if (first === undefined) throw new Error("not found");
  const after = { ...first.object, registers: [] };
  await store.commit(instance, [{ kind: "update", before: first, after }], []);
  expect(await findAll(store, instance, rare)).toHaveLength(2);
});

test("the term of what can be restored is kept however many objects have it, and goes with them", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({
    ...{ address: redis.address, ...patientOptions },
    commonTermMin: 20,
  });
  const { store } = opened;
  const instance = await installed(store);
  const destruction = { time: 1, region: "a", until: 9e9, state: "pending", us: 1 } as const;
  const made = Array.from({ length: 60 }, () => sampleObject(instance, randomUUID()));
  const create = made.map((after) => ({ kind: "create", after }) as const);
  expect((await store.commit(instance, create, [])).kind).toBe("committed");
  const change = async (state: "pending" | "restored", us: number) => {
    const stored = await store.read(
      instance,
      made.map(({ uniqueIdentifier }) => uniqueIdentifier),
    );
    const changes = stored.flatMap((before) =>
      before === undefined
        ? []
        : [
            {
              ...({ kind: "update", before } as const),
              after: { ...before.object, facts: { destruction: { ...destruction, state, us } } },
            },
          ],
    );
    // Several in one commit: no name is claimed.
    expect((await store.commit(instance, changes, [])).kind).toBe("committed");
  };
  const entries = async () => {
    const keys = await redis.buffers("keys", "{p*}:t:*");
    const counts = await Promise.all(keys.map((key) => redis.command("zcard", key)));
    return counts.map(Number).reduce((sum, count) => sum + count, 0);
  };
  await change("pending", 1);
  expect(await entries()).toBe(60);
  const query = { live: false, destroyed: true, term: restorableTerm, limit: 100 };
  expect((await store.find(instance, query)).objects).toHaveLength(60);
  await change("restored", 2);
  expect(await entries()).toBe(0);
});

async function findAll(store: RedisStore, instance: string, item: ReturnType<typeof groupItem>) {
  const term = termFor(item);
  const found: string[] = [];
  let next: string | undefined;
  do {
    const page = await store.find(instance, {
      live: true,
      destroyed: false,
      limit: 7,
      ...(term !== undefined && { term }),
      ...(next !== undefined && { after: next }),
    });
    found.push(...page.objects.map(({ object }) => object.uniqueIdentifier));
    next = page.next;
  } while (next !== undefined);
  return found;
}

test("an index over many blocks is read to its end, newest first, with destroyed objects among live ones", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  const ids: string[] = [];
  for (let batch = 0; batch < 4; batch += 1) {
    const objects = Array.from({ length: 150 }, () => sampleObject(instance, randomUUID()));
    await store.commit(
      instance,
      objects.map((after) => ({ kind: "create", after })),
      [],
    );
    ids.unshift(...objects.map(({ uniqueIdentifier }) => uniqueIdentifier).toReversed());
  }
  const destroyed = new Set(ids.filter((_, at) => at % 3 === 0 || (at > 200 && at < 400)));
  for (const id of destroyed) {
    const [before] = await store.read(instance, [id]);
    if (before === undefined) throw new Error("not found");
    const facts = { destroyed: { time: 1, region: "a" } };
    const after = { ...before.object, material: undefined, facts };
    await store.commit(instance, [{ kind: "update", before, after }], []);
  }
  for (const [live, gone, expected] of [
    [true, false, ids.filter((id) => !destroyed.has(id))],
    [false, true, ids.filter((id) => destroyed.has(id))],
    [true, true, ids],
  ] as const) {
    for (const limit of [100, 1_000]) {
      const found: string[] = [];
      let next: string | undefined;
      do {
        const query = { live, destroyed: gone, limit, ...(next !== undefined && { after: next }) };
        const page = await store.find(instance, query);
        found.push(...page.objects.map(({ object }) => object.uniqueIdentifier));
        next = page.next;
      } while (next !== undefined);
      expect(found).toEqual(expected);
    }
  }
  await expect(
    store.find(instance, { live: true, destroyed: false, limit: 1, after: "x" }),
  ).rejects.toThrow("cursor");
});

const event = (action: string) =>
  ({ time: 1, action, outcome: "success", initiator: "i", requestId: randomUUID() }) as const;

test("audit events of reads are appended together, also while writes are not promised", async () => {
  await using group = await startGroup({ replicas: 1 });
  // Each round of a barrier counts, and lasts for a quarter of the lease; an event whose answer is late is appended twice.
  const times = { storeLeaseMs: 4_000, commandTimeoutMs: 60_000, barrierTimeoutMs: 60_000 };
  await using opened = await openNewStore({
    ...{ address: group.primary.address, ...times },
    auditQueueMax: 50,
  });
  const { store } = opened;
  const instance = await installed(store);
  const barriers = () => opened.events.filter((e) => e.type === "barrier" && e.batch > 0).length;
  const before = barriers();
  for (let i = 0; i < 40; i += 1) await store.appendAudit(instance, [event(`read ${i}`)], false);
  const actions = async () => (await auditOf(group.primary, instance)).map(({ action }) => action);
  await until("they are appended", async () => (await actions()).length === 40);
  expect(await actions()).toEqual(Array.from({ length: 40 }, (_, i) => `read ${i}`));
  expect(barriers() - before).toBeLessThanOrEqual(3);
  group.replicas[0]?.signal("SIGSTOP");
  await until("a read lease", () => store.state() === "readOnly");
  await store.appendAudit(instance, [event("while short")], false);
  await until("it is appended", async () => (await actions()).includes("while short"));
  expect(await actions()).toHaveLength(41);
  // While Redis is down they wait; those that do not fit are reported as lost.
  group.primary.signal("SIGSTOP");
  await until("no lease", () => store.state() === "none");
  for (let i = 0; i < 60; i += 1) await store.appendAudit(instance, [event(`late ${i}`)], false);
  const lost = opened.events.filter((e) => e.type === "warning" && e.message.includes("lost"));
  expect(lost).toHaveLength(10);
  for (const server of [group.primary, ...group.replicas]) server.signal("SIGCONT");
  await until("they are appended", async () => (await actions()).includes("late 59"));
  expect((await actions()).slice(41)).toEqual(
    Array.from({ length: 50 }, (_, i) => `late ${i + 10}`),
  );
});

test("the audit stream is trimmed to about the configured number of entries, and its numbers continue", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({
    ...{ address: redis.address, ...patientOptions },
    auditEntriesMax: 100,
  });
  const instance = await installed(opened.store);
  for (let i = 0; i < 20; i += 1) {
    await opened.store.appendAudit(
      instance,
      Array.from({ length: 50 }, () => event("x")),
      true,
    );
  }
  const [key] = await redis.buffers("keys", "{p*}:audit");
  expect(Number(await redis.command("xlen", key ?? ""))).toBeLessThan(100 + 2 * 256);
  const last = (await redis.command("xrevrange", key ?? "", "+", "-", "count", 1)) as [string][];
  expect(last[0]?.[0]).toBe("1000-0");
});

test("operations in progress are finished when the store is closed", async () => {
  await using redis = await RedisServer.start();
  const opened = await openNewStore({ address: redis.address, ...patientOptions });
  const { store } = opened;
  const instance = await installed(store);
  await store.appendAudit(instance, [event("at the end")], false);
  const made = Array.from({ length: 20 }, () => create(store, instance));
  await sleep(1);
  await opened[Symbol.asyncDispose]();
  expect((await Promise.all(made)).length).toBe(20);
  expect((await auditOf(redis, instance)).map(({ action }) => action)).toEqual(["at the end"]);
  await expect(store.read(instance, [randomUUID()])).rejects.toMatchObject({ failure: "noLease" });
  expect(String(await redis.command("client", "list"))).not.toContain("holdfast-");
});

storeModel(
  "RedisStore, whose indexes are checked at the end,",
  async () => {
    const redis = await RedisServer.start();
    const opened = await openNewStore({ address: redis.address, ...patientOptions });
    return {
      subject: opened.store,
      instances: { ensure: (instance: string) => opened.store.install(instance) },
      auditOf: (instance) => auditOf(redis, instance),
      async close() {
        await checkIndexes(redis);
        await opened[Symbol.asyncDispose]();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
  { seed: 20260204, numRuns: 15 },
);

// When the indexes are checked, every reservation and its mark in the record have ended.
ownStoreModel(
  "RedisStore, whose indexes are checked at the end,",
  async () => {
    const redis = await RedisServer.start();
    const opened = await openNewStore({ address: redis.address, ...patientOptions });
    return {
      subject: opened.store,
      instances: opened.store,
      setStatus: (instance, status) => setStatus(redis, instance, status),
      async damage(instance, id) {
        const { key } = await recordOf(redis, instance, id);
        await redis.command("set", key, "damaged");
      },
      async close() {
        await checkIndexes(redis);
        await opened[Symbol.asyncDispose]();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
  { seed: 20261126, numRuns: 15 },
);
