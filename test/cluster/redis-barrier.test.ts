import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Event, type StoredObject, StoreUnavailable } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { forgetReplica, listReplicas, type RedisStore } from "@holdfast/redis";
import { answerOf, Relay, until } from "@holdfast/testing";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { connectionSettings } from "../../packages/redis/src/connection/options.ts";
import { redisConnections } from "../../packages/redis/src/connection/redis-connection.ts";
import { acknowledged } from "../../packages/redis/src/session/barrier.ts";
import { type RedisGroup, RedisServer, startGroup, storePrograms } from "../support/redis.ts";
import {
  create,
  initStore,
  installed,
  type OpenStore,
  openNewStore,
  openStore,
  patientConnection,
  patientOptions,
} from "../support/redis-store.ts";

/** The failure of a rejected store call. */
async function failureOf(call: Promise<unknown>): Promise<string> {
  try {
    return `resolved: ${JSON.stringify(await call)}`;
  } catch (error) {
    return error instanceof StoreUnavailable ? error.failure : String(error);
  }
}

/** Asks again while a busy machine keeps a barrier short, or takes the lease. */
function insisted<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return answerOf("an answer of the store", ask, (error) => error instanceof StoreUnavailable);
}

/** A busy machine gives the test nothing for a while: what should last must last longer, and other tests wait for the end. */
const patient = { ...patientConnection, storeLeaseMs: 8_000, markerMs: 1_000 };

async function inState(store: RedisStore, state: string): Promise<void> {
  await until(`state ${state}`, () => store.state() === state);
}

/** A group with a frozen replica and a store whose lease is still full. */
interface Frozen extends AsyncDisposable {
  readonly group: RedisGroup;
  readonly store: RedisStore;
  readonly instance: string;
  readonly covered: StoredObject;
  readonly opened: OpenStore;
}

