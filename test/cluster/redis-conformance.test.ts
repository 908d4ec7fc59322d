import { type Event, ObjectKekStore } from "@holdfast/engine";
import {
  kekStoreConformance,
  locksConformance,
  objectStoreConformance,
  storeModel,
} from "@holdfast/engine/testing";
import { RedisLocks } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { RedisServer, startGroup, storePrograms } from "../support/redis.ts";
import { auditOf, openNewStore, patientOptions, systemClock } from "../support/redis-store.ts";

/** A store on a primary with one replica, so that every barrier is a real one. */
async function open() {
  const group = await startGroup({ replicas: 1 });
  const address = group.primary.address;
  const opened = await openNewStore({ ...patientOptions, address, replicas: 1 });
  return {
    subject: opened.store,
    instances: { ensure: (instance: string) => opened.store.install(instance) },
    auditOf: (instance: string) => auditOf(group.primary, instance),
    async close(): Promise<void> {
      await opened[Symbol.asyncDispose]();
      await group[Symbol.asyncDispose]();
    },
  };
}

test.runIf(storePrograms !== undefined)(
  "the server is Valkey (needs the project valkey)",
  async () => {
    await using server = await RedisServer.start();
    expect(String(await server.command("info", "server"))).toContain("server_name:valkey");
  },
);

objectStoreConformance("RedisStore", open);
storeModel("RedisStore", open, { numRuns: 25 });
kekStoreConformance("ObjectKekStore on RedisStore", async () => {
  const { subject, close } = await open();
  return { subject: new ObjectKekStore(subject, { clock: systemClock, region: "a" }), close };
});
locksConformance("RedisLocks", async () => {
  const masters = await Promise.all([1, 2, 3].map(() => RedisServer.start()));
  const urls = masters.map(({ address }) => `redis://${address}`);
  let latest = "";
  const observe = (event: Event): void => {
    if (event.type === "lock") latest = event.result;
  };
  const waitMs = 60_000;
  const patient = { lockMs: 300_000, waitMs, commandTimeoutMs: 30_000 };
  const subject = await RedisLocks.open({ urls, observe, ...patient });
  const hasty = await RedisLocks.open({ urls, observe: () => undefined });
  // A lock master that is not connected yet gives no lock.
  await until("the first lock", async () => {
    await subject.withLock("first", async () => undefined);
    return latest === "acquired" || latest;
  });
  return {
    ...{ subject, waitMs, hasty },
    async close(): Promise<void> {
      await subject[Symbol.asyncDispose]();
      await hasty[Symbol.asyncDispose]();
      for (const master of masters) await master[Symbol.asyncDispose]();
    },
  };
});
