import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Event, partitionOf, systemInstance, trailsOf } from "@holdfast/engine";
import { MemoryOwnStore, MemoryWitness } from "@holdfast/engine/testing";
import { AuditChain, AuditRetention, AuditTree, AuditWitness } from "@holdfast/regions";
import { afterAll, expect, test } from "vitest";
import { systemClock as timers } from "../../base/system.ts";
import { initLogKey, readLogKey } from "../log/log-key.ts";
import { proveEvent } from "../log/prove.ts";
import { verifyStore } from "./verify-store.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-flood-"));
afterAll(() => rm(folder, { recursive: true }));

const kept = 512;

function neighbourOf(instance: string): string {
  for (;;) {
    const id = randomUUID();
    if (partitionOf(id) === partitionOf(instance)) return id;
  }
}

test("a flood by one instance leaves its neighbour's events and the trail whole, and what is lost is told", async () => {
  const own = new MemoryOwnStore({ auditEntriesMax: kept });
  const settings = { keyFile: join(folder, "log.pem"), name: "log.example/a" };
  initLogKey(settings);
  const { key, signer } = readLogKey(settings);
  const witness = new MemoryWitness("w1", key);
  const trust = { key, witnesses: [witness], clock: timers };
  const instance: string = randomUUID();
  const flooding = neighbourOf(instance);
  const told: Event[] = [];
  const options = {
    log: own.audit,
    store: own,
    timers,
    observe: (event: Event) => told.push(event),
  };
  const tree = new AuditTree({
    ...{ ...options, signer, witnesses: ["w1"], bytesMax: async () => 1e9 },
  });
  const bounds = async () => ({ bytesMax: 1e9, hardMax: 1e9 });
  const announce = tree.announce.bind(tree);
  const duties = [
    new AuditChain(options),
    tree,
    new AuditWitness({ ...options, tree, witness }),
    new AuditRetention({ ...options, sinks: [], ageMs: 1e15, bounds, announce }),
  ];
  const step = async () => {
    const context = { epoch: 1, signal: new AbortController().signal, active: () => true };
    for (const duty of duties) await duty.run(context);
  };
  const read = (of: string, count: number) => {
    const fixed = { action: "kmip-key.read", initiator: "i", requestId: "r" };
    const event = { time: timers.wallMs(), outcome: "success", ...fixed } as const;
    return own.appendAudit(
      of,
      Array.from({ length: count }, () => event),
    );
  };

  await read(instance, 3);
  await step();
  for (let round = 0; round < 20; round += 1) {
    await read(flooding, 100);
    if (round % 10 === 0) await read(instance, 1);
    await step();
  }
  await step();

  expect(own.auditOf(instance)).toHaveLength(5);
  expect(own.auditOf(flooding).length).toBeGreaterThan(kept);
  expect(await verifyStore(own.audit, trust)).toMatchObject({ findings: [], unwitnessed: 0 });
  const [trail = 0, surplus = 0] = trailsOf(instance);
  for (const [of, number] of [
    [trail, 1],
    [surplus, 2_000 - kept / 4],
  ]) {
    const proven = await proveEvent(own.audit, trust, `${own.storeId}-${of}-${number}-o`);
    expect(proven.proof).toContain("c2sp.org/tlog-proof");
  }
  const standings = await own.audit.standings();
  expect(standings[trail]).toMatchObject({ dropped: 0, base: { number: 0 } });
  const lost = told.filter(({ type }) => type === "auditLost");
  const drops = own.auditOf(systemInstance).filter(({ action }) => action === "audit.drop");
  expect(drops).toHaveLength(lost.length);
  expect(drops[0]?.detail).toMatchObject({ partition: surplus, from: 1 });
  expect(drops.at(-1)?.detail?.["to"]).toBe(standings[surplus]?.dropped);
  expect(standings[surplus]?.dropped).toBeGreaterThan(kept);
});
