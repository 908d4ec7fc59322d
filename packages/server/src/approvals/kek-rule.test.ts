import { randomUUID } from "node:crypto";
import {
  changeRecord,
  compareRegisters,
  everWrapped,
  type FieldChanges,
  hasErasedWraps,
  type KekWrap,
  kekRecord,
  kekRegistersOf,
  type ManagedObject,
  readKekRecord,
  systemInstance,
  withoutKekWraps,
} from "@holdfast/engine";
import { type Peer, PeerReader, provenChanges } from "@holdfast/regions";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../base/system.ts";
import { instanceRecordId } from "../records/records.ts";
import { rulesOf } from "../testing/approval-world.ts";
import { MemoryRegions } from "../testing/memory-regions.ts";
import type { JoinRules } from "./join-rules.ts";

const dayMs = 86_400_000;
/** By their first byte: what is known of wraps. */
const [opens, alsoOpens, broken, strange, unreachable] = [1, 2, 3, 4, 5] as const;

let regions: MemoryRegions;
let rules: JoinRules;
let instance: string;
/** The KEK of the instance, which regions a and b have wrapped. */
let id: string;
let isFilled: boolean;
let isAway: boolean;
let aheadMs: number;
/** How often the root of trust was asked about a wrap. */
let asked: number;
let us: number;

beforeEach(async () => {
  regions = new MemoryRegions();
  [instance, isFilled, us] = [randomUUID(), true, Date.now() * 1_000];
  [isAway, aheadMs, asked] = [false, 0, 0];
  await regions.instance(instance);
  id = [...regions.b.view.of("Kek", instance).keys()][0] ?? "";
  rules = rulesOf(regions.b, [], {
    isFilled: async () => isFilled,
    wallMs: () => Date.now() + aheadMs,
    prove: async (_, { blob }) => {
      asked += 1;
      if (isAway || blob[0] === unreachable) throw new Error("no root of trust");
      if (blob[0] === strange) return "strange";
      return blob[0] === broken ? "broken" : "opens";
    },
  });
  regions.b.mayJoin = rules.mayJoin;
});

afterEach(() => regions[Symbol.asyncDispose]());

/** A thief's clock is ahead. */
function later() {
  us += 10_000_000;
  return { us, region: "a" };
}

function wrap(first: number): Omit<KekWrap, "region"> {
  return { rootOfTrust: "r", rootKeyVersion: "1", blob: new Uint8Array([first]) };
}

async function stored(of = id): Promise<ManagedObject> {
  const [copy] = await regions.b.own.read(systemInstance, [of]);
  if (copy === undefined) throw new Error("no such record");
  return copy.object;
}

/** What region b has: by region, the first byte of its wrap. */
async function wraps(of = id): Promise<Readonly<Record<string, number | undefined>>> {
  const entry = readKekRecord(await stored(of));
  return Object.fromEntries((entry?.kek.wraps ?? []).map(({ region, blob }) => [region, blob[0]]));
}

async function stampUs(): Promise<number> {
  return kekRegistersOf(await stored(), "b").wrap?.stamp.us ?? 0;
}

/** Pushes a change of a KEK to region b as region a. */
async function push(changes: FieldChanges<"Kek">, of = id) {
  return await pushed(changeRecord("Kek", await stored(of), changes, later()));
}

async function pushed(object: ManagedObject) {
  const [outcome] = await regions.push(regions.b, [object]);
  return outcome;
}

async function removal(of = id) {
  return await pushed(withoutKekWraps(await stored(of), later()));
}

function newKek(
  { kekId = randomUUID() as string, createdMs = Date.now() },
  given: Readonly<Record<string, number>>,
): ManagedObject {
  const all = Object.entries(given).map(([region, first]) => ({ region, ...wrap(first) }));
  const kek = { id: kekId, createdMs, check: new Uint8Array([1]), wraps: all };
  return kekRecord({ instance, kek }, false, later());
}

test("a thief's push takes no wrap of this region away, nor puts another one in its place", async () => {
  expect(await removal()).toBe("refused");
  expect(await wraps()).toEqual({ a: opens, b: opens });
  expect(await push({ wraps: { b: undefined } })).toBe("refused");
  // What this region writes counts in the other one too, which may have taken the push of another thief.
  expect(await stampUs()).toBeGreaterThan(us);
  expect(await push({ wraps: { a: wrap(alsoOpens), b: wrap(broken) } })).toBe("refused");
  expect(await wraps()).toEqual({ a: alsoOpens, b: opens });
  expect(await stampUs()).toBeGreaterThan(us);
  for (const doubtful of [strange, unreachable]) {
    expect(await push({ wraps: { b: wrap(doubtful) } })).toBe("refused");
    expect(await wraps()).toEqual({ a: alsoOpens, b: opens });
    expect(await stampUs()).toBeLessThan(us);
  }
});