async function frozen(prepare?: (group: RedisGroup) => Promise<unknown>): Promise<Frozen> {
  await using stack = new AsyncDisposableStack();
  const group = stack.use(await startGroup({ replicas: 1 }));
  const opened = stack.use(await openNewStore({ ...patient, address: group.primary.address }));
  const { store } = opened;
  const instance = await insisted(() => installed(store));
  const { uniqueIdentifier } = await insisted(() => create(store, instance));
  const [covered] = await insisted(() => store.read(instance, [uniqueIdentifier]));
  if (covered === undefined) throw new Error("not read");
  await prepare?.(group);
  group.replicas[0]?.signal("SIGSTOP");
  expect(store.state()).toBe("full");
  const kept = stack.move();
  return {
    group,
    store,
    instance,
    covered,
    opened,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The control of every test here: a connection without own writes gets "all is covered". */
async function falseAnswer(primary: RedisServer): Promise<number[]> {
  return (await primary.command("waitaof", 1, 1, 300)) as number[];
}

test("a lease counts from the beginning of its barrier: a barrier that took longer gives no lease", async () => {
  await using redis = await RedisServer.start();
  let aheadMs = 0;
  const clock = {
    monotonicMs: () => performance.now() + aheadMs,
    wallMs: () => Date.now() + aheadMs,
  };
  const jumpMs = 60_000;
  const states: string[] = [];
  let opened: OpenStore | undefined;
  const observe = (event: Event): void => {
    if (event.type !== "barrier" || !event.full || event.durationMs < jumpMs) return;
    states.push(opened?.store.state() ?? "not open");
  };
  const times = { connectTimeoutMs: 30_000, commandTimeoutMs: 30_000 };
  opened = await openNewStore({ ...times, address: redis.address, clock, observe });
  await using _opened = opened;
  const { store } = opened;
  const instance = await insisted(() => installed(store));
  redis.signal("SIGSTOP");
  // From here on a barrier waits until Redis continues: this write's own, or the one before it.
  const made = failureOf(create(store, instance));
  await sleep(20);
  aheadMs = jumpMs;
  redis.signal("SIGCONT");
  await until("the barrier came back", () => states.length > 0);
  expect(states).toEqual(["none"]);
  // The next barrier is quick.
  await inState(store, "full");
  await made;
});

// Valkey's WAITAOF says at once that the primary has it.
test.skipIf(storePrograms !== undefined)(
  "a barrier that the primary's own disk has not reached covers nothing (needs Redis)",
  async () => {
    // Redis flushes once a second: a barrier of a few milliseconds mostly ends before.
    await using redis = await RedisServer.start({ config: { appendfsync: "everysec" } });
    const settings = connectionSettings({ address: redis.address, ...patient });
    const connection = await redisConnections.to(settings, redis.address, "test");
    const found = new Set<boolean>();
    for (let tries = 0; tries < 100 && !found.has(false); tries += 1) {
      await connection.call("set", "key", String(tries));
      found.add((await acknowledged(connection, 0, 5, () => () => undefined)).local);
    }
    expect(found).toContain(false);
    expect(await acknowledged(connection, 0, 60_000, () => () => undefined)).toMatchObject({
      local: true,
    });
    connection.destroy("the test is over");
  },
);

describe("a frozen replica", () => {
  test("stops all promises of changes; covered records are read, and after the thaw all continues", async () => {
    await using f = await frozen();
    const { store, instance, group, covered } = f;
    expect(await falseAnswer(group.primary)).toEqual([1, 1]);
    const after = sampleObject(instance, randomUUID());
    expect(await failureOf(store.commit(instance, [{ kind: "create", after }], []))).toBe(
      "barrierShort",
    );
    await inState(store, "readOnly");
    expect(await failureOf(create(store, instance))).toBe("noLease");
    const read = await store.read(instance, [covered.object.uniqueIdentifier]);
    expect(read[0]?.tag).toBe(covered.tag);
    // It is in Redis, but a fail-over could take it back.
    expect(await failureOf(store.read(instance, [after.uniqueIdentifier]))).toBe("barrierShort");
    expect(await failureOf(store.find(instance, { live: true, destroyed: false, limit: 9 }))).toBe(
      "barrierShort",
    );
    group.replicas[0]?.signal("SIGCONT");
    await inState(store, "full");
    const [survived] = await insisted(() => store.read(instance, [after.uniqueIdentifier]));
    expect(survived?.object.uniqueIdentifier).toBe(after.uniqueIdentifier);
    await insisted(() => create(store, instance));
  });

  test("keeps another node, whose connections only read, from answering what is not covered", async () => {
    await using f = await frozen();
    const address = f.group.primary.address;
    await using other = await openStore({ ...patient, address, leaseWaitMs: 2_000 });
    f.group.replicas[0]?.signal("SIGCONT");
    await until("barriers are full", async () => {
      const made = [f.store, other.store].map((store) => failureOf(create(store, f.instance)));
      return (await Promise.all(made)).every((said) => said.startsWith("resolved"));
    });
    f.group.replicas[0]?.signal("SIGSTOP");
    const after = sampleObject(f.instance, randomUUID());
    const commit = failureOf(f.store.commit(f.instance, [{ kind: "create", after }], []));
    await until("the record is in Redis", async () => {
      const sizes = (await f.group.primary.command("dbsize")) as number;
      return sizes > 0 && (await exists(f.group.primary, after.uniqueIdentifier));
    });
    const ids = [after.uniqueIdentifier];
    expect(await failureOf(other.store.read(f.instance, ids))).toBe("barrierShort");
    expect(await commit).toBe("barrierShort");
    f.group.replicas[0]?.signal("SIGCONT");
    await inState(other.store, "full");
    const [read] = await insisted(() => other.store.read(f.instance, ids));
    expect(read).toBeDefined();
    expect(other.events).toContainEqual({ type: "coveredRead", waited: true });
  });

  test.each(["already so", "conflict", "status", "release", "reservation", "audit"])(
    "makes the barrier short even for a script that writes nothing or little: %s",
    async (kind) => {
      // Wait until every earlier write on the connection is acknowledged.
      await using f = await frozen(() => sleep(400));
      const { store, instance, covered } = f;
      const stale = { ...covered, tag: "0".repeat(32) };
      const calls: Record<string, () => Promise<unknown>> = {
        "already so": () =>
          store.commit(instance, [{ kind: "update", before: covered, after: covered.object }], []),
        conflict: () =>
          store.commit(instance, [{ kind: "update", before: stale, after: covered.object }], []),
        status: () => store.install(instance),
        release: () => store.release(instance, "unknown"),
        // A fail-over could drop it if only this Redis had it; a Destroy could win over an Activate.
        reservation: () => store.reserve(instance, [covered.object.uniqueIdentifier], "operation"),
        audit: () => store.appendAudit(instance, [auditEvent()], true),
      };
      const failure = failureOf(calls[kind]?.() ?? Promise.resolve());
      expect(await falseAnswer(f.group.primary)).toEqual([1, 1]);
      expect(await failure).toBe("barrierShort");
    },
  );

  test.each([1, 20])("is not hidden by SCRIPT FLUSH before %i changes", async (count) => {
    await using f = await frozen((group) => group.primary.command("script", "flush"));
    const commits = Array.from({ length: count }, () => failureOf(create(f.store, f.instance)));
    for (const failure of await Promise.all(commits)) expect(failure).toBe("barrierShort");
    f.group.replicas[0]?.signal("SIGCONT");
    await inState(f.store, "full");
    await insisted(() => create(f.store, f.instance));
  });
});

test("after SCRIPT FLUSH the scripts are loaded again and nothing fails", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ ...patientOptions, address: redis.address });
  const instance = await installed(opened.store);
  for (const count of [1, 20]) {
    await redis.command("script", "flush");
    const made = await Promise.all(
      Array.from({ length: count }, () => create(opened.store, instance)),
    );
    const ids = made.map(({ uniqueIdentifier }) => uniqueIdentifier);
    await redis.command("script", "flush");
    expect((await opened.store.read(instance, ids)).every(Boolean)).toBe(true);
    const [stored] = await opened.store.read(instance, ids);
    if (stored === undefined) throw new Error("not read");
    const after = { ...stored.object, facts: { served: { time: 1, region: "a" } } };
    expect(await opened.store.markServed(instance, stored, after)).toBe(true);
    await redis.command("script", "flush");
    const page = await opened.store.find(instance, { live: true, destroyed: false, limit: 100 });
    expect(page.objects.length).toBeGreaterThanOrEqual(count);
  }
});

