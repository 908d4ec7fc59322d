import { randomUUID } from "node:crypto";
import { type AuditEvent, partitionOf } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { AuditChain } from "@holdfast/regions";
import { until } from "@holdfast/testing";
import { beforeEach, expect, test } from "vitest";
import { systemClock as timers } from "../../base/system.ts";
import { turnsDuring } from "../../testing/turns-during.ts";
import { AuditCheck } from "./audit-check.ts";

const instance: string = randomUUID();
const ending = new AbortController();
let own: MemoryOwnStore;

beforeEach(() => {
  own = new MemoryOwnStore({ auditEntriesMax: 10_000 });
});

async function append(count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    const action = { time: 1_795_000_000_000, action: "kmip-key.create", initiator: "i" };
    const events: readonly AuditEvent[] = [
      { ...action, requestId: `r${at}`, outcome: "pending" },
      { ...action, requestId: `r${at}`, outcome: "success" },
    ];
    await own.appendAudit(instance, events);
  }
  const duty = new AuditChain({ log: own.audit, store: own, timers, observe: () => undefined });
  const { signal } = ending;
  while ((await duty.run({ epoch: 1, signal, active: () => true })).left > 0);
}

function open(signal = ending.signal) {
  const about = { region: "a", node: "a1", log: own.audit, timers, signal };
  const { startAuditCheck, readAuditCheck } = new AuditCheck({ ...about, trust: () => undefined })
    .handlers;
  const call = {} as never;
  const check = async () => {
    await startAuditCheck(call);
    await until("the check is over", async () => (await readAuditCheck(call)).state !== "running");
    return await readAuditCheck(call);
  };
  return { start: () => startAuditCheck(call), read: () => readAuditCheck(call), check };
}

test("a check gives clients' work its turns, tells how far it is, and runs once at a time", async () => {
  await append(2000);
  const { start, read, check } = open();
  expect(await read()).toMatchObject({ region: "a", node: "a1", state: "none" });
  const first = await start();
  expect(first).toMatchObject({ state: "running", findings: [] });
  expect((await start()).startedAt).toBe(first.startedAt);
  const seen: number[] = [];
  await until("it is over", async () => {
    const { state, entries, of } = await read();
    if (state === "running" && entries > 0) seen.push(of);
    return state === "whole";
  });
  expect(new Set(seen)).toEqual(new Set([2000]));
  expect(await turnsDuring(check)).toBeGreaterThan(40);
  expect(await read()).toMatchObject({
    ...{ state: "whole", entries: 2000, of: 2000, unchained: 0, findings: [] },
    endedAt: expect.any(String),
  });
});

test("a check finds what the command finds, and nothing is left of it in the next one", async () => {
  await append(600);
  const partition = partitionOf(instance);
  const range = { from: { after: 299 }, limit: 1, covered: false };
  const [kept] = await own.audit.entries(partition, range);
  own.audit.tamper(partition, 300, undefined);
  const { check } = open();
  const faulty = await check();
  expect(faulty).toMatchObject({ state: "faulty" });
  expect(faulty.findings).not.toEqual([]);
  own.audit.tamper(partition, 300, kept?.bytes);
  expect(await check()).toMatchObject({ state: "whole", findings: [] });
});

test("a check that cannot be made says why, and another one can be made", async () => {
  await append(100);
  const standings = own.audit.standings.bind(own.audit);
  own.audit.standings = () => Promise.reject(new Error("no answer"));
  const { check } = open();
  expect(await check()).toMatchObject({ state: "failed", reason: "no answer", findings: [] });
  own.audit.standings = standings;
  expect(await check()).toMatchObject({ state: "whole" });
});
