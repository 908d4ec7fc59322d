import { randomUUID } from "node:crypto";
import { ItemType } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import { StoreUnavailable } from "../base/errors.ts";
import { ObjectInstances } from "../key-ring/object-instances.ts";
import { ObjectKekStore } from "../key-ring/object-kek-store.ts";
import type { ManagedObject } from "../record/record.ts";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import { kekStoreConformance } from "../testing/conformance/kek-store-conformance.ts";
import { MemoryOwnStore } from "../testing/memory/memory-own-store.ts";
import { testEngine } from "../testing/test-engine.ts";
import { indexTerms } from "./index-terms.ts";
import { systemInstance } from "./partition.ts";
import {
  instanceRecord,
  kekRecord,
  kekTerm,
  readInstanceRecord,
  readKekRecord,
  readRegionRecord,
  regionRecord,
  systemIdentifier,
  systemTypes,
  withInstanceName,
  withKekWrap,
  withRegion,
} from "./system-record.ts";
import type { WrappedKek } from "./wrapped-kek.ts";

const clock = { wallMs: () => 1_780_000_000_123, monotonicMs: () => 0 };
const writer = { clock, region: "a" };
const now = { us: 1_780_000_000_000_000, region: "a" };
const kek: WrappedKek = {
  id: "0f8fad5b-d9cb-469f-a165-70867728950e",
  createdMs: 1_780_000_000_123,
  check: Uint8Array.of(7, 8),
  wraps: [
    { region: "a", rootOfTrust: "local", rootKeyVersion: "1", blob: Uint8Array.of(1, 2) },
    { region: "b", rootOfTrust: "hpcs", rootKeyVersion: "", blob: Uint8Array.of() },
  ],
};

kekStoreConformance("ObjectKekStore", async () => ({
  subject: new ObjectKekStore(new MemoryOwnStore(), writer),
  close: async () => undefined,
}));

/** Through the record's bytes. */
function stored(record: ManagedObject): ManagedObject {
  return decodeRecord(encodeRecord(record));
}

test("what a system record says is read again from its bytes", () => {
  const instance = randomUUID();
  expect(readKekRecord(stored(kekRecord({ instance, kek }, true, now)))).toEqual({ instance, kek });
  const named = instanceRecord({ instance, name: "one" }, now);
  const renamed = withInstanceName(named, "two", now);
  expect(readInstanceRecord(stored(named))).toEqual({ instance, name: "one" });
  expect(readInstanceRecord(stored(renamed))).toEqual({ instance, name: "two" });
  expect(renamed.registers[0]?.stamp.us).toBe(now.us + 1);
  const region = { region: "eu-de", generation: 1, retired: 0 };
  const retired = withRegion(regionRecord(region, now), { retired: 1 }, now);
  expect(readRegionRecord(stored(regionRecord(region, now)))).toEqual(region);
  expect(readRegionRecord(stored(retired))).toEqual({ ...region, retired: 1 });
  // After the last number there is no generation in which it could rejoin.
  const forever = withRegion(retired, { retired: Number.MAX_SAFE_INTEGER }, now);
  expect(readRegionRecord(stored(forever))).toBeUndefined();
  expect(readRegionRecord(withRegion(forever, { retired: 1 }, now))).toMatchObject({ retired: 1 });
});

test("each kind is read as its own only, and no object as any", async () => {
  const instance = randomUUID();
  const record = kekRecord({ instance, kek }, false, now);
  expect(readInstanceRecord(record)).toBeUndefined();
  expect(readRegionRecord(record)).toBeUndefined();
  expect(readKekRecord({ ...record, instance })).toBeUndefined();
  expect(readKekRecord({ ...record, fixed: [] })).toBeUndefined();
  expect(indexTerms({ ...record, fixed: [] })).toEqual([]);
});

