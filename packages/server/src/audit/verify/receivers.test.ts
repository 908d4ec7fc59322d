import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AuditEvent, treeTexts } from "@holdfast/engine";
import { MemoryOwnStore, MemoryWitness } from "@holdfast/engine/testing";
import { AuditChain, AuditShip, AuditTree, AuditWitness, type Duty } from "@holdfast/regions";
import { afterAll, expect, test } from "vitest";
import { systemClock as timers } from "../../base/system.ts";
import { initLogKey, readLogKey } from "../log/log-key.ts";
import { FileSink } from "../sinks/file-sink.ts";
import { verifyFiles } from "./verify-files.ts";
import { verifyStore } from "./verify-store.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-receivers-"));
afterAll(() => rm(folder, { recursive: true }));

const instance: string = randomUUID();
const where = { region: "a", account: "acme" };
const options = { timers, observe: () => undefined };

async function run(...duties: readonly Duty[]): Promise<void> {
  const context = { epoch: 1, signal: new AbortController().signal, active: () => true };
  for (const duty of duties) while ((await duty.run(context)).left > 0);
}

/** A store with these events, chained, and the file that a receiver has of them. */
async function written(events: readonly AuditEvent[], path: string): Promise<MemoryOwnStore> {
  const own = new MemoryOwnStore();
  await own.appendAudit(instance, events);
  const sinkOptions = { path, bytesMax: 1e9, ageMs: 1e12, filesMax: 100, clock: timers };
  await using sink = new FileSink(sinkOptions, { ...where, names: "current" });
  const parts = { ...options, log: own.audit, store: own };
  await run(new AuditChain(parts), new AuditShip({ ...parts, sink }));
  return own;
}

type Attack = (events: readonly AuditEvent[], at: number, other: number) => readonly AuditEvent[];

const attacks: Readonly<Record<string, Attack>> = {
  changes: (events, at) => events.map((one, i) => (i === at ? { ...one, initiator: "x" } : one)),
  removes: (events, at) => events.toSpliced(at, 1),
  exchanges: (events, at, other) => {
    const [one, two] = [events[at], events[other]] as [AuditEvent, AuditEvent];
    return events.with(at, two).with(other, one);
  },
  adds: (events, at, other) => events.toSpliced(at, 0, events[other] as AuditEvent),
  "cuts off the end": (events, at) => events.slice(0, Math.max(1, at)),
};

test("100 attempts by somebody who rewrites the store and all receivers alike are all found", async () => {
  const settings = { keyFile: join(folder, "log.pem"), name: "log.example/a" };
  initLogKey(settings);
  const { key, signer } = readLogKey(settings);
  const witness = new MemoryWitness("w1", key);
  const trust = { key, witnesses: [witness], clock: timers };
  const genuine = Array.from({ length: 40 }, (_, at): AuditEvent => {
    const fixed = { action: "kmip-key.read", outcome: "success", initiator: "i" } as const;
    return { ...fixed, time: 1_795_000_000_000 + at, requestId: `r${at}` };
  });
  const own = await written(genuine, join(folder, "genuine.jsonl"));
  const { tree: stored } = own.audit;
  const parts = { ...options, log: own.audit };
  const tree = new AuditTree({
    ...{ ...parts, signer, witnesses: ["w1"], bytesMax: async () => 1e9 },
  });
  await run(tree, new AuditWitness({ ...parts, tree, witness }));
  expect(await verifyStore(own.audit, trust)).toMatchObject({ findings: [], unwitnessed: 0 });

  const names = [treeTexts.size, treeTexts.last, treeTexts.witness("w1"), treeTexts.asked("w1")];
  const texts = await stored.texts(names);
  const [run0] = await stored.runs(0, 10);
  // A fixed sequence of places (Park and Miller), the same in each run.
  let state = 20261129;
  const below = (most: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % most;
  };
  const kinds = Object.keys(attacks);
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const kind = kinds[attempt % kinds.length] ?? "";
    const at = below(genuine.length);
    const other = (at + 1 + below(genuine.length - 1)) % genuine.length;
    const path = join(folder, `${attempt}.jsonl`);
    const forged = await written(attacks[kind]?.(genuine, at, other) ?? [], path);
    // The log's key is not the attacker's: what it signed stays as it is.
    const fields = new Map(names.map((name, i) => [name, texts[i] ?? ""]));
    const leaves = { first: 0, bytes: run0?.bytes ?? Buffer.of() };
    await forged.audit.tree.write({ fields, leaves }, 1);
    const files = await verifyFiles([path], { log: forged.audit, ...where });
    expect([files.findings, files.events > 0], `${kind}: the forgery is whole`).toEqual([[], true]);
    const { findings } = await verifyStore(forged.audit, trust);
    expect(findings.length, `${attempt}: ${kind} ${at} ${other}`).toBeGreaterThan(0);
  }
});