test("nor does a change that both regions would agree on, or a store that has lost the record", async () => {
  const before = { object: await stored(), tag: "" };
  const after = withoutKekWraps(before.object, later());
  const judging = { mayJoin: rules.mayJoin, observe: () => undefined };
  const change = { kind: "update", before, after } as never;
  await expect(provenChanges([change], "a", judging)).rejects.toMatchObject({
    failure: "noAgreement",
  });
  for (const lost of [undefined, "damaged"] as const) {
    expect(await rules.mayJoin(lost, after, "a")).toContain("takes away this region's wrap");
  }
});

test("a wrap that this region's nodes wrote into the other store is taken, if it opens", async () => {
  expect(await push({ wraps: { b: wrap(alsoOpens) } })).toBe("durable");
  expect(await wraps()).toEqual({ a: opens, b: alsoOpens });
});

test("wraps go with the deletion of their instance, once it is decided", async () => {
  const decided = { id: "r", force: true, atMs: 1, by: "x", byId: "x", phase: "decided" } as const;
  const erased = withoutKekWraps(await stored(), later());
  expect(await pushed(erased)).toBe("refused");
  const proofs = rules.proofs();
  const reserved = () => ({ removal: { ...decided, phase: "reserved" as const } });
  await regions.a.records.change("Instance", instanceRecordId(instance), reserved, []);
  expect(await pushed(erased)).toBe("refused");
  await regions.a.records.change(
    "Instance",
    instanceRecordId(instance),
    () => ({ removal: decided }),
    [],
  );
  expect(rules.proofs()).toBeGreaterThan(proofs);
  expect(await pushed(erased)).toBe("durable");
  expect(await wraps()).toEqual({});
});

test("wraps go with the deletion of their instance, also if that is over first", async () => {
  const erased = withoutKekWraps(await stored(), later());
  await regions.a.records.destroy("Instance", instanceRecordId(instance), []);
  await regions.b.view.refresh();
  expect(await pushed(erased)).toBe("durable");
  expect(await wraps()).toEqual({});
});

test("wraps of an older KEK go once this region has said itself that nothing needs it", async () => {
  const next = randomUUID();
  await pushed(newKek({ kekId: next }, { a: opens, b: opens }));
  const { replicationId: store } = await regions.b.own.position();
  const done = { store, resealed: 1, left: 0, quarantined: 0, reason: "", atMs: 1, sinceMs: 1 };
  const say = async (state: object, of: string = next) =>
    await regions.b.records.change("Kek", of, () => ({ rekey: { b: { ...done, ...state } } }), []);
  // The other region's word about this one is not kept.
  expect(await push({ rekey: { b: done } }, next)).toBe("durable");
  await regions.b.view.refresh();
  expect(regions.b.view.get("Kek", next)?.rekey["b"]).toBeUndefined();
  expect(await removal()).toBe("refused");
  for (const open of [
    { left: 1 },
    { quarantined: 1 },
    { sinceMs: undefined },
    { store: "another" },
  ]) {
    await say(open);
    expect(await removal()).toBe("refused");
  }
  await say({}, id);
  await say({ left: 1 });
  expect(await push({ rekey: { b: done } }, next)).toBe("durable");
  expect(await removal()).toBe("refused");
  await say({});
  expect(await removal(next)).toBe("refused");
  expect(await removal()).toBe("durable");
  expect(await wraps()).toEqual({});
});

test("of KEKs that withhold, the one that this region has named stays, and each later one", async () => {
  const ids = [1, 2, 3].map((at) => `${at}1111111-2222-8333-8444-555555555555`);
  for (const [at, kekId] of ids.entries()) {
    await pushed(newKek({ kekId, createdMs: at + 2 }, { a: opens, b: opens }));
  }
  const [first = "", second = "", third = ""] = ids;
  const { replicationId: store } = await regions.b.own.position();
  const done = { store, resealed: 1, left: 0, quarantined: 0, reason: "", atMs: 1, sinceMs: 1 };
  await regions.b.records.change("Kek", id, () => ({ rekey: { b: done } }), []);
  expect(await removal(first)).toBe("refused");
  const named = { b: { ...done, withheld: second } };
  await regions.b.records.change("Kek", id, () => ({ rekey: named }), []);
  expect(await removal(third)).toBe("refused");
  expect(await removal(second)).toBe("refused");
  expect(await removal(first)).toBe("durable");
});

