import { setTimeout as sleep } from "node:timers/promises";
import { partitionOf, type StoredObject, StoreUnavailable } from "@holdfast/engine";
import { forgetReplica, type RedisStore } from "@holdfast/redis";
import { freePort, Relay, until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import { readPartitionHead } from "../../packages/redis/src/connection/record-header.ts";
import { RedisServer, SentinelServer, sentinelName, startGroup } from "../support/redis.ts";
import {
  create,
  installed,
  openNewStore,
  openStore,
  patientOptions,
  retried,
} from "../support/redis-store.ts";

async function readOne(store: RedisStore, instance: string, id: string): Promise<StoredObject> {
  const [stored] = await store.read(instance, [id]);
  if (stored === undefined) throw new Error("not found");
  return stored;
}

/** Reads in a loop; keeps when each read ended and what it saw. */
function readForEver(store: RedisStore, instance: string, id: string) {
  const seen: { readonly endedMs: number; readonly answer: number | "absent" | "unavailable" }[] =
    [];
  const stop = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const answer = await store.read(instance, [id]).then(
        ([stored]) => stored?.object.lastChange ?? ("absent" as const),
        (error: unknown) => {
          if (error instanceof StoreUnavailable) return "unavailable" as const;
          throw error;
        },
      );
      seen.push({ endedMs: performance.now(), answer });
      await sleep(2);
    }
  };
  // Two at a time: one may hang on the frozen process, and the other one still reads.
  const loops = Promise.all([loop(), loop()]);
  return {
    seen,
    async stop(): Promise<void> {
      stop.abort();
      await loops;
    },
  };
}

test("a deposed primary that thaws after its replica's promotion answers no request", async () => {
  await using group = await startGroup({ replicas: 2, sentinels: 3, downAfterMs: 3_000 });
  const { primary } = group;
  const sentinels = group.sentinels.map(({ address }) => address);
  const options = { sentinels, name: sentinelName };
  await using usual = await openNewStore(options);
  // Its connections outlast the freeze: only the lease keeps it from believing a stale answer.
  const patientStore = () => openStore({ ...options, commandTimeoutMs: 60_000 });
  await using patient = await retried(patientStore);
  // And one that knows no Sentinel: nothing tells it to close its connections.
  const plain = { address: primary.address, externalFailover: true, commandTimeoutMs: 60_000 };
  await using blind = await retried(() => openStore(plain));
  const instance = await installed(usual.store);
  const { uniqueIdentifier: id } = await retried(() => create(usual.store, instance));
  await retried(() => readOne(patient.store, instance, id));
  const [key] = await recordKeys(primary);
  const old = await primary.command("getrange", key ?? "", 0, 15);
  const stuck = readForEver(blind.store, instance, id);
  const readers = [usual, patient].map(({ store }) => readForEver(store, instance, id));
  primary.signal("SIGSTOP");
  const late = blind.store.digests(partitionOf(instance)).catch((error: unknown) => error);
  await until("a promotion", async () => (await group.promoted()) !== primary.address);
  const promoted = await group.promoted();
  // A client changes the object at the promoted primary, and the change is acknowledged.
  await using writer = await openStore({ address: promoted, ...patientOptions });
  const before = await readOne(writer.store, instance, id);
  const after = { ...before.object, lastChange: 2_000_000_000 };
  expect(await writer.store.commit(instance, [{ kind: "update", before, after }], [])).toEqual({
    kind: "committed",
  });
  const changedMs = performance.now();
  // The control: the deposed primary still answers with the old record. It is asked before the Sentinels can tell it.
  const control = [primary.command("getrange", key ?? "", 0, 15), primary.info("role")];
  primary.signal("SIGCONT");
  expect(await Promise.all(control)).toEqual([old, "master"]);
  // It was asked within the lease, and is answered after it.
  expect(await late).toBeInstanceOf(StoreUnavailable);
  await until("both read again", () =>
    readers.every(({ seen }) => seen.at(-1)?.answer === after.lastChange),
  );
  await until(
    "the old primary follows",
    async () => (await primary.info("role").catch(() => "")) === "slave",
  );
  await Promise.all([stuck, ...readers].map((reader) => reader.stop()));
  expect(stuck.seen.some(({ endedMs }) => endedMs > changedMs)).toBe(true);
  for (const { seen } of [stuck, ...readers]) {
    const late = seen.filter(({ endedMs }) => endedMs > changedMs).map(({ answer }) => answer);
    expect(late.filter((answer) => !isUnavailable(answer) && answer !== after.lastChange)).toEqual(
      [],
    );
    expect(seen.map(({ answer }) => answer)).not.toContain("absent");
  }
  await until("full barriers", async () => {
    return usual.store.state() === "full" && patient.store.state() === "full";
  });
  await retried(() => create(usual.store, instance));
});

function isUnavailable(answer: unknown): boolean {
  return answer === "unavailable";
}

test("after a fail-over without the old primary there are reads, and no writes until it is back", async () => {
  await using group = await startGroup({ replicas: 1, sentinels: 3, downAfterMs: 3_000 });
  const sentinels = group.sentinels.map(({ address }) => address);
  await using opened = await openNewStore({ sentinels, name: sentinelName });
  const { store } = opened;
  const instance = await installed(store);
  const creating = Array.from({ length: 20 }, () => retried(() => create(store, instance)));
  const made = await Promise.all(creating);
  // The covered number is noted a moment after the promise, and copied then.
  const [replica] = group.replicas;
  if (replica === undefined) throw new Error("no replica");
  await until("the replica has it", () => isCovered(replica, partitionOf(instance)));
  await group.primary.kill();
  await until("reads", async () => {
    const read = store.read(instance, [made[0]?.uniqueIdentifier ?? ""]);
    return (await read.catch(() => [])).length === 1;
  });
  const ids = made.map(({ uniqueIdentifier }) => uniqueIdentifier);
  await until("a read lease", () => store.state() === "readOnly");
  const read = await retried(() => store.read(instance, ids));
  expect(read.every((stored) => stored !== undefined)).toBe(true);
  await expect(create(store, instance)).rejects.toMatchObject({ failure: "noLease" });
  await group.primary.restart();
  await until("full barriers", () => store.state() === "full");
  await retried(() => create(store, instance));
});

