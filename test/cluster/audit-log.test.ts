import { randomUUID } from "node:crypto";
import { partitionOf } from "@holdfast/engine";
import { auditLogConformance, auditLogKept, auditTreeConformance } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import { startGroup } from "../support/redis.ts";
import { openNewStore, patientOptions } from "../support/redis-store.ts";

for (const conformance of [auditLogConformance, auditTreeConformance]) {
  conformance("RedisStore", async () => {
    const group = await startGroup({ replicas: 1 });
    const { address } = group.primary;
    const kept = { auditEntriesMax: auditLogKept, ...patientOptions };
    const opened = await openNewStore({ address, replicas: 1, ...kept });
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

test("the scripts bound a trail also after somebody has deleted entries of it in Redis", async () => {
  const group = await startGroup({ replicas: 0 });
  await using _ = group;
  const { primary: redis } = group;
  const options = { address: redis.address, replicas: 0, auditEntriesMax: auditLogKept };
  await using opened = await openNewStore({ ...options, ...patientOptions });
  const instance = randomUUID();
  const { audit } = partitionKeys(partitionOf(instance));
  const append = async (count: number) => {
    const event = { time: 1, action: "a", outcome: "success", initiator: "i" } as const;
    const one = { ...event, requestId: "r" };
    const events = Array.from({ length: count }, () => one);
    await opened.store.appendAudit(instance, events, true);
  };
  const isBounded = async () => {
    for (let round = 0; round < 8; round += 1) await append(250);
    expect(await redis.command("xlen", audit)).toBeLessThan(2 * auditLogKept);
  };
  await append(300);
  await redis.command("xdel", audit, "290-0", "291-0", "292-0");
  await isBounded();
  // The same where the leader's retention passes what was deleted.
  const log = opened.store.audit;
  const partition = partitionOf(instance);
  const standing = (await log.standings())[partition];
  if (standing === undefined) throw new Error("no trail");
  const number = standing.last - 10;
  await redis.command("xdel", audit, `${number - 3}-0`, `${number - 4}-0`);
  const epoch = await opened.store.newEpoch();
  await log.trim(partition, { ...standing.base, number }, epoch);
  await isBounded();
});
