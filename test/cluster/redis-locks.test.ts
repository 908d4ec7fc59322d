import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Locks, ManagedObject } from "@holdfast/engine";
import { RedisLocks, type RedisStore } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import { connected, patientLocks } from "../support/redis-locks.ts";
import {
  create,
  installed,
  openNewStore,
  openStore,
  patientOptions,
} from "../support/redis-store.ts";

interface LockGroup extends AsyncDisposable {
  readonly masters: readonly RedisServer[];
  readonly locks: readonly RedisLocks[];
  readonly results: string[];
}

/** Three lock masters and two nodes that use them. */
async function lockGroup(waitMs = 2_000): Promise<LockGroup> {
  await using stack = new AsyncDisposableStack();
  const masters = await Promise.all(
    [1, 2, 3].map(async () => stack.use(await RedisServer.start({ config: { appendonly: "no" } }))),
  );
  const results: string[] = [];
  const urls = masters.map(({ address }) => `redis://${address}`);
  const locks = await Promise.all(
    [1, 2].map(async () =>
      stack.use(
        await RedisLocks.open({
          urls,
          waitMs,
          ...patientLocks,
          observe: (event) => event.type === "lock" && results.push(event.result),
        }),
      ),
    ),
  );
  for (const one of locks) await connected(one, results);
  const kept = stack.move();
  return { masters, locks, results, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Contenders of both nodes for one resource; returns the most inside at once, and the time. */
async function contend(locks: readonly Locks[], contenders: number) {
  const resource = randomUUID();
  let inside = 0;
  let most = 0;
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: contenders }, async (_, index) => {
      await locks[index % locks.length]?.withLock(resource, async () => {
        inside += 1;
        most = Math.max(most, inside);
        await sleep(5);
        inside -= 1;
      });
    }),
  );
  return { most, ms: performance.now() - startedMs };
}

async function once(locks: Locks): Promise<void> {
  expect(await locks.withLock(randomUUID(), async () => "done")).toBe("done");
}

describe("three lock masters", () => {
  test("let contenders of two nodes in one at a time, and everybody has a turn", async () => {
    await using group = await lockGroup(10_000);
    expect((await contend(group.locks, 12)).most).toBe(1);
    expect(group.results).toEqual(Array(12).fill("acquired"));
  });

  test.each(["killed", "paused"] as const)(
    "still lock with one %s, and nothing hangs",
    async (how) => {
      await using group = await lockGroup(10_000);
      const [first] = group.masters;
      if (how === "killed") await first?.kill();
      else first?.signal("SIGSTOP");
      for (let i = 0; i < 10; i += 1) await once(group.locks[i % 2] as Locks);
      expect((await contend(group.locks, 8)).most).toBe(1);
      expect(new Set(group.results)).toEqual(new Set(["acquired"]));
    },
  );

  test("do not lock with two lost: the body still runs, at once, and this is reported", async () => {
    await using group = await lockGroup();
    const [first, second] = group.masters;
    await first?.kill();
    second?.signal("SIGSTOP");
    for (const locks of group.locks) await once(locks);
    group.results.length = 0;
    for (const locks of group.locks) await once(locks);
    expect(new Set(group.results)).toEqual(new Set(["unavailable"]));
    second?.signal("SIGCONT");
    await until("locks again", async () => {
      group.results.length = 0;
      for (const locks of group.locks) await once(locks);
      return group.results.every((result) => result === "acquired");
    });
  });

  test("delay no contender for longer than the wait if a holder does not end", async () => {
    await using group = await lockGroup(300);
    const [mine, other] = group.locks;
    const resource = randomUUID();
    const { promise: held, resolve: end } = deferred();
    const holder = mine?.withLock(resource, () => held);
    await until("it is held", () => group.results.length === 1);
    await other?.withLock(resource, async () => undefined);
    expect(group.results).toEqual(["acquired", "contended"]);
    end();
    await holder;
  });

  test("a full lock master still gives locks, which are small and expire", async () => {
    await using redis = await RedisServer.start({ config: { maxmemory: "100kb" } });
    const results: string[] = [];
    await using locks = await RedisLocks.open({
      urls: [`redis://${redis.address}`],
      waitMs: 200,
      ...patientLocks,
      observe: (event) => event.type === "lock" && results.push(event.result),
    });
    await connected(locks, results);
    await expect(redis.command("set", "x", "1")).rejects.toThrow("OOM");
    await once(locks);
    expect(results).toEqual(["acquired"]);
  });
});

/** Locks that everybody always gets. */
const noLocks: Locks = { withLock: (_resource, body) => body() };

/** Adds one to the object's number as a lifecycle transition does: lock, read, decide, compare-and-set. */
async function increment(store: RedisStore, locks: Locks, instance: string, id: string) {
  let conflicts = 0;
  for (;;) {
    const outcome = await locks.withLock(id, async () => {
      const [before] = await store.read(instance, [id]);
      if (before === undefined) throw new Error("not found");
      const after: ManagedObject = { ...before.object, lastChange: before.object.lastChange + 1 };
      return store.commit(instance, [{ kind: "update", before, after }], []);
    });
    if (outcome.kind === "committed") return conflicts;
    expect(outcome.kind).toBe("conflict");
    conflicts += 1;
  }
}

describe("correctness does not depend on the lock", () => {
  test.each(["locks that always succeed", "real locks"])("%s lose no change", async (which) => {
    await using redis = await RedisServer.start();
    await using first = await openNewStore({ address: redis.address, ...patientOptions });
    await using second = await openStore({ address: redis.address, ...patientOptions });
    const results: string[] = [];
    await using real = await RedisLocks.open({
      urls: [`redis://${redis.address}`],
      waitMs: 300_000,
      ...patientLocks,
      observe: (event) => event.type === "lock" && results.push(event.result),
    });
    await connected(real, results);
    const locks = which === "real locks" ? real : noLocks;
    const instance = await installed(first.store);
    const { uniqueIdentifier: id, lastChange } = await create(first.store, instance);
    const conflicts = await Promise.all(
      Array.from({ length: 24 }, (_, index) =>
        increment(index % 2 ? first.store : second.store, locks, instance, id),
      ),
    );
    const [stored] = await first.store.read(instance, [id]);
    expect(stored?.object.lastChange).toBe(lastChange + 24);
    const total = conflicts.reduce((sum, each) => sum + each, 0);
    // The purpose of the lock: no attempt is wasted.
    if (which === "real locks") expect(total).toBe(0);
    else expect(total).toBeGreaterThan(0);
  });
});

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