test("a new KEK has this region's wrap only if that opens, and can be wrapped else", async () => {
  const good = newKek({}, { a: opens, b: opens });
  expect(await pushed(good)).toBe("durable");
  for (const [at, first] of [broken, strange, unreachable].entries()) {
    const forged = newKek({ createdMs: at }, { a: opens, b: first });
    expect(await pushed(forged)).toBe("refused");
    expect(await wraps(forged.uniqueIdentifier)).toEqual({ a: opens });
    expect(everWrapped(await stored(forged.uniqueIdentifier), "b")).toBe(false);
  }
  // One that nobody else has wrapped waits for nobody.
  for (const first of [broken, strange]) {
    const forged = newKek({}, { b: first });
    expect(await pushed(forged)).toBe("refused");
    expect(hasErasedWraps(await stored(forged.uniqueIdentifier))).toBe(true);
  }
});

test("a record with so many fields that this region could write none of its own is not taken", async () => {
  const before = await stored();
  const [field] = before.registers;
  if (field === undefined) throw new Error("no field");
  const many = Array.from({ length: 600 }, (_, at) => ({ ...field, key: `seals.x${at}` }));
  const registers = [...before.registers, ...many].toSorted(compareRegisters);
  expect(await pushed({ ...before, registers })).toBe("refused");
  expect((await stored()).registers).toHaveLength(before.registers.length);
});

test("a KEK from the far future, one too many, or one with two values of a field is not taken", async () => {
  const soonMs = Date.now() + dayMs;
  const soon = newKek({ createdMs: soonMs }, { a: opens });
  expect(await pushed(soon)).toBe("durable");
  const far = newKek({ createdMs: Number.MAX_SAFE_INTEGER }, { a: opens });
  expect(await pushed(far)).toBe("refused");
  await expect(stored(far.uniqueIdentifier)).rejects.toThrow("no such record");
  // The next KEK comes after all others.
  expect(await pushed(newKek({ createdMs: soonMs + dayMs }, { a: opens }))).toBe("durable");
  const before = await stored();
  const [own] = before.registers.filter(({ key }) => key === "b");
  if (own === undefined) throw new Error("no wrap");
  for (const more of [{ index: 1 }, { origin: "z" }]) {
    const registers = [...before.registers, { ...own, ...more }];
    expect(await pushed({ ...before, registers })).toBe("refused");
  }
  const count = regions.b.view.of("Kek", instance).size;
  const many = Array.from({ length: 2_000 - count }, () => newKek({}, { a: opens }));
  regions.b.view.take(many);
  expect(await pushed(newKek({}, { a: opens }))).toBe("refused");
  expect(await push({ wraps: { a: wrap(alsoOpens) } })).toBe("durable");
  isFilled = false;
  expect(await pushed(far)).toBe("durable");
});

/** Region b's catch-up with region a. */
function catchUp(): () => Promise<unknown> {
  const { own } = regions.a;
  const peer: Partial<Peer> = {
    region: "a",
    state: () => "up",
    changes: (...of) => own.changes(...of),
    records: (...of) => own.records(...of),
    digests: (...of) => own.digests(...of),
    leaves: (...of) => own.leaves(...of),
  };
  const { mayJoin, proofs } = rules;
  const parts = { own: regions.b.own, timers: systemClock, observe: () => undefined };
  const reader = new PeerReader({ peer: peer as Peer, ...parts, mayJoin, proofs });
  return async () => {
    const [position, epoch] = [await own.position(), await regions.b.own.newEpoch()];
    const signal = new AbortController().signal;
    return await reader.pullAll(position, { epoch, signal, active: () => true });
  };
}

test("catch-up takes a wrap that could not be checked once the root of trust answers again", async () => {
  const run = catchUp();
  await run();
  const kek = newKek({}, { a: opens, b: opens });
  await regions.a.own.commit(systemInstance, [{ kind: "create", after: kek }], []);
  isAway = true;
  await run();
  expect(await wraps(kek.uniqueIdentifier)).toEqual({ a: opens });
  const before = asked;
  isAway = false;
  await run();
  expect(asked).toBe(before);
  rules.rootAnswers();
  await run();
  expect(await wraps(kek.uniqueIdentifier)).toEqual({ a: opens, b: opens });
});

test("a root of trust that comes and goes is asked again only every five seconds", async () => {
  const run = catchUp();
  const kek = newKek({}, { a: opens, b: unreachable });
  await regions.a.own.commit(systemInstance, [{ kind: "create", after: kek }], []);
  await run();
  for (const seconds of [0, 5, 10]) {
    aheadMs = seconds * 1_000;
    let before = asked;
    rules.rootAnswers();
    await run();
    expect(asked).toBeGreaterThan(before);
    before = asked;
    rules.rootAnswers();
    await run();
    await run();
    expect(asked).toBe(before);
  }
});