describe("a connection that is lost", () => {
  test.each(["cut", "hold"] as const)(
    "between the script and its barrier (%s) promises no change, and the store recovers",
    async (how) => {
      await using group = await startGroup({ replicas: 1 });
      await using proxy = await Relay.open(group.primary.port);
      const { address } = proxy;
      await using opened = await openNewStore({ ...patient, address, commandTimeoutMs: 3_000 });
      const { store } = opened;
      const instance = await insisted(() => installed(store));
      const after = sampleObject(instance, randomUUID());
      group.replicas[0]?.signal("SIGSTOP");
      let scripts = 0;
      proxy.watch = (bytes, way) => {
        if (way === "back") return "pass";
        if (bytes.includes(after.uniqueIdentifier.replaceAll("-", ""), 0, "hex")) scripts += 1;
        return scripts > 0 && bytes.includes("waitaof") ? how : "pass";
      };
      const failure = await failureOf(store.commit(instance, [{ kind: "create", after }], []));
      expect(["noLease", "timeout"]).toContain(failure);
      // The trap: the script ran, and WAITAOF on a new connection would answer that all is covered.
      expect(scripts).toBe(1);
      expect(await exists(group.primary, after.uniqueIdentifier)).toBe(true);
      expect(await falseAnswer(group.primary)).toEqual([1, 1]);
      expect(store.state()).toBe("none");
      proxy.watch = () => "pass";
      group.replicas[0]?.signal("SIGCONT");
      await inState(store, "full");
      const [read] = await insisted(() => store.read(instance, [after.uniqueIdentifier]));
      expect(read).toBeDefined();
    },
  );

  test("because it hangs is replaced, and the lease stays if it is only for reads", async () => {
    await using redis = await RedisServer.start();
    await using proxy = await Relay.open(redis.port);
    const { address } = proxy;
    await using opened = await openNewStore({ ...patient, address, commandTimeoutMs: 3_000 });
    const { store } = opened;
    const instance = await insisted(() => installed(store));
    const ids = [(await insisted(() => create(store, instance))).uniqueIdentifier];
    const leases = () => opened.events.filter(({ type }) => type === "lease").length;
    // On a busy machine the lease may end for another reason: then it is tried again.
    await until("a reading connection hangs, and the lease stays", async () => {
      await inState(store, "full");
      const before = leases();
      let held = false;
      proxy.watch = (bytes, way) => {
        if (way === "back" || held || !bytes.includes("mget")) return "pass";
        held = true;
        return "hold";
      };
      const first = await failureOf(store.read(instance, ids));
      if (first !== "timeout" || !held) return first;
      const next = await failureOf(store.read(instance, ids));
      return next.startsWith("resolved") && leases() === before;
    });
  });

  test("by CLIENT KILL ends the lease at once, unless it is only for reads", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ ...patientOptions, address: redis.address });
    const { store, events } = opened;
    const instance = await installed(store);
    const { uniqueIdentifier } = await create(store, instance);
    const leases = () => events.filter(({ type }) => type === "lease").length;
    const before = leases();
    await killNamed(redis, "holdfast-read");
    expect((await store.read(instance, [uniqueIdentifier]))[0]).toBeDefined();
    expect(leases()).toBe(before);
    await killNamed(redis, "holdfast-commit");
    await until("the lease ends", () => leases() > before);
    expect((await store.read(instance, [uniqueIdentifier]))[0]).toBeDefined();
    await create(store, instance);
  });
});

