import {
  encodeRecord,
  InstanceKeyRing,
  kekIdsOf,
  kekRecord,
  type ManagedObject,
  makeRecord,
  ObjectKekStore,
  systemInstance,
  withKekWrap,
} from "@holdfast/engine";
import { MemoryOwnStore, MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import { Reseal } from "@holdfast/regions";
import { beforeEach, expect, test } from "vitest";
import { systemIds as ids } from "../../base/system.ts";
import { instanceRecordId, Records } from "../../records/records.ts";
import { TestView } from "../../testing/system-records.ts";
import { openText, sealText } from "../sealed-text.ts";
import { userBinding, userRecordId } from "../users/recorded-users.ts";
import { addSeals, Rekey, rekeyings, rekeyReadings, rolesOf, sealsUnder } from "./rekey.ts";

const keepMs = 60_000;
const secret = encodeRecord(sampleObject("i", ids.uuid()));

let nowMs: number;
let own: MemoryOwnStore;
let view: TestView;
let records: Records;
let ring: InstanceKeyRing;
let regions: readonly string[];
let keks: ObjectKekStore;

const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const timers = { ...clock, sleep: async () => undefined };

beforeEach(async () => {
  nowMs = 1_700_000_000_000;
  regions = ["a"];
  own = new MemoryOwnStore({ wallMs: clock.wallMs });
  await own.instances.ensure("i", "i");
  view = new TestView();
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
  return new Rekey({
    ...{ region, node: "a1", required, own, store: own, view, records, keyRing: ring, reseal },
    ...{ clock, requestId: ids.uuid, keepMs },
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
    await duty.run({ epoch: 1, signal, active: () => true });
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

const progress = (region = "a") => view.get("Instance", instanceRecordId("i"))?.rekey[region];
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
  expect(progress()).toMatchObject({ kek, resealed: 1, left: 0, quarantined: 0, sinceMs: nowMs });
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
  expect(rekeyings(view, regions).size).toBe(0);
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
  const told = { kek, resealed: 1, left: 0, quarantined: 0, reason: "", atMs: nowMs };
  const tell = async (state: object) => {
    const rekey = { b: { ...told, ...state } };
    await records.change("Instance", instanceRecordId("i"), () => ({ rekey }), []);
    await run(duty);
    return (await wrapped()).length;
  };
  expect(await tell({ left: 1 })).toBe(2);
  expect(await tell({ sinceMs: nowMs })).toBe(2);
  expect(await tell({ sinceMs: 1, kek: first.id })).toBe(2);
  expect(await tell({ sinceMs: 1, quarantined: 1 })).toBe(2);
  expect(await tell({ sinceMs: 1 })).toBe(1);
});

test("an older KEK stays while something is in quarantine, and after its wraps were written anew", async () => {
  const key = await newKey();
  const [first] = await keks.list("i");
  await own.quarantine("i", key.uniqueIdentifier, "of a test", { copy: encodeRecord(key) });
  await ring.rekey("i", []);
  await run(leader());
  nowMs += keepMs + 1_000;
  await run(leader());
  expect(progress()).toMatchObject({ left: 0, quarantined: 1 });
  expect(await wrapped()).toHaveLength(2);
  own.quarantined = async () => 0;
  const [before] = await own.read(systemInstance, [first?.id ?? ""]);
  const [wrap] = first?.wraps ?? [];
  if (before === undefined || wrap === undefined) throw new Error("no KEK");
  const restored = withKekWrap(before.object, wrap, { us: nowMs * 1_000, region: "a" });
  await own.commit(systemInstance, [{ kind: "update", before, after: restored }], []);
  await run(leader());
  expect(await wrapped()).toHaveLength(2);
  nowMs += keepMs + 1_000;
  await run(leader());
  expect(await wrapped()).toHaveLength(1);
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
