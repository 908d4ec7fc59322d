import { randomBytes, randomUUID } from "node:crypto";
import {
  encodeRecord,
  InstanceKeyRing,
  isWithheldKek,
  kekIdsOf,
  type ManagedObject,
  resealed,
  sealsBy,
  type Timers,
} from "@holdfast/engine";
import {
  MemoryKekStore,
  type MemoryOwnStore,
  MemoryRootOfTrust,
  sampleObject,
} from "@holdfast/engine/testing";
import { beforeEach, expect, test } from "vitest";
import { mergeInto } from "../join/merge.ts";
import { openStore } from "../testing/leader/test-leader.ts";
import { put, recordsOf, termOf } from "../testing/leader/test-peer.ts";
import { type Rekeying, Reseal } from "./reseal.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const secret = encodeRecord(sampleObject("i", randomUUID()));

let nowMs: number;
let slept: number;
let own: MemoryOwnStore;
let ring: InstanceKeyRing;
let root: MemoryRootOfTrust;
let keks: MemoryKekStore;
let wanted: Map<string, Rekeying>;

const timers: Timers = {
  wallMs: () => nowMs,
  monotonicMs: () => nowMs,
  sleep: async (ms) => {
    slept += ms;
    nowMs += ms;
  },
};

beforeEach(async () => {
  [nowMs, slept] = [1_700_000_000_000, 0];
  own = await openStore({ wallMs: timers.wallMs });
  root = new MemoryRootOfTrust(ids);
  keks = new MemoryKekStore();
  ring = new InstanceKeyRing({
    ...{ rootOf: () => root, keks, clock: timers, ids, region: "a" },
    ...{ observe: () => undefined, kekCacheMs: 1e9, graceMs: 1e9 },
  });
  wanted = new Map();
});

function leader(perSecond?: number): Reseal {
  const options = { own, keyRing: ring, timers, wanted: async () => wanted };
  return new Reseal({ ...options, ...(perSecond !== undefined && { perSecond }) });
}

async function newKey(instance = "i"): Promise<ManagedObject> {
  const object = sampleObject(instance, randomUUID());
  const { uniqueIdentifier, objectType } = object;
  const material = await ring.seal({ instance, uniqueIdentifier, objectType }, secret);
  return { ...object, material };
}

async function made(count: number): Promise<readonly ManagedObject[]> {
  const objects: ManagedObject[] = [];
  for (let at = 0; at < count; at += 1) objects.push(await newKey());
  await put(own, objects);
  return objects;
}

async function rekey(): Promise<string> {
  const before = [...(wanted.get("i")?.older ?? []), wanted.get("i")?.kek ?? (await sealing())];
  const kek = await ring.rekey("i", []);
  wanted.set("i", { kek, older: new Set(before) });
  return kek;
}

async function sealing(): Promise<string> {
  const { kekId } = await ring.seal(
    { instance: "i", uniqueIdentifier: randomUUID(), objectType: 2 },
    secret,
  );
  return kekId;
}

const run = async (duty: Reseal, active = () => true) => duty.run({ ...termOf(1), active });

async function runAll(duty: Reseal): Promise<void> {
  for (let runs = 0; runs < 50; runs += 1) {
    const { left } = await run(duty);
    if (left === 0) return;
  }
  throw new Error("it does not end");
}

async function idsInUse(): Promise<readonly string[]> {
  const all = [...(await recordsOf(own)).values()];
  return [...new Set(all.flatMap((object) => [...kekIdsOf(object)]))];
}

async function opensAll(objects: readonly ManagedObject[]): Promise<boolean> {
  const now = await recordsOf(own);
  const opened = await Promise.all(
    objects.map(({ uniqueIdentifier }) => sealsBy(ring).opens(now.get(uniqueIdentifier) as never)),
  );
  return opened.every(Boolean);
}

test("every record comes under the new KEK and opens, and the progress says so", async () => {
  const objects = await made(1_300);
  const kek = await rekey();
  const duty = leader();
  expect((await run(duty)).left).toBeGreaterThan(0);
  expect(duty.progressOf("i")).toMatchObject({ kek, sinceMs: undefined });
  // What this leader wrote itself is not left, although its feed has not read it again.
  const { left = 0, resealed = 0 } = duty.progressOf("i") ?? {};
  expect(left + resealed).toBeLessThanOrEqual(1_300);
  await runAll(duty);
  expect(await idsInUse()).toEqual([kek]);
  expect(await opensAll(objects)).toBe(true);
  expect(duty.progressOf("i")).toMatchObject({ kek, resealed: 1_300, left: 0, reason: "" });
  expect(duty.progressOf("i")?.sinceMs).toBeDefined();
});