test("a late writer overwrites nothing, even if a fail-over gave the same change number twice", async () => {
  await using primary = await RedisServer.start();
  await using link = await Relay.open(primary.port);
  await using replica = await RedisServer.start({ replicaOf: link });
  await primary.replicasInStep(1);
  // The change that is lost is not promised within this time.
  const times = { ...patientOptions, storeLeaseMs: 4_000, barrierTimeoutMs: 1_000 };
  await using first = await openNewStore({ address: primary.address, ...times });
  const instance = await installed(first.store);
  const made = await retried(() => create(first.store, instance));
  const id = made.uniqueIdentifier;
  const base = await retried(() => readOne(first.store, instance, id));
  link.cut(true);
  const lost = { ...made, lastChange: 111 };
  await expect(
    first.store.commit(instance, [{ kind: "update", before: base, after: lost }], []),
  ).rejects.toBeInstanceOf(StoreUnavailable);
  const lostNumber = await changeNumber(primary);
  await primary.kill();
  await replica.command("replicaof", "no", "one");
  await using second = await openStore({ address: replica.address, ...patientOptions });
  const winner = { ...made, lastChange: 222 };
  const committed = { kind: "committed" };
  const update = { kind: "update", before: base, after: winner } as const;
  expect(await second.store.commit(instance, [update], [])).toEqual(committed);
  // The control: a counter would call the two changes the same version.
  expect(await changeNumber(replica)).toBe(lostNumber);
  const { encodeRecord, tagOf } = await import("@holdfast/engine");
  const paused = { object: lost, tag: tagOf(encodeRecord(lost)) };
  const late = { kind: "update", before: paused, after: { ...lost, lastChange: 333 } } as const;
  expect(await second.store.commit(instance, [late], [])).toEqual({
    kind: "conflict",
    uniqueIdentifier: id,
  });
  expect((await readOne(second.store, instance, id)).object.lastChange).toBe(222);
});

test("with Sentinels that use host names, the read lease holds, and a forgotten replica stays forgotten", async () => {
  const announce = (server: { readonly port: number }) => ({
    "replica-announce-ip": "localhost",
    "replica-announce-port": String(server.port),
  });
  const [a, b] = [await freePort(), await freePort()];
  await using primary = await RedisServer.start({ port: a, config: announce({ port: a }) });
  await using replica = await RedisServer.start({
    port: b,
    config: announce({ port: b }),
    replicaOf: { host: "localhost", port: a },
  });
  await primary.replicasInStep(1);
  await using sentinel = await SentinelServer.watching({ host: "localhost", port: a }, 1, {
    downAfterMs: 5_000,
    config: { "sentinel resolve-hostnames": "yes", "sentinel announce-hostnames": "yes" },
  });
  await until("the Sentinel knows the replica", async () => {
    const flat = (await sentinel.command("sentinel", "master", sentinelName)) as string[];
    return flat[flat.indexOf("num-slaves") + 1] === "1";
  });
  const options = { sentinels: [sentinel.address], name: sentinelName };
  await using opened = await openNewStore(options);
  const { store } = opened;
  const instance = await installed(store);
  const { uniqueIdentifier } = await retried(() => create(store, instance));
  await replica.kill();
  await until("a read lease", () => store.state() === "readOnly");
  // The node asks Sentinel once a second; this reads for longer than that. A pause of the machine
  // can end a lease for a moment, so a series may start again.
  await until("reads without a gap for longer than a second", async () => {
    for (let i = 0; i < 60; i += 1) {
      const [stored] = await store.read(instance, [uniqueIdentifier]).catch((error: unknown) => {
        if (error instanceof StoreUnavailable) return ["gap" as const];
        throw error;
      });
      if (stored === "gap") return false;
      expect(stored).toBeDefined();
      await sleep(20);
    }
    return true;
  });
  const gone = `localhost:${b}`;
  await expect(forgetReplica(options, gone)).rejects.toThrow("SENTINEL RESET");
  await sentinel.command("sentinel", "reset", sentinelName);
  expect(await forgetReplica(options, gone)).toBe(true);
  await until("full barriers", () => store.state() === "full");
  await retried(() => create(store, instance));
});

/** Whether a member has noted that everything in a partition is covered, as a fail-over to it needs. */
async function isCovered(redis: RedisServer, partition: number): Promise<boolean> {
  const { head, counters } = partitionKeys(partition);
  const noted = readPartitionHead((await redis.buffers("get", head)) as unknown as Buffer);
  return noted?.covered === Number(await redis.command("hget", counters, "change"));
}

async function recordKeys(redis: RedisServer): Promise<Buffer[]> {
  const found = await redis.buffers("keys", "{p*}:o:*");
  return found.filter((key) => key.length === 24);
}

/** The highest change number of any partition. */
async function changeNumber(redis: RedisServer): Promise<number> {
  const keys = (await redis.command("keys", "{p*}:counters")) as string[];
  const numbers = await Promise.all(
    keys.map(async (key) => Number(await redis.command("hget", key, "change"))),
  );
  return Math.max(0, ...numbers);
}
