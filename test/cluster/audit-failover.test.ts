import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AuditEvent,
  type AuditLog,
  chainHash,
  decodeAudit,
  type Event,
  partitionOf,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import { AuditChain } from "@holdfast/regions";
import { until } from "@holdfast/testing";
import { expect, test } from "vitest";
import { startGroup } from "../support/redis.ts";
import {
  installed,
  openNewStore,
  openStore,
  patientOptions,
  systemClock,
} from "../support/redis-store.ts";

const timers = { ...systemClock, sleep: (ms: number) => sleep(ms) };

function events(count: number, action: string): readonly AuditEvent[] {
  return Array.from({ length: count }, (_, at) => ({
    ...{ time: 1_795_000_000_000 + at, action, outcome: "success", initiator: "i" },
    requestId: randomUUID(),
  })) as readonly AuditEvent[];
}

async function chain(store: RedisStore, told: Event[] = []): Promise<void> {
  const observe = (event: Event): number => told.push(event);
  const epoch = await store.newEpoch();
  const duty = new AuditChain({ log: store.audit, store, timers, observe });
  await duty.run({ epoch, signal: new AbortController().signal, active: () => true });
}

/** The hash computed again over the stored entries, and the head that the store has. */
async function recomputed(log: AuditLog, partition: number) {
  const { base, head } = (await log.standings())[partition] ?? {};
  if (base === undefined || head === undefined) throw new Error("no trail");
  const range = { from: { after: 0 }, limit: 1_000, covered: false };
  const entries = await log.entries(partition, range);
  const hash = entries.reduce(
    (before, { number, bytes }) => chainHash(before, number, bytes),
    base.hash,
  );
  const actions = entries.map(({ bytes }) => decodeAudit(bytes).events[0]?.action);
  return { head, hash, actions, numbers: entries.map(({ number }) => number) };
}

test("entries that a fail-over takes back are not chained, and later entries with their numbers are", async () => {
  await using group = await startGroup({ replicas: 1 });
  const { primary, replicas } = group;
  const [replica] = replicas;
  if (replica === undefined) throw new Error("no replica");
  let instance: string;
  {
    // The lease must lapse, and not because the machine is busy.
    const times = { ...patientOptions, storeLeaseMs: 5_000, leaseWaitMs: 10_000 };
    await using opened = await openNewStore({ address: primary.address, replicas: 1, ...times });
    const { store } = opened;
    instance = await installed(store);
    const partition = partitionOf(instance);
    await store.appendAudit(instance, events(20, "kept"), true);
    await chain(store);
    expect((await recomputed(store.audit, partition)).head.number).toBe(20);
    const epoch = await store.newEpoch();
    // It stops being a replica: what is written now is on one disk only.
    await replica.command("replicaof", "no", "one");
    await until("only reads are promised", () => store.state() === "readOnly");
    await store.appendAudit(instance, events(5, "lost"), false);
    const last = async () => (await store.audit.standings())[partition]?.last;
    await until("they are stored", async () => (await last()) === 25);
    const duty = new AuditChain({ log: store.audit, store, timers, observe: () => undefined });
    const term = { epoch, signal: new AbortController().signal, active: () => true };
    await expect(duty.run(term)).rejects.toMatchObject({ name: "StoreUnavailable" });
    expect((await store.audit.standings())[partition]?.head.number).toBe(20);
    await primary.kill();
  }
  const partition = partitionOf(instance);
  await using promoted = await openStore({ address: replica.address, ...patientOptions });
  const { store } = promoted;
  expect((await store.audit.standings())[partition]?.last).toBe(20);
  await store.appendAudit(instance, events(8, "again"), true);
  const told: Event[] = [];
  await chain(store, told);
  const { head, hash, actions, numbers } = await recomputed(store.audit, partition);
  expect(numbers).toEqual(Array.from({ length: 28 }, (_, at) => at + 1));
  expect(actions).toEqual([...Array(20).fill("kept"), ...Array(8).fill("again")]);
  expect([head.number, Buffer.from(head.hash)]).toEqual([28, Buffer.from(hash)]);
  expect(told).toEqual([]);
});
