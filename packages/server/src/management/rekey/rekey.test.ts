import {
  changeRecord,
  encodeRecord,
  InstanceKeyRing,
  kekIdsOf,
  kekRecord,
  type ManagedObject,
  makeRecord,
  ObjectKekStore,
  RootOfTrustError,
  readRecord,
  StoreUnavailable,
  systemInstance,
  withKekWrap,
} from "@holdfast/engine";
import { MemoryOwnStore, MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import { join, Reseal } from "@holdfast/regions";
import { beforeEach, expect, test } from "vitest";
import { systemIds as ids } from "../../base/system.ts";
import { instanceRecordId, Records } from "../../records/records.ts";
import { TestView } from "../../testing/system-records.ts";
import { openText, sealText } from "../sealed-text.ts";
import { userBinding, userRecordId } from "../users/recorded-users.ts";
import {
  addSeals,
  Rekey,
  rekeyings,
  rekeyOf,
  rekeyReadings,
  rolesOf,
  sealsUnder,
  withheldOf,
} from "./rekey.ts";

const keepMs = 60_000;
const secret = encodeRecord(sampleObject("i", ids.uuid()));

let nowMs: number;
let own: MemoryOwnStore;
let view: TestView;
let restorable: Set<string>;
let records: Records;
let ring: InstanceKeyRing;
let regions: readonly string[];
let keks: ObjectKekStore;
/** The data of region b's store. */
let storeOfB: string;
let epoch: number;

const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const timers = { ...clock, sleep: async () => undefined };

beforeEach(async () => {
  nowMs = 1_700_000_000_000;
  regions = ["a"];
  [storeOfB, epoch] = ["b1", 1];
  own = new MemoryOwnStore({ wallMs: clock.wallMs });
  await own.instances.ensure("i", "i");
  view = new TestView();
  restorable = new Set();
  records = new Records({ region: "a", others: () => [], store: own, view, clock, ids });
  keks = new ObjectKekStore(own, { clock, region: "a" });
  const root = new MemoryRootOfTrust(ids);
  ring = new InstanceKeyRing({
    ...{ rootOf: () => root, keks, clock, ids, region: "a", observe: () => undefined },
    ...{ kekCacheMs: 1e9, graceMs: 1e9 },
  });
  const values = { instance: "i", name: "i", status: "Installed" } as const;
  await records.create("Instance", values, [], { id: instanceRecordId("i") });
});

function leader(region = "a"): Rekey {
  const required = () => regions;
  const wanted = async () => rekeyings(view, required());
  const reseal = new Reseal({ own, keyRing: ring, timers, wanted });
  const storeOf = async (of: string) =>
    of === "b" ? storeOfB : (await own.position()).replicationId;
  return new Rekey({
    ...{ storeOf, region, node: "a1", required, own, store: own, view, records },
    ...{ keyRing: ring, reseal, restorable, clock, requestId: ids.uuid, keepMs },
  });
}

/** What a node's view would show a moment later. */
async function see(): Promise<void> {
  view.take(await systemObjects());
}

async function systemObjects(): Promise<readonly ManagedObject[]> {
  const query = { live: true, destroyed: true, limit: 1_000 };
  return (await own.find(systemInstance, query)).objects.map(({ object }) => object);
}

async function run(duty: Rekey, times = 3): Promise<void> {
  for (let at = 0; at < times; at += 1) {
    await see();
    const signal = new AbortController().signal;
    await duty.run({ epoch, signal, active: () => true });
  }
  await see();
}

async function newKey(): Promise<ManagedObject> {
  const object = sampleObject("i", ids.uuid());
  const { instance, uniqueIdentifier, objectType } = object;
  const binding = { instance, uniqueIdentifier, objectType };
  const after = { ...object, material: await ring.seal(binding, secret) };
  await own.commit("i", [{ kind: "create", after }], []);
  return after;
}

const progress = (region = "a") => rekeyOf(view, "i", regions).states[region];
const wrapped = async () =>
  (await keks.list("i")).filter(({ wraps }) => wraps.length > 0).map(({ id }) => id);
test("records and passwords move, the instance's record says so, and the older KEK goes after its time", async () => {
  const key = await newKey();
  const binding = userBinding("i", "esx");
  const hash = await sealText(ring, binding, Buffer.from("hash"));
  const user = makeRecord(
    "User",
    userRecordId("i", "esx"),
    { instance: "i", name: "esx", hash },
    { us: 1, region: "a" },
  );
  await own.commit(systemInstance, [{ kind: "create", after: user }], []);
  const kek = await ring.rekey("i", []);
  await see();
  expect(rolesOf(view, "i", regions)).toMatchObject({ seals: { id: kek }, older: [{}] });
  expect(rekeyReadings({ region: "a", view, required: () => regions }).rekeyLeft()).toBe(0);
  const duty = leader();
  await run(duty);
  expect(rekeyOf(view, "i", regions).kek).toBe(kek);
  expect(progress()).toMatchObject({ resealed: 1, left: 0, quarantined: 0, sinceMs: nowMs });
  const [stored] = await own.read("i", [key.uniqueIdentifier]);
  expect([...kekIdsOf(stored?.object ?? key)]).toEqual([kek]);
  const [changed] = view.of("User", "i").values();
  expect(changed?.hash).toContain(kek);
  const opened = await openText(ring, binding, changed?.hash ?? "");
  expect(Buffer.from(opened).toString()).toBe("hash");
  expect(await wrapped()).toHaveLength(2);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(await wrapped()).toEqual([kek]);
  expect(rolesOf(view, "i", regions)).toMatchObject({ older: [], removed: [{}] });
  ring.drop();
  const again = await openText(ring, binding, changed?.hash ?? "");
  expect(Buffer.from(again).toString()).toBe("hash");
});

test("an older KEK stays while the other region has not said that it needs it no more, or is retired and may come back", async () => {
  await newKey();
  const [first] = await keks.list("i");
  const [wrap] = first?.wraps ?? [];
  if (first === undefined || wrap === undefined) throw new Error("no KEK");
  await keks.rewrap("i", first.id, new Uint8Array(), { ...wrap, region: "b" });
  const kek = await ring.rekey("i", []);
  const duty = leader();
  await run(duty);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(await wrapped()).toHaveLength(2);
  const told = { store: "b1", resealed: 1, left: 0, quarantined: 0, reason: "", atMs: nowMs };
  const tell = async (state: object, of = kek) => {
    const rekey = { b: { ...told, ...state } };
    await records.change("Kek", of, () => ({ rekey }), []);
    await run(duty);
    nowMs += keepMs - 1;
    await run(duty);
    const early = (await wrapped()).length;
    nowMs += 1;
    await run(duty);
    return [early, (await wrapped()).length];
  };
  expect(await tell({ left: 1 })).toEqual([2, 2]);
  expect(await tell({ sinceMs: 1 }, first.id)).toEqual([2, 2]);
  expect(await tell({ sinceMs: 1, quarantined: 1 })).toEqual([2, 2]);
  expect(await tell({ sinceMs: 2, store: "b0" })).toEqual([2, 2]);
  // Whatever the other region's clock says.
  expect(await tell({ sinceMs: 3 })).toEqual([2, 1]);
});

test("the time begins anew with what comes under an older KEK late, with another leader, and with a store that went back", async () => {
  await newKey();
  const binding = userBinding("i", "esx");
  const late = await sealText(ring, binding, Buffer.from("hash"));
  const lateKey = await newKey();
  const kek = await ring.rekey("i", []);
  const duty = leader();
  await run(duty);
  nowMs += keepMs - 10;
  const values = { instance: "i", name: "esx", hash: late };
  const user = makeRecord("User", userRecordId("i", "esx"), values, { us: 1, region: "a" });
  await own.commit(systemInstance, [{ kind: "create", after: user }], []);
  await run(duty, 4);
  expect(progress()).toMatchObject({ left: 0, sinceMs: nowMs });
  nowMs += keepMs - 10;
  await run(duty);
  expect(await wrapped()).toHaveLength(2);
  // Another leader, and the same one again after a third one: it does not know what that one has seen.
  const other = leader();
  epoch += 1;
  await run(other);
  const known = progress()?.sinceMs;
  nowMs += keepMs - 10;
  await run(other);
  epoch += 2;
  nowMs += 20;
  await run(other);
  expect(progress()?.sinceMs).toBe(known);
  expect(await wrapped()).toHaveLength(2);
  epoch += 1;
  const sinceMs = progress()?.sinceMs;
  const [now] = await own.read("i", [lateKey.uniqueIdentifier]);
  if (now === undefined) throw new Error("no key");
  const back = [{ kind: "update", before: now, after: lateKey }] as const;
  await own.commit("i", back, [], { joined: true });
  await run(duty);
  expect(progress()?.sinceMs).toBeGreaterThan(sinceMs ?? Number.POSITIVE_INFINITY);
  nowMs += keepMs;
  await run(duty);
  expect(await wrapped()).toEqual([kek]);
});

test("a record under a removed KEK counts as left, until a copy under the present one replaces it", async () => {
  const key = await newKey();
  await ring.rekey("i", []);
  const duty = leader();
  await run(duty);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(await wrapped()).toHaveLength(1);
  const readings = rekeyReadings({ region: "a", view, required: () => regions });
  expect(readings.rekeyLeft()).toBe(0);
  const [now] = await own.read("i", [key.uniqueIdentifier]);
  if (now === undefined) throw new Error("no key");
  await own.commit("i", [{ kind: "update", before: now, after: key }], [], { joined: true });
  ring.drop();
  await run(duty);
  expect(readings.rekeyLeft()).toBe(1);
  const [broken] = await own.read("i", [key.uniqueIdentifier]);
  if (broken === undefined) throw new Error("no key");
  const healed = [{ kind: "update", before: broken, after: now.object }] as const;
  await own.commit("i", healed, [], { joined: true });
  await run(duty);
  expect(readings.rekeyLeft()).toBe(0);
});

test.each([
  ["removed", undefined],
  ["changed", "another"],
])(
  "a password that was %s in the other region meanwhile stays so after a rekey",
  async (_, text) => {
    await newKey();
    const seal = (of: string) => sealText(ring, userBinding("i", "esx"), Buffer.from(of));
    const id = userRecordId("i", "esx");
    const values = { instance: "i", name: "esx", hash: await seal("hash") };
    const user = makeRecord("User", id, values, { us: nowMs * 1_000, region: "b" });
    await own.commit(systemInstance, [{ kind: "create", after: user }], []);
    const hash = text === undefined ? undefined : await seal(text);
    // The other region's clock is a little behind.
    const there = changeRecord("User", user, { hash }, { us: nowMs * 1_000 - 5, region: "a" });
    const kek = await ring.rekey("i", []);
    nowMs += 1_000;
    await run(leader());
    const [here] = await own.read(systemInstance, [id]);
    if (here === undefined) throw new Error("no user");
    expect(readRecord("User", here.object)?.hash).toContain(kek);
    const both = join(here.object, there);
    expect(both.kind === "joined" && readRecord("User", both.object)?.hash).toBe(hash);
  },
);

test("progress does not change the version of the instance's record", async () => {
  await newKey();
  await ring.rekey("i", []);
  await see();
  const before = view.record(instanceRecordId("i"));
  await run(leader());
  expect(progress()).toMatchObject({ left: 0 });
  expect(view.record(instanceRecordId("i"))).toEqual(before);
});

test("an older KEK stays while something is in quarantine, and after its wraps were written anew", async () => {
  const key = await newKey();
  const [first] = await keks.list("i");
  await own.quarantine("i", key.uniqueIdentifier, "of a test", { copy: encodeRecord(key) });
  await ring.rekey("i", []);
  const duty = leader();
  await run(duty);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(progress()).toMatchObject({ left: 0, quarantined: 1 });
  expect(await wrapped()).toHaveLength(2);
  own.quarantined = async () => 0;
  const [before] = await own.read(systemInstance, [first?.id ?? ""]);
  const [wrap] = first?.wraps ?? [];
  if (before === undefined || wrap === undefined) throw new Error("no KEK");
  const restored = withKekWrap(before.object, wrap, { us: nowMs * 1_000, region: "a" });
  await own.commit(systemInstance, [{ kind: "update", before, after: restored }], []);
  await run(duty);
  expect(await wrapped()).toHaveLength(2);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(await wrapped()).toHaveLength(1);
});

test("an older KEK stays while a leader cannot tell what needs it, or its term is over", async () => {
  const key = await newKey();
  await ring.rekey("i", []);
  const duty = leader();
  await run(duty);
  nowMs += keepMs + 1_000;
  const [{ signal }, position] = [new AbortController(), own.position.bind(own)];
  let asked = 0;
  own.position = async () => {
    asked += 1;
    return await position();
  };
  // It ends when the leader asks which data the stores have.
  await duty.run({ epoch, signal, active: () => asked < 2 });
  expect([asked, (await wrapped()).length]).toEqual([2, 2]);
  await own.quarantine("i", key.uniqueIdentifier, "of a test", { copy: encodeRecord(key) });
  records.change = () => Promise.reject(new StoreUnavailable("full", "no room"));
  await run(duty);
  expect(await wrapped()).toHaveLength(2);
});

test("a KEK that a region has not wrapped is no reason to re-seal, and a deleted instance is left alone", async () => {
  const key = await newKey();
  regions = ["a", "b"];
  const id = ids.uuid();
  const kek = { id, createdMs: nowMs + 1, check: new Uint8Array(16), wraps: [] };
  const [first] = await keks.list("i");
  const [wrap] = first?.wraps ?? [];
  if (wrap === undefined) throw new Error("no wrap");
  const after = kekRecord({ instance: "i", kek: { ...kek, wraps: [wrap] } }, false, {
    us: 1,
    region: "a",
  });
  await own.commit(systemInstance, [{ kind: "create", after }], []);
  await keks.rewrap("i", first?.id ?? "", new Uint8Array(), { ...wrap, region: "b" });
  await see();
  expect(rolesOf(view, "i", regions)).toMatchObject({ waiting: [{ id }], older: [] });
  await run(leader());
  const [stored] = await own.read("i", [key.uniqueIdentifier]);
  expect(stored?.object.material?.kekId).toBe(key.material?.kekId);
  await keks.rewrap("i", id, new Uint8Array(), { ...wrap, region: "b" });
  await see();
  expect(rekeyings(view, regions).size).toBe(1);
  const removing = { status: "Removing" } as const;
  await records.change("Instance", instanceRecordId("i"), () => removing, []);
  expect(rekeyings(view, regions).size).toBe(0);
});

test("seals are added up in the KEK's record, also after the store refused them", async () => {
  await newKey();
  await newKey();
  await see();
  const { commit } = own;
  own.commit = async () => ({ kind: "reserved", uniqueIdentifier: "", operation: "" });
  await addSeals(ring.seals, records, "a");
  own.commit = commit;
  await newKey();
  await addSeals(ring.seals, records, "a");
  await newKey();
  await addSeals(ring.seals, records, "b");
  await see();
  const [kek] = view.of("Kek", "i").values();
  expect(kek?.seals).toEqual({ a: 3, b: 1 });
  expect(kek && sealsUnder(kek)).toBe(4);
  expect(rekeyReadings({ region: "a", view, required: () => regions }).kekSeals()).toBe(4);
});

test("a KEK whose record takes no seals keeps those of no other one from being added up", async () => {
  await newKey();
  ring.seals.count({ instance: "j", id: "crammed" });
  ring.seals.count({ instance: "i", id: "other" });
  const changed: string[] = [];
  const change = async (_: unknown, id: string) => {
    if (id === "crammed") throw new RangeError("a system record has too many fields");
    changed.push(id);
  };
  await expect(addSeals(ring.seals, { change } as never, "a")).rejects.toThrow("too many fields");
  expect(changed).toContain("other");
  expect(ring.seals.of("crammed")).toBe(1);
});

test("a KEK that withholds is made when a key can be restored, and another one after each rekey", async () => {
  const key = await newKey();
  const duty = leader();
  const withheld = () => withheldOf(view, "i", regions);
  await run(duty);
  expect(withheld().seals).toBeUndefined();
  restorable.add("i");
  const destruction = { time: 5, region: "a", until: 9e9, state: "pending", us: 1 } as const;
  const [before] = await own.read("i", [key.uniqueIdentifier]);
  if (before === undefined) throw new Error("no key");
  const after = { ...before.object, facts: { destruction } };
  await own.commit("i", [{ kind: "update", before, after }], []);
  await run(duty);
  const materialOf = async () =>
    (await own.read("i", [key.uniqueIdentifier]))[0]?.object.material?.kekId;
  const first = withheld().seals?.id;
  expect(await materialOf()).toBe(first);
  // The other region's leader makes none, and what seals for clients is as before.
  expect(rolesOf(view, "i", regions)).toMatchObject({ seals: {}, older: [], waiting: [] });
  expect(progress()).toBeUndefined();
  await ring.rekey("i", []);
  await run(duty, 4);
  const second = withheld().seals?.id;
  expect(second).not.toBe(first);
  expect(await materialOf()).toBe(second);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect(await wrapped()).toHaveLength(2);
  expect(await wrapped()).toContain(second);
});

test("a root of trust that makes no KEK that withholds stops no other instance's rekey", async () => {
  await newKey();
  const duty = leader();
  await run(duty);
  restorable.add("i");
  ring.makeWithheld = () => Promise.reject(new RootOfTrustError("disabled", "the key has expired"));
  await ring.rekey("i", []);
  await run(duty, 4);
  expect(progress()).toMatchObject({ left: 0 });
});

test("an older KEK that withholds stays until the other region has said that it withholds under the newest one", async () => {
  await newKey();
  regions = ["a", "b"];
  const share = async () => {
    for (const { id, wraps } of await keks.list("i")) {
      const [wrap] = wraps;
      if (wraps.length !== 1 || wrap === undefined) continue;
      await keks.rewrap("i", id, new Uint8Array(), { ...wrap, region: "b" });
    }
  };
  const first = await makeWithheld(0);
  await share();
  const kek = (await keks.list("i")).find(({ id }) => id !== first)?.id ?? "";
  const told = {
    store: "b1",
    resealed: 1,
    left: 0,
    quarantined: 0,
    reason: "",
    atMs: 1,
    sinceMs: 1,
  };
  const tell = async (withheld: string) => {
    await records.change("Kek", kek, () => ({ rekey: { b: { ...told, withheld } } }), []);
  };
  await tell(first);
  const duty = leader();
  await run(duty);
  // As where two leaders made one.
  const second = await makeWithheld((await keks.list("i")).at(-1)?.createdMs ?? 0);
  await share();
  await run(duty);
  for (let days = 0; days < 3; days += 1) {
    nowMs += keepMs + 1_000;
    await run(duty);
  }
  expect(progress()).toMatchObject({ left: 0, withheld: second });
  expect(await wrapped()).toContain(first);
  await tell(second);
  await run(duty);
  nowMs += keepMs + 1_000;
  await run(duty);
  expect((await wrapped()).toSorted()).toEqual([kek, second].toSorted());
});

/** Makes a KEK that withholds, and answers its id. */
async function makeWithheld(afterMs: number): Promise<string> {
  const known = new Set((await keks.list("i")).map(({ id }) => id));
  await ring.makeWithheld("i", afterMs);
  const made = (await keks.list("i")).find(({ id }) => !known.has(id));
  if (made === undefined) throw new Error("no KEK was made");
  return made.id;
}

test("only the first region in order makes the KEK that withholds", async () => {
  await newKey();
  restorable.add("i");
  regions = ["a", "b"];
  const [first] = await keks.list("i");
  const [wrap] = first?.wraps ?? [];
  if (first === undefined || wrap === undefined) throw new Error("no KEK");
  await keks.rewrap("i", first.id, new Uint8Array(), { ...wrap, region: "b" });
  await run(leader("b"));
  expect(await wrapped()).toHaveLength(1);
  await run(leader("a"));
  // It waits for the other region's wrap, and no other one is made meanwhile.
  await run(leader("a"));
  expect(withheldOf(view, "i", regions)).toMatchObject({ seals: undefined, waiting: [{}] });
  expect(await wrapped()).toHaveLength(2);
});
