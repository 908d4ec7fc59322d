import { ownStoreConformance } from "@holdfast/engine/conformance";
import { startGroup } from "../support/redis.ts";
import { openNewStore, recordOf, setStatus } from "../support/redis-store.ts";

ownStoreConformance("RedisStore", async () => {
  const group = await startGroup({ replicas: 1 });
  const opened = await openNewStore({ address: group.primary.address, replicas: 1 });
  const { store } = opened;
  return {
    subject: store,
    instances: store,
    setStatus: (instance, status) => setStatus(group.primary, instance, status),
    async damage(instance, id): Promise<void> {
      const { key, value } = await recordOf(group.primary, instance, id);
      await group.primary.command("set", key, value.subarray(0, value.length - 8));
    },
    async close(): Promise<void> {
      await opened[Symbol.asyncDispose]();
      await group[Symbol.asyncDispose]();
    },
  };
});