describe("every replica ever seen counts", () => {
  test("a foreign replica of priority 0 does not replace the promotable one", async () => {
    await using primary = await RedisServer.start();
    await using promotable = await RedisServer.start({ replicaOf: primary });
    await using _foreign = await RedisServer.start({
      replicaOf: primary,
      config: { "replica-priority": "0" },
    });
    await primary.replicasInStep(2);
    const address = primary.address;
    await using opened = await openNewStore({ ...patient, address, replicas: 1 });
    const instance = await insisted(() => installed(opened.store));
    promotable.signal("SIGSTOP");
    await primary.command("set", "marker", "1");
    expect(await primary.command("waitaof", 1, 1, 30_000)).toEqual([1, 1]);
    await primary.command("del", "marker");
    expect(await failureOf(create(opened.store, instance))).toBe("barrierShort");
  });

  test("every node waits for a lost replica until an operator forgets it", async () => {
    await using primary = await RedisServer.start();
    const times = { connectTimeoutMs: 30_000, commandTimeoutMs: 30_000 };
    const options = { address: primary.address, ...times };
    await using opened = await openNewStore(options);
    await using other = await openStore(options);
    const instance = await insisted(() => installed(opened.store));
    const replica = await RedisServer.start({ replicaOf: primary });
    try {
      await primary.replicasInStep(1);
      await until("the replica is noted", async () => (await listReplicas(options)).length === 1);
      await expect(forgetReplica(options, replica.address)).rejects.toThrow("is connected");
    } finally {
      await replica[Symbol.asyncDispose]();
    }
    await inState(opened.store, "readOnly");
    await inState(other.store, "readOnly");
    expect(await failureOf(create(opened.store, instance))).toBe("noLease");
    await using late = await openStore({ ...options, leaseWaitMs: 1_500 });
    await inState(late.store, "readOnly");
    expect(await listReplicas(options)).toMatchObject([
      { address: replica.address, connected: false },
    ]);
    expect(await forgetReplica(options, replica.address)).toBe(true);
    expect(await forgetReplica(options, replica.address)).toBe(false);
    for (const { store } of [opened, other, late]) await inState(store, "full");
    await insisted(() => create(other.store, instance));
  });

  test("configured replicas count too, even if none was ever seen", async () => {
    await using redis = await RedisServer.start();
    await initStore({ address: redis.address });
    await using opened = await openStore({ address: redis.address, replicas: 1 });
    await inState(opened.store, "readOnly");
    expect(await failureOf(opened.store.install("i"))).toBe("noLease");
  });

  test("if another system may promote a replica, a short barrier allows no reads", async () => {
    await using group = await startGroup({ replicas: 1 });
    await using opened = await openNewStore({
      address: group.primary.address,
      externalFailover: true,
    });
    const instance = await insisted(() => installed(opened.store));
    const { uniqueIdentifier } = await insisted(() => create(opened.store, instance));
    group.replicas[0]?.signal("SIGSTOP");
    await inState(opened.store, "none");
    expect(await failureOf(opened.store.read(instance, [uniqueIdentifier]))).toBe("noLease");
  });
});

