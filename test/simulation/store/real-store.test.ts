import {
  auditLogConformance,
  auditLogKept,
  auditTreeConformance,
  objectStoreConformance,
  ownStoreConformance,
  ownStoreModel,
  storeModel,
} from "@holdfast/engine/testing";
import { initialiseStore, openRedisStore, type RedisStoreOptions } from "@holdfast/redis";
import { expect, test } from "vitest";
import { auditOf, recordOf, setStatus, testRoot } from "../../support/redis-store.ts";
import { newerValue, storageKeysOf } from "../../support/stored-value.ts";
import { Machine } from "../machine.ts";
import { Network } from "../network.ts";
import { Random } from "../random.ts";
import { LuaMachine } from "../redis/lua-machine.ts";
import type { Reply } from "../redis/reply.ts";
import { Scheduler, settled } from "../scheduler.ts";
import { Member } from "./member.ts";
import { connectionsOf, timersOf } from "./sim-connection.ts";

const lua = await LuaMachine.create();

type Connections = ReturnType<typeof connectionsOf>;

/** Commands of the test itself, which take no time. */
function directly(member: Member) {
  const session = member.redis.connect();
  const buffers = (reply: Reply): unknown => {
    if (typeof reply === "string") return Buffer.from(reply, "latin1");
    return Array.isArray(reply) ? reply.map(buffers) : reply;
  };
  const ask = (words: readonly (string | number | Buffer)[]): Reply =>
    session.execute(
      words.map((word) => (Buffer.isBuffer(word) ? word.toString("latin1") : String(word))),
    );
  return {
    command: async (name: string, ...args: (string | number | Buffer)[]): Promise<unknown> => {
      if (name !== "keys") return ask([name, ...args]);
      const [prefix = "", end = ""] = String(args[0]).split("*");
      return member.redis.data.keys().filter((key) => key.startsWith(prefix) && key.endsWith(end));
    },
    buffers: async (name: string, ...args: (string | number | Buffer)[]): Promise<Buffer[]> =>
      buffers(ask([name, ...args])) as Buffer[],
  };
}

/** Lets virtual time pass while the test waits for the store. */
function pump(scheduler: Scheduler): () => Promise<void> {
  let open = true;
  const pumping = (async () => {
    while (open) {
      await scheduler.run(scheduler.nowMs + 10);
      await settled();
    }
  })();
  return async () => {
    open = false;
    await pumping;
  };
}

/** The real store, on virtual time, with a primary and a replica that run the real scripts. */
async function openWith(
  settings: Pick<RedisStoreOptions, "auditEntriesMax">,
  wrapped = (connections: Connections): Connections => connections,
) {
  const scheduler = new Scheduler();
  const random = new Random(1);
  const network = new Network(scheduler, random.fork(), { farMs: 5, loss: 0, late: 0 });
  const life = new Machine("a1", scheduler, random.fork()).start();
  const { timers: clock } = life;
  const members = ["a-redis-1", "a-redis-2"].map(
    (name) =>
      new Member({
        scheduler,
        random: random.fork(),
        lua,
        wallMs: clock.wallMs,
        name,
        address: `${name}:1`,
      }),
  );
  const [primary, replica] = members;
  if (primary === undefined || replica === undefined) throw new Error("no members");
  replica.follow(primary);
  const options = {
    address: primary.address,
    region: "a",
    root: testRoot,
    replicas: 1,
    timers: timersOf(life),
    connections: wrapped(
      connectionsOf({
        life,
        network,
        server: (address) => members.find((member) => member.address === address),
      }),
    ),
  };
  const stop = pump(scheduler);
  await initialiseStore({
    ...options,
    ids: { randomBytes: (count) => Buffer.from(random.bytes(count)) },
  });
  const subject = await openRedisStore({
    ...options,
    ...settings,
    clock,
    observe: () => undefined,
  });
  const redis = directly(primary);
  return {
    subject,
    instances: { ...subject, ensure: (instance: string) => subject.install(instance) },
    setStatus: (instance: string, status: Parameters<typeof setStatus>[2]) =>
      setStatus(redis, instance, status),
    damage: async (instance: string, id: string): Promise<void> => {
      const { key, value } = await recordOf(redis, instance, id);
      await redis.command("set", key, value.subarray(0, value.length - 8));
    },
    upgrade: async (instance: string, id: string): Promise<void> => {
      const { key, value } = await recordOf(redis, instance, id);
      await redis.command("set", key, newerValue(await storageKeysOf(redis), key, value));
    },
    auditOf: (instance: string) => auditOf(redis, instance),
    close: async (): Promise<void> => {
      await subject[Symbol.asyncDispose]();
      await stop();
    },
  };
}

const open = () => openWith({});

objectStoreConformance("RedisStore over the model of Redis", open);
ownStoreConformance("RedisStore over the model of Redis", open);
storeModel("RedisStore over the model of Redis", open, { numRuns: 25 });
ownStoreModel("RedisStore over the model of Redis", open, { numRuns: 25 });
for (const conformance of [auditLogConformance, auditTreeConformance]) {
  conformance("RedisStore over the model of Redis", async () => {
    const { subject, close } = await openWith({ auditEntriesMax: auditLogKept });
    return { subject: subject.audit, store: subject, close };
  });
}

test("a Sentinel that still names another process keeps no connection for reads away", async () => {
  const opened: Awaited<ReturnType<Connections["toPrimary"]>>[] = [];
  const { close, instances, subject } = await openWith({}, (connections) => ({
    ...connections,
    toPrimary: async (settings, purpose, attempt = 0) => {
      if (purpose !== "read") return await connections.toPrimary(settings, purpose, attempt);
      const isStale = opened.length > 0 && attempt % 3 === 0;
      const address = isStale ? "a-redis-2:1" : "a-redis-1:1";
      const connection = await connections.to(settings, address, purpose);
      opened.push(connection);
      return connection;
    },
  }));
  const instance = "5a1ec0de-0000-4000-8000-000000000001";
  const unknown = ["5a1ec0de-0000-4000-8000-000000000002"];
  await instances.ensure(instance);
  opened[0]?.destroy("lost");
  expect(await subject.read(instance, unknown)).toEqual([undefined]);
  expect(opened.length).toBeGreaterThan(2);
  await close();
});
