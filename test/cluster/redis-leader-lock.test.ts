import { setTimeout as sleep } from "node:timers/promises";
import { RedisLeaderLock } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";

interface Contest extends AsyncDisposable {
  readonly masters: readonly RedisServer[];
  readonly one: RedisLeaderLock;
  readonly other: RedisLeaderLock;
}

/** For a lock that must not end: a busy machine may take long between two steps. */
const longMs = 600_000;
/** How long a lock master may take: as long as a busy machine makes it, and less where some are frozen. */
const patientMs = 60_000;
const frozenMs = 3_000;

/** Opens a lock, and waits until all lock masters answer: opening itself waits for a bounded time. */
async function openLock(
  options: Parameters<typeof RedisLeaderLock.open>[0],
): Promise<RedisLeaderLock> {
  const lock = await RedisLeaderLock.open({ commandTimeoutMs: patientMs, ...options });
  await until("all lock masters answer", async () => {
    return (await lock.look()).answering === options.urls.length;
  });
  return lock;
}

/** Lock masters, and two nodes that want to lead. */
async function contest(masterCount = 3, commandTimeoutMs = patientMs): Promise<Contest> {
  await using stack = new AsyncDisposableStack();
  const masters = await Promise.all(
    Array.from({ length: masterCount }, async () =>
      stack.use(await RedisServer.start({ config: { appendonly: "no" } })),
    ),
  );
  const urls = masters.map(({ address }) => `redis://${address}`);
  const one = stack.use(await openLock({ urls, commandTimeoutMs }));
  const other = stack.use(await openLock({ urls, commandTimeoutMs }));
  const kept = stack.move();
  return { masters, one, other, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The value of the lock at a master. */
async function valueAt(master: RedisServer | undefined): Promise<unknown> {
  return master?.command("get", "{lock}:leader");
}

test("one node holds the lock, extends it and hands it over", async () => {
  await using c = await contest();
  expect(await c.one.acquire(longMs)).toBe(true);
  expect(await c.other.acquire(longMs)).toBe(false);
  expect(await c.other.extend(longMs)).toBe(false);
  expect(await c.one.extend(longMs)).toBe(true);
  await c.one.release();
  expect(await c.one.extend(longMs)).toBe(false);
  expect(await c.other.acquire(longMs)).toBe(true);
});

test("two regions at the same lock masters each have a leader", async () => {
  await using stack = new AsyncDisposableStack();
  const master = stack.use(await RedisServer.start({ config: { appendonly: "no" } }));
  const open = async (resource: string) =>
    stack.use(await openLock({ urls: [`redis://${master.address}`], resource }));
  const [a, b, again] = [await open("leader:a"), await open("leader:b"), await open("leader:a")];
  expect(await a.acquire(longMs)).toBe(true);
  expect(await b.acquire(longMs)).toBe(true);
  expect(await again.acquire(longMs)).toBe(false);
});

test("an extended lock outlasts its first time; the lock of a holder that vanished ends", async () => {
  await using c = await contest();
  const firstMs = 1_000;
  // Where a busy machine lets the first time pass, the lock has ended, and is taken again.
  await until("it is extended in its first time", async () => {
    return (await c.one.acquire(firstMs)) && (await c.one.extend(longMs));
  });
  await sleep(firstMs + 100);
  expect(await c.other.acquire(600)).toBe(false);
  await until("it is shortened", () => c.one.extend(900));
  await until("its time is over", () => c.other.acquire(longMs));
});

test("a paused holder does not take the lock from its successor", async () => {
  await using c = await contest();
  await until("it is held", () => c.one.acquire(200));
  await until("its time is over", () => c.other.acquire(longMs));
  const value = await valueAt(c.masters[0]);
  expect(await c.one.extend(longMs)).toBe(false);
  await c.one.release();
  expect(await valueAt(c.masters[0])).toBe(value);
  await until("it is extended", () => c.other.extend(longMs));
});

test("a failed extension leaves the lock as it was: its holder still leads, and tries again", async () => {
  await using c = await contest(3, frozenMs);
  await until("it is held", () => c.one.acquire(longMs));
  const value = await valueAt(c.masters[0]);
  for (const master of c.masters.slice(1)) master.signal("SIGSTOP");
  expect(await c.one.extend(longMs)).toBe(false);
  expect(await valueAt(c.masters[0])).toBe(value);
  for (const master of c.masters.slice(1)) master.signal("SIGCONT");
  expect(await c.other.acquire(longMs)).toBe(false);
  await until("it is extended", () => c.one.extend(longMs));
});

test("a minority of dead lock masters does not matter, a majority does", async () => {
  await using c = await contest();
  await c.masters[0]?.kill();
  await until("it is noticed", () => c.one.acquire(longMs));
  await until("it is extended", () => c.one.extend(longMs));
  await c.masters[1]?.kill();
  expect(await c.one.extend(longMs)).toBe(false);
  expect(await c.other.acquire(longMs)).toBe(false);
  await c.one.release();
});

test("at most one of ten nodes that ask at once leads, even with a single lock master", async () => {
  await using c = await contest(1);
  const urls = c.masters.map(({ address }) => `redis://${address}`);
  const locks = await Promise.all(Array.from({ length: 10 }, () => openLock({ urls })));
  const won = await Promise.all(locks.map((lock) => lock.acquire(longMs)));
  expect(won.filter(Boolean)).toHaveLength(1);
  for (const lock of locks) await lock[Symbol.asyncDispose]();
  expect(await valueAt(c.masters[0])).toBeNull();
});

test("nodes hear at the lock masters which stores the others use, and an old note is forgotten", async () => {
  await using c = await contest();
  const [one, other] = ["0a".repeat(16), "0b".repeat(16)];
  expect(await c.one.noteStore("a1", one)).toEqual([]);
  /** What the second node hears right after the first one has noted a store; a note is forgotten after ten seconds. */
  const heardOf = async (noted: string) => {
    await c.one.noteStore("a1", noted);
    return c.other.noteStore("a2", other);
  };
  const ofA1 = { node: "a1", storeId: one, ageMs: expect.any(Number) };
  await expect.poll(() => heardOf(one)).toEqual([ofA1, ofA1, ofA1]);
  const ofA2 = { node: "a2", storeId: other, ageMs: expect.any(Number) };
  const heardOfA2 = async () => {
    await c.other.noteStore("a2", other);
    return c.one.noteStore("a1", other);
  };
  await expect.poll(heardOfA2).toEqual([ofA2, ofA2, ofA2]);
  await expect.poll(() => heardOf(other)).toEqual(Array(3).fill({ ...ofA1, storeId: other }));
  await c.masters[0]?.kill();
  await until("two lock masters answer", async () => {
    return (await heardOf(other)).length === 2;
  });
  // A store that is its own lock master must become empty when it is emptied.
  await expect.poll(() => leftAfter(c, 1)).toBeGreaterThan(0);
  await Promise.all(c.masters.map((master) => master.kill()));
  await until("no lock master answers", async () => {
    return (await c.other.noteStore("a2", other)).length === 0;
  });
});

/** In how many milliseconds a lock master forgets the notes that a node has just added to. */
async function leftAfter({ masters, other }: Contest, place: number): Promise<number> {
  await other.noteStore("a2", "0b".repeat(16));
  return Number(await masters[place]?.command("pttl", "{lock}:leader:stores"));
}

/** What each of the two nodes hears after both have noted their stores. */
async function heard({ one, other }: Contest, names: readonly [string, string] = ["a1", "a2"]) {
  const byOne = await one.noteStore(names[0], "0a".repeat(16), "process 1");
  return [byOne, await other.noteStore(names[1], "0b".repeat(16), "process 2")];
}

test("two nodes that have the same name by mistake hear of each other's stores", async () => {
  await using c = await contest(1);
  await expect
    .poll(() => heard(c, ["a1", "a1"]))
    .toMatchObject([
      [{ node: "a1", storeId: "0b".repeat(16) }],
      [{ node: "a1", storeId: "0a".repeat(16) }],
    ]);
});

describe("what no node writes does not end the comparison of stores at a lock master:", () => {
  const key = "{lock}:leader:stores";
  const store = "0c".repeat(16);
  const hour = 3_600_000;
  const list = (...note: readonly unknown[]) => ["set", key, JSON.stringify([note])] as const;
  test.each<[string, (nowMs: number) => readonly [name: string, ...string[]]]>([
    ["text that is no JSON", () => ["set", key, "x"]],
    ["JSON that is no list", () => ["set", key, "7"]],
    ["elements that are no notes", () => ["set", key, `[null,7,"x",{},[1,2,3],["a3"]]`]],
    ["a time that is no number", () => list("a3", store, "x")],
    ["a key of another type", () => ["lpush", key, "x"]],
    ["a time far ahead", (now) => list("a3", store, now + hour)],
    ["an old time", (now) => list("a3", store, now - hour)],
    ["a long name", (now) => list("a".repeat(33), store, now)],
    ["a name of two lines", (now) => list("a3\n", store, now)],
    ["a store that is no id", (now) => list("a3", "x\n", now)],
  ])("%s", async (_, command) => {
    await using c = await contest(1);
    await c.masters[0]?.command(...command(Date.now()));
    await expect.poll(() => heard(c)).toMatchObject([[{ node: "a2" }], [{ node: "a1" }]]);
    await expect.poll(() => leftAfter(c, 0)).toBeGreaterThan(0);
  });

  test("too many notes", async () => {
    await using c = await contest(1);
    const heardOf = async () => {
      const notes = Array.from({ length: 500 }, (_, i) => [`n${i}`, store, Date.now(), `${i}`]);
      await c.masters[0]?.command("set", key, JSON.stringify(notes));
      return c.one.noteStore("a1", store);
    };
    await expect.poll(heardOf).toHaveLength(63);
  });
});

describe("a node that only asks ends its connection to a frozen lock master, and opens another one:", () => {
  test.each<[string, (lock: RedisLeaderLock) => Promise<unknown>]>([
    ["whether the lock is held", (lock) => lock.acquire(longMs)],
    ["which stores others use", (lock) => lock.noteStore("a2", "0b".repeat(16))],
  ])("%s", async (_, ask) => {
    await using c = await contest(3, frozenMs);
    const [frozen] = c.masters;
    const connections = async () => {
      const lines = String(await frozen?.command("client", "list")).split("\n");
      const ours = lines.filter((line) => line.includes("name=holdfast-lock"));
      return ours.map((line) => /^id=(\d+)/.exec(line)?.[1]);
    };
    await until("it is held", () => c.one.acquire(longMs));
    const before = await connections();
    expect(before).toHaveLength(2);
    frozen?.signal("SIGSTOP");
    await ask(c.other);
    frozen?.signal("SIGCONT");
    await until("it is connected again", async () => (await c.other.look()).answering === 3);
    await until("the old connection has ended", async () => (await connections()).length === 2);
    expect((await connections()).filter((id) => before.includes(id))).toHaveLength(1);
  });
});
