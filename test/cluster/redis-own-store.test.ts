import { ownStoreConformance, ownStoreModel } from "@holdfast/engine/testing";
import { startGroup } from "../support/redis.ts";
import { openNewStore, patientOptions, recordOf, setStatus } from "../support/redis-store.ts";
import { newerValue, storageKeysOf } from "../support/stored-value.ts";

/** A store on a primary with one replica, so that every barrier is a real one. */
async function open() {
  const group = await startGroup({ replicas: 1 });
  const opened = await openNewStore({
    ...{ address: group.primary.address, replicas: 1 },
    ...patientOptions,
  });
  const { store } = opened;
  return {
    subject: store,
    instances: store,
    setStatus: (instance: string, status: Parameters<typeof setStatus>[2]) =>
      setStatus(group.primary, instance, status),
    async damage(instance: string, id: string): Promise<void> {
      const { key, value } = await recordOf(group.primary, instance, id);
      await group.primary.command("set", key, value.subarray(0, value.length - 8));
    },
    async upgrade(instance: string, id: string): Promise<void> {
      const { key, value } = await recordOf(group.primary, instance, id);
      const keys = await storageKeysOf(group.primary);
      await group.primary.command("set", key, newerValue(keys, key, value));
    },
    async close(): Promise<void> {
      await opened[Symbol.asyncDispose]();
      await group[Symbol.asyncDispose]();
    },
  };
}

ownStoreConformance("RedisStore", open);
ownStoreModel("RedisStore", open, { numRuns: 25 });