test("a frozen primary gives an error instead of an endless wait, and service after the thaw", async () => {
  await using redis = await RedisServer.start();
  await using opened = await openNewStore({ address: redis.address });
  const { store } = opened;
  const instance = await insisted(() => installed(store));
  const { uniqueIdentifier } = await insisted(() => create(store, instance));
  redis.signal("SIGSTOP");
  const read = failureOf(store.read(instance, [uniqueIdentifier]));
  const commit = failureOf(create(store, instance));
  expect(["timeout", "noLease"]).toContain(await read);
  expect(["timeout", "noLease"]).toContain(await commit);
  expect(await failureOf(store.read(instance, [uniqueIdentifier]))).toMatch(/noLease|timeout/);
  redis.signal("SIGCONT");
  await inState(store, "full");
  expect((await insisted(() => store.read(instance, [uniqueIdentifier])))[0]).toBeDefined();
});

test("kill -9 and restart under load loses nothing that was acknowledged", async () => {
  await using group = await startGroup({ replicas: 1 });
  await using opened = await openNewStore({ address: group.primary.address });
  const { store } = opened;
  const instance = await insisted(() => installed(store));
  const acknowledged: string[] = [];
  let running = true;
  const writers = Array.from({ length: 16 }, async () => {
    while (running) {
      await create(store, instance).then(
        ({ uniqueIdentifier }) => acknowledged.push(uniqueIdentifier),
        () => undefined,
      );
    }
  });
  await until("some are acknowledged", () => acknowledged.length > 200);
  await group.primary.restart();
  const before = acknowledged.length;
  await until("changes are acknowledged again", () => acknowledged.length > before + 200);
  running = false;
  await Promise.all(writers);
  const read = await insisted(() => store.read(instance, acknowledged));
  expect(read.filter((stored) => stored === undefined)).toEqual([]);
});

function auditEvent() {
  const fixed = { time: 1, action: "read", outcome: "success", initiator: "i" } as const;
  return { ...fixed, requestId: randomUUID() };
}

/** Whether a record is in Redis, promised or not. */
async function exists(redis: RedisServer, uniqueIdentifier: string): Promise<boolean> {
  const client = new Redis(redis.port, redis.host, { lazyConnect: true, retryStrategy: null });
  try {
    await client.connect();
    const keys = await client.keysBuffer("{p*}:o:*");
    const id = Buffer.from(uniqueIdentifier.replaceAll("-", ""), "hex");
    return keys.some((key) => key.subarray(-16).equals(id));
  } finally {
    client.disconnect();
  }
}

async function killNamed(redis: RedisServer, name: string): Promise<void> {
  const clients = String(await redis.command("client", "list")).split("\n");
  for (const line of clients.filter((client) => client.includes(`name=${name} `))) {
    await redis.command("client", "kill", "id", /\bid=(\d+)/.exec(line)?.[1] ?? "");
  }
}
