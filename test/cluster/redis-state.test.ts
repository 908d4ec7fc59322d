import { randomBytes, randomUUID } from "node:crypto";
import { ClockCheck, StoreUnavailable } from "@holdfast/engine";
import { nameItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  installed,
  openNewStore,
  openStore,
  patientOptions,
  refusingOptions,
  systemClock,
} from "../support/redis-store.ts";

const everything = { live: true, destroyed: true, limit: 50 };

describe("a full memory", () => {
  test("refuses writes clearly and still answers reads, until there is room again", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const made = await create(store, instance);
    const ids = [made.uniqueIdentifier];
    const [stored] = await store.read(instance, ids);
    if (stored === undefined) throw new Error("not read");
    const held = (await create(store, instance)).uniqueIdentifier;
    await store.reserve(instance, [held], "operation");
    await redis.command("config", "set", "maxmemory", "1mb");
    // The control: a plain write is refused.
    await expect(redis.command("set", "x", "1")).rejects.toThrow("OOM");
    for (const count of [1, 10]) {
      const commits = await Promise.allSettled(
        Array.from({ length: count }, () => create(store, instance)),
      );
      for (const commit of commits) {
        expect(commit).toMatchObject({ status: "rejected", reason: { failure: "full" } });
        expect(String(commit.status === "rejected" && commit.reason)).toContain("maxmemory");
      }
    }
    const after = { ...stored.object, facts: { served: { time: 1, region: "a" } } };
    expect(await store.markServed(instance, stored, after)).toBe(false);
    expect((await store.read(instance, [held]))[0]?.reserved).toBe("operation");
    expect(await store.release(instance, "operation")).toBe(1);
    expect((await store.read(instance, [held]))[0]?.reserved).toBeUndefined();
    // More markers than a lease has: they are written even if memory is full.
    const barriers = () => opened.events.filter(({ type }) => type === "barrier").length;
    const before = barriers();
    await until("the markers of a lease", async () => {
      expect(store.state()).toBe("full");
      expect((await store.read(instance, ids))[0]?.tag).toBe(stored.tag);
      expect((await store.find(instance, everything)).objects).toHaveLength(2);
      return barriers() > before + 5;
    });
    await redis.command("config", "set", "maxmemory", "0");
    await create(store, instance);
    expect(opened.events.filter(({ type }) => type === "lease")).toHaveLength(1);
  });

  test("still lets a leader work, reservations begin and end, the audit be trimmed, and keys be destroyed", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const material = {
      kekId: randomUUID(),
      nonce: Buffer.alloc(12),
      ciphertext: randomBytes(200_000),
    };
    const made = { ...sampleObject(instance, randomUUID()), material };
    await store.commit(instance, [{ kind: "create", after: made }], []);
    await redis.command("config", "set", "maxmemory", "1mb");
    await expect(redis.command("set", "x", "1")).rejects.toThrow("OOM");

    const epoch = await store.newEpoch();
    await store.setLevel(await store.requestResync(), epoch);
    await store.loseLevel();
    await store.setCursor(0, "b", { replicationId: "a-run", number: 1 }, epoch);
    const { base } = (await store.audit.standings())[0] ?? {};
    if (base === undefined) throw new Error("no standing");
    await store.audit.trim(0, base, epoch);
    await store.audit.setSinkPoints(
      "file",
      new Map([[0, { number: 1, hash: Buffer.alloc(32) }]]),
      epoch,
    );
    expect(await store.usage()).toMatchObject({ maxBytes: 1_048_576 });

    const used = async () => (await store.usage())?.usedBytes ?? 0;
    const before = await used();
    const [stored] = await store.read(instance, [made.uniqueIdentifier]);
    if (stored === undefined) throw new Error("not read");
    const ended = {
      ...stored.object,
      facts: { destroyed: { time: 1, region: "a" } },
      material: undefined,
    };
    const outcome = await store.commit(
      instance,
      [{ kind: "update", before: stored, after: ended }],
      [],
    );
    expect(outcome.kind).toBe("committed");
    await until("the memory freed", async () => (await used()) < before - 150_000);
    // A change that may grow is refused all the same.
    const [tomb] = await store.read(instance, [made.uniqueIdentifier]);
    if (tomb === undefined) throw new Error("not read");
    const named = {
      ...tomb.object,
      registers: [...tomb.object.registers, sampleRegister(nameItem("n"), 2)],
    };
    await expect(
      store.commit(instance, [{ kind: "update", before: tomb, after: named }], []),
    ).rejects.toMatchObject({ failure: "full" });
    const fresh = sampleObject(instance, randomUUID());
    await expect(
      store.commit(instance, [{ kind: "create", after: fresh }], []),
    ).rejects.toMatchObject({ failure: "full" });
    // Nothing of it is written: the client may make the refused change in the other region.
    const ids = [tomb.object.uniqueIdentifier, fresh.uniqueIdentifier];
    expect(await store.read(instance, ids)).toEqual([tomb, undefined]);
    // A change that replaces a value is accepted if it comes from the other region.
    const after = { ...tomb.object, lastChange: tomb.object.lastChange + 1 };
    const replaced = [{ kind: "update", before: tomb, after }] as const;
    await expect(store.commit(instance, replaced, [])).rejects.toMatchObject({ failure: "full" });
    const joined = await store.commit(instance, replaced, [], { joined: true });
    expect(joined.kind).toBe("committed");
  });

  test("still gives a read of uncovered records its barrier", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const instance = await installed(opened.store);
    const { uniqueIdentifier } = await create(opened.store, instance);
    await redis.command("config", "set", "maxmemory", "1mb");
    await forgetCovered(redis);
    await using other = await openStore({ address: redis.address, ...patientOptions });
    expect((await other.store.read(instance, [uniqueIdentifier]))[0]).toBeDefined();
    expect(other.events).toContainEqual({ type: "coveredRead", waited: true });
  });
});

