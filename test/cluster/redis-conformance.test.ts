import { ObjectKekStore } from "@holdfast/engine";
import {
  kekStoreConformance,
  locksConformance,
  objectStoreConformance,
  storeModel,
} from "@holdfast/engine/testing";
import { RedisLocks } from "@holdfast/redis";
import { expect, test } from "vitest";
import { RedisServer, startGroup, storePrograms } from "../support/redis.ts";
import { auditOf, openNewStore, systemClock } from "../support/redis-store.ts";

/** A store on a primary with one replica, so that every barrier is a real one. */
async function open() {
  const group = await startGroup({ replicas: 1 });
  const opened = await openNewStore({ address: group.primary.address, replicas: 1 });
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
  const subject = await RedisLocks.open({ urls, observe: () => undefined });
  return {
    subject,
    async close(): Promise<void> {
      await subject[Symbol.asyncDispose]();
      for (const master of masters) await master[Symbol.asyncDispose]();
    },
  };
});