test("a new leader goes on where another one was killed, and passes over what was done", async () => {
  await made(900);
  const kek = await rekey();
  await run(leader());
  const next = leader();
  await runAll(next);
  expect(await idsInUse()).toEqual([kek]);
  expect(next.progressOf("i")?.resealed).toBeLessThan(900);
});

test("a record that comes later under an older KEK is found, and the time begins anew", async () => {
  await made(3);
  const late = await newKey();
  const kek = await rekey();
  const duty = leader();
  await runAll(duty);
  const before = duty.progressOf("i")?.sinceMs ?? 0;
  nowMs += 60_000;
  await put(own, [late]);
  await runAll(duty);
  expect(await idsInUse()).toEqual([kek]);
  expect(duty.progressOf("i")?.sinceMs).toBeGreaterThan(before + 59_000);
});

test("only the older KEKs of the instance are replaced, in its own records", async () => {
  await own.instances.ensure("j", "j");
  const [mine] = await made(1);
  const other = await newKey("j");
  await put(own, [other]);
  const kek = await rekey();
  await runAll(leader());
  const [inJ] = await own.read("j", [other.uniqueIdentifier]);
  expect(inJ?.object.material?.kekId).toBe(other.material?.kekId);
  const now = await recordsOf(own);
  expect(now.get(mine?.uniqueIdentifier ?? "")?.material?.kekId).toBe(kek);
});

test("what another writer changed meanwhile is read again, and what an operation holds waits", async () => {
  const [changed, held] = await made(2);
  if (changed === undefined || held === undefined) throw new Error("no keys");
  await own.reserve("i", [held.uniqueIdentifier], "operation");
  const kek = await rekey();
  const { commit } = own;
  own.commit = async (...given) => {
    own.commit = commit;
    const [before] = await own.read("i", [changed.uniqueIdentifier]);
    if (before === undefined) throw new Error("no record");
    const after = { ...before.object, facts: { activated: { time: 5, region: "a" } } };
    await own.commit("i", [{ kind: "update", before, after }], []);
    return await commit.apply(own, given);
  };
  const duty = leader();
  expect((await run(duty)).left).toBe(1);
  const now = (await recordsOf(own)).get(changed.uniqueIdentifier);
  expect(now).toMatchObject({ facts: { activated: { time: 5 } }, material: { kekId: kek } });
  expect(duty.progressOf("i")?.sinceMs).toBeUndefined();
  await own.release("i", "operation");
  await runAll(duty);
  expect(await idsInUse()).toEqual([kek]);
});

test("while the root is closed nothing is done, another tenant goes on, and it continues when the root opens", async () => {
  await own.instances.ensure("j", "j");
  const other = await newKey("j");
  await put(own, [other]);
  const [inJ] = kekIdsOf(other);
  const objects = await made(5);
  const kek = await rekey();
  const nextOfJ = await ring.rekey("j", []);
  wanted.set("j", { kek: nextOfJ, older: new Set([inJ ?? ""]) });
  const { openAny } = ring;
  ring.openAny = (binding, sealed) => {
    if (binding.instance === "i") ring.shred("i");
    return openAny.call(ring, binding, sealed);
  };
  const duty = leader();
  await run(duty);
  expect(duty.progressOf("i")?.left).toBeGreaterThan(0);
  expect(duty.progressOf("i")?.reason).toContain("shredded");
  expect(duty.progressOf("j")).toMatchObject({ left: 0, resealed: 1 });
  await expect(run(duty)).rejects.toThrow("shredded");
  ring.openAny = openAny;
  ring.unshred("i");
  await runAll(duty);
  expect(await idsInUse()).toEqual([kek]);
  expect(await opensAll(objects)).toBe(true);
  expect(duty.progressOf("i")?.reason).toBe("");
});