describe("a damaged Redis key", () => {
  const wrong = [
    ["head", "{p*}:head"],
    ["counters", "{p*}:counters"],
    ["status", "{p*}:s:*"],
    ["live index", "{p*}:l:????????-????-????-????-????????????"],
    ["live block", "{p*}:l:????????-????-????-????-????????????:0"],
    ["changes", "{p*}:changes"],
    ["block of changes", "{p*}:changes:0"],
    ["digests", "{p*}:digests"],
    ["audit", "{p*}:audit"],
    ["bucket of a term", "{p*}:t:*"],
    ["reservations", "{p*}:reserved"],
    ["record", "{p*}:o:*"],
  ] as const;

  test.each(wrong)("of the wrong type (%s) leaves no half of a change", async (_name, pattern) => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const { store } = opened;
    const instance = await installed(store);
    const registers = [sampleRegister(nameItem("n"), 1)];
    const object = { ...sampleObject(instance, randomUUID()), registers };
    const event = {
      time: 1,
      action: "a",
      outcome: "success",
      initiator: "i",
      requestId: "r",
    } as const;
    await store.commit(instance, [{ kind: "create", after: object }], [event]);
    await store.reserve(instance, [randomUUID()], "operation");
    const [before] = await store.read(instance, [object.uniqueIdentifier]);
    if (before === undefined) throw new Error("not read");
    const prefix = /^\{p\d\d\}/.exec(String((await redis.buffers("keys", "{p*}:o:*"))[0]))?.[0];
    const [key] = await redis.buffers("keys", pattern.replace("{p*}", prefix ?? ""));
    if (key === undefined) throw new Error(`no key ${pattern}`);
    const kept = await redis.buffers("dump", key);
    await redis.command("del", key);
    await redis.command("lpush", key, "of another type");
    const was = await everythingIn(redis);
    const changed = { ...object, lastChange: 99, registers: [sampleRegister(nameItem("m"), 2)] };
    const gone = { ...changed, facts: { destroyed: { time: 1, region: "a" } } };
    const other = sampleObject(instance, randomUUID());
    // Alone, and together with others.
    for (const after of [changed, gone]) {
      const commits = await Promise.allSettled([
        store.commit(
          instance,
          [
            { kind: "create", after: other },
            { kind: "update", before, after },
          ],
          [event],
        ),
        ...Array.from({ length: after === gone ? 5 : 0 }, () => store.install(randomUUID())),
      ]);
      expect(commits[0]).toMatchObject({ status: "rejected" });
      const [first] = commits;
      if (first.status !== "rejected") throw new Error("committed");
      expect(first.reason).toBeInstanceOf(StoreUnavailable);
      expect(["badReply", "notInitialised"]).toContain(first.reason.failure);
    }
    const is = await everythingIn(redis);
    const own = ([name]: readonly [string, string]) => name.startsWith(prefix ?? "");
    // Other instances may share the partition and change its counters; this one must not change.
    const stable = (all: ReadonlyMap<string, string>) =>
      [...all].filter(own).filter(([name]) => !name.includes("}:s:") || name.includes(instance));
    expect(stable(is)).toEqual(stable(was));
    await redis.command("del", key);
    await redis.command("restore", key, 0, kept as unknown as Buffer);
    await until("it goes on", async () => {
      const update = { kind: "update", before, after: changed } as const;
      const outcome = await store.commit(instance, [update], []).catch(() => undefined);
      return outcome?.kind === "committed";
    });
  });

  test("in place of a record is not answered as an absent record", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const instance = await installed(opened.store);
    const { uniqueIdentifier } = await create(opened.store, instance);
    const [key] = await redis.buffers("keys", "{p*}:o:*");
    await redis.command("del", key ?? "");
    await redis.command("lpush", key ?? "", "x");
    await expect(opened.store.read(instance, [uniqueIdentifier])).rejects.toMatchObject({
      failure: "corrupt",
    });
  });

  test.each([
    ["cut short", (bytes: Buffer) => bytes.subarray(0, 20)],
    ["one byte of the record changed", (bytes: Buffer) => flip(bytes, bytes.length - 3)],
    ["one byte of its tag changed", (bytes: Buffer) => flip(bytes, 3)],
  ])("in place of a record is reported as corrupt: %s", async (_name, damage) => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    const instance = await installed(opened.store);
    const { uniqueIdentifier } = await create(opened.store, instance);
    const [key] = await redis.buffers("keys", "{p*}:o:*");
    const bytes = (await redis.buffers("get", key ?? "")) as unknown as Buffer;
    await redis.command("set", key ?? "", damage(bytes));
    for (const call of [
      () => opened.store.read(instance, [uniqueIdentifier]),
      () => opened.store.find(instance, everything),
    ]) {
      await expect(call()).rejects.toMatchObject({ failure: "corrupt" });
    }
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** Every key's content, except the covered numbers and beats, which change by themselves. */
async function everythingIn(redis: RedisServer): Promise<ReadonlyMap<string, string>> {
  const all = new Map<string, string>();
  for (const key of await redis.buffers("keys", "*")) {
    const name = key.toString("latin1");
    const bytes = (await redis.buffers("dump", key)) as unknown as Buffer;
    if (!name.endsWith(":head") && !name.endsWith(":beat")) all.set(name, bytes.toString("hex"));
  }
  return all;
}

/** Erases the covered numbers, as if the committing node had died before it noted them. */
async function forgetCovered(redis: RedisServer): Promise<void> {
  for (const key of await redis.buffers("keys", "{p*}:head")) {
    await redis.command("config", "set", "maxmemory", "0");
    await redis.command("setrange", key, 16, Buffer.alloc(6));
  }
  await redis.command("config", "set", "maxmemory", "1mb");
}

test("a node's clock is compared with the clock of Redis", async () => {
  await using redis = await RedisServer.start();
  await using _first = await openNewStore({ address: redis.address, ...refusingOptions });
  for (const [aheadMs, doubted] of [
    [0, false],
    [50_000, false],
    [70_000, true],
    [-50_000, false],
    [-70_000, true],
  ] as const) {
    const clock = { ...systemClock, wallMs: () => Date.now() + aheadMs };
    await using opened = await openStore({ address: redis.address, ...patientOptions, clock });
    const { store } = opened;
    const check = new ClockCheck(clock, () => [store.clockReading() ?? []].flat());
    // An answer that a busy machine delays says less of the clock; the next marker brings another.
    await until("the clock of Redis is compared", () => {
      const [offset] = check.offsets();
      if (offset === undefined || Math.abs(offset.aheadMs - aheadMs) >= 10_000) return false;
      return (check.doubt() !== undefined) === doubted || `${offset.aheadMs} ms`;
    });
  }
});