test("identifiers are UUIDs of version 8, one a name and type", () => {
  const ids = [
    systemIdentifier(systemTypes.Region, "a"),
    systemIdentifier(systemTypes.Region, "b"),
    systemIdentifier(systemTypes.Instance, "a"),
  ];
  expect(new Set(ids).size).toBe(3);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab]/);
  expect(systemIdentifier(systemTypes.Region, "a")).toBe(ids[0]);
});

test("a KEK is found by its instance; the first of an instance claims that", () => {
  const record = kekRecord({ instance: "i", kek }, true, now);
  const [term, claim] = indexTerms(record);
  expect(term).toEqual({ term: kekTerm("i"), unique: false });
  expect(claim?.unique).toBe(true);
  const facts = { destroyed: { time: 1, region: "a" } };
  expect(indexTerms({ ...record, facts }).filter(({ unique }) => unique)).toEqual([]);
  expect(indexTerms(kekRecord({ instance: "i", kek }, false, now))).toHaveLength(1);
});

test("a wrap of the same region replaces the one before it, with a later stamp", () => {
  const wrap = { region: "b", rootOfTrust: "l", rootKeyVersion: "2", blob: Uint8Array.of(7) };
  const record = kekRecord({ instance: "i", kek }, false, now);
  const after = withKekWrap(record, wrap, { us: 5, region: "b" });
  expect(readKekRecord(after)?.kek.wraps).toEqual([kek.wraps[0], wrap]);
  const stamps = after.registers.map(({ key, stamp }) => [key, stamp.us, stamp.region]);
  expect(stamps).toEqual([
    ["a", now.us, "a"],
    ["b", now.us + 1, "b"],
  ]);
});

test("a wrap that is none closes no other", () => {
  const record = kekRecord({ instance: "i", kek }, false, now);
  const [own, other] = record.registers;
  if (own === undefined || other === undefined) throw new Error("no registers");
  const value = { tag: 0x540027, type: ItemType.Integer, value: 1 } as const;
  const broken = { ...record, registers: [own, { ...other, value }] };
  expect(readKekRecord(stored(broken))?.kek.wraps).toEqual([kek.wraps[0]]);
});

test("KEKs of all instances, oldest first, many pages of them", async () => {
  const keks = new ObjectKekStore(new MemoryOwnStore(), writer);
  const ids = Array.from({ length: 300 }, () => randomUUID());
  for (const [at, id] of ids.entries()) {
    await keks.add(`i${at % 3}`, { id, createdMs: 300 - at, check: kek.check, wraps: [] }, false);
  }
  const all = await keks.all();
  expect(all.map(({ kek: { id } }) => id)).toEqual(ids.toReversed());
  expect(await keks.list("i1")).toHaveLength(100);
});

test("an instance is named once and renamed, and keeps its status", async () => {
  const store = new MemoryOwnStore();
  const instances = new ObjectInstances(store, store.instances, writer);
  const id = systemIdentifier(systemTypes.Instance, "i");
  const nameOf = async () => {
    const [found] = await store.read(systemInstance, [id]);
    return found && readInstanceRecord(found.object)?.name;
  };
  expect(await instances.ensure("i", "one")).toBe("Installed");
  expect(await nameOf()).toBe("one");
  store.instances.setStatus("i", "Removing");
  expect(await instances.ensure("i", "two")).toBe("Removing");
  expect(await nameOf()).toBe("two");
  const { numbers } = await store.position();
  await instances.ensure("i", "two");
  expect((await store.position()).numbers).toEqual(numbers);
  store.setState("readOnly");
  expect(await instances.ensure("i", "three")).toBe("Removing");
  await expect(instances.ensure("unknown", "x")).rejects.toThrow(StoreUnavailable);
  await expect(instances.ensure(systemInstance, "x")).rejects.toThrow(RangeError);
});

test("no client reaches the system's records", async () => {
  const { sendAs } = await testEngine();
  const client = { instance: systemInstance, fingerprint: "fp" };
  const { items } = await sendAs(client, "1.1", [["Locate", { attributes: [] }]]);
  expect(items[0]).toMatchObject({ status: "OperationFailed", reason: "PermissionDenied" });
});