test("a record whose seal is broken keeps its KEK needed, until its copy is replaced", async () => {
  const [object] = await made(2);
  if (object?.material === undefined) throw new Error("no material");
  const { uniqueIdentifier } = object;
  const [before] = await own.read("i", [uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const ciphertext = new Uint8Array(object.material.ciphertext.length);
  const broken = { ...object, material: { ...object.material, ciphertext } };
  await own.commit("i", [{ kind: "update", before, after: broken }], []);
  const kek = await rekey();
  const duty = leader();
  await run(duty);
  await run(duty);
  expect(duty.progressOf("i")).toMatchObject({ resealed: 1, left: 1, sinceMs: undefined });
  const merging = { from: "b", timers, observe: () => undefined, seals: sealsBy(ring) };
  await mergeInto(own, [object], merging);
  await runAll(duty);
  expect(await idsInUse()).toEqual([kek]);
});

test("not more records are re-sealed in a second than allowed", async () => {
  await made(256);
  await rekey();
  slept = 0;
  await runAll(leader(64));
  expect(slept).toBeGreaterThanOrEqual(4_000);
  expect(slept).toBeLessThan(4_500);
});

test("nothing more is written once the term is over", async () => {
  await made(300);
  const kek = await rekey();
  let steps = 0;
  const active = (): boolean => {
    steps += 1;
    return steps < 8;
  };
  await run(leader(), active);
  const all = [...(await recordsOf(own)).values()];
  const moved = all.filter(({ material }) => material?.kekId === kek).length;
  expect(moved).toBeLessThan(300);
});

/** Changes the destruction of a stored key. */
async function destruct(
  { uniqueIdentifier }: ManagedObject,
  state: "pending" | "restored",
  us: number,
): Promise<void> {
  const [before] = await own.read("i", [uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const destruction = { time: 5, region: "a", until: 9e9, state, us } as const;
  const after = { ...before.object, facts: { ...before.object.facts, destruction } };
  await own.commit("i", [{ kind: "update", before, after }], []);
}

const materialOf = async ({ uniqueIdentifier }: ManagedObject) =>
  (await recordsOf(own)).get(uniqueIdentifier)?.material;

test("material that can be restored is withheld from clients, and comes back with a restore", async () => {
  const [gone, live] = (await made(2)) as [ManagedObject, ManagedObject];
  const kek = await sealing();
  const withheld = await withhold();
  wanted.set("i", { kek, older: new Set(), withheld });
  await destruct(gone, "pending", 1);
  const duty = leader();
  await runAll(duty);
  const material = await materialOf(gone);
  expect(material?.kekId).toBe(withheld);
  expect((await materialOf(live))?.kekId).toBe(kek);
  const { uniqueIdentifier, objectType } = gone;
  const binding = { instance: "i", uniqueIdentifier, objectType };
  await expect(ring.open(binding, material as never)).rejects.toThrow("withheld");
  await destruct(gone, "restored", 2);
  await runAll(duty);
  const back = await materialOf(gone);
  expect(back?.kekId).toBe(kek);
  expect(Buffer.from(await ring.open(binding, back as never))).toEqual(Buffer.from(secret));
  // It needed no older KEK.
  expect(duty.progressOf("i")).toMatchObject({ left: 0, met: false });
});

test("what is withheld keeps no older KEK: the time since one was needed goes on", async () => {
  const [first, second] = (await made(2)) as [ManagedObject, ManagedObject];
  await rekey();
  const { kek, older } = wanted.get("i") as Rekeying;
  wanted.set("i", { kek, older, withheld: await withhold() });
  await destruct(first, "pending", 1);
  const duty = leader();
  await runAll(duty);
  expect((await materialOf(first))?.kekId).toBe(wanted.get("i")?.withheld);
  const since = duty.progressOf("i")?.sinceMs;
  nowMs += 60_000;
  await destruct(second, "pending", 1);
  await runAll(duty);
  expect((await materialOf(second))?.kekId).toBe(wanted.get("i")?.withheld);
  expect(duty.progressOf("i")?.sinceMs).toBe(since);
});

test("two regions withhold the same bytes, even if the material was under different KEKs before", async () => {
  const [key] = (await made(1)) as [ManagedObject];
  await destruct(key, "pending", 1);
  const [before] = await own.read("i", [key.uniqueIdentifier]);
  const kek = await sealing();
  const withheld = await withhold();
  const next = await ring.rekey("i", []);
  const object = before?.object as ManagedObject;
  const one = await ring.holding(() => resealed(ring, object, { kek, withheld }));
  const other = await ring.holding(async () => {
    const moved = await resealed(ring, { ...object, facts: {} }, { kek: next });
    return await resealed(ring, { ...moved, facts: object.facts }, { kek: next, withheld });
  });
  expect(other.material).toEqual(one.material);
});

test("what is withheld under a removed KEK counts as left, and is not written again and again", async () => {
  const [gone] = (await made(1)) as [ManagedObject];
  const kek = await sealing();
  const withheld = await withhold();
  wanted.set("i", { kek, older: new Set(), withheld });
  await destruct(gone, "pending", 1);
  const duty = leader();
  await runAll(duty);
  wanted.set("i", { kek, older: new Set([withheld]), withheld: undefined });
  for (let runs = 0; runs < 3; runs += 1) await run(duty);
  expect(duty.progressOf("i")).toMatchObject({ left: 1, resealed: 0 });
});

async function withhold(): Promise<string> {
  await ring.makeWithheld("i", 0);
  const found = (await keks.list("i")).find(({ id }) => isWithheldKek(id));
  if (found === undefined) throw new Error("no KEK withholds");
  return found.id;
}
