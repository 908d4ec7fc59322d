import { auditLogConformance, auditLogKept, auditTreeConformance } from "@holdfast/engine/testing";
import { startGroup } from "../support/redis.ts";
import { openNewStore } from "../support/redis-store.ts";

for (const conformance of [auditLogConformance, auditTreeConformance]) {
  conformance("RedisStore", async () => {
    const group = await startGroup({ replicas: 1 });
    const { address } = group.primary;
    const opened = await openNewStore({ address, replicas: 1, auditEntriesMax: auditLogKept });
    return {
      subject: opened.store.audit,
      store: opened.store,
      async close() {
        await opened[Symbol.asyncDispose]();
        await group[Symbol.asyncDispose]();
      },
    };
  });
}
