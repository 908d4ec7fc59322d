import { randomUUID } from "node:crypto";
import { ItemType, textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { StoreUnavailable } from "../base/errors.ts";
import { ObjectInstances } from "../key-ring/object-instances.ts";
import { ObjectKekStore } from "../key-ring/object-kek-store.ts";
import type { ManagedObject } from "../record/record.ts";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import { recordTags } from "../record/record-tags.ts";
import { kekStoreConformance } from "../testing/conformance/kek-store-conformance.ts";
import { MemoryOwnStore } from "../testing/memory/memory-own-store.ts";
import { testEngine } from "../testing/test-engine.ts";
import { indexTerms, kekTerm } from "./index-terms.ts";
import { systemInstance } from "./partition.ts";
import {
  changeRecord,
  claimsOf,
  makeRecord,
  readAnyRecord,
  readRecord,
  systemIdentifier,
  withDestroyed,
} from "./system-record.ts";
import { kekRecord, readKekRecord, type WrappedKek, withKekWrap } from "./wrapped-kek.ts";

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

/** The record after it was encoded and decoded. */
function stored(record: ManagedObject): ManagedObject {
  return decodeRecord(encodeRecord(record));
}

test("a system record decodes to the fields that it was made from", () => {
  const instance = randomUUID();
  expect(readKekRecord(stored(kekRecord({ instance, kek }, true, now)))).toEqual({ instance, kek });
  const named = makeRecord("Instance", randomUUID(), { instance, name: "one" }, now);
  const renamed = changeRecord("Instance", named, { name: "two" }, now);
  expect(readRecord("Instance", stored(named))).toMatchObject({ instance, name: "one" });
  expect(readRecord("Instance", stored(renamed))).toMatchObject({ instance, name: "two" });
  expect(renamed.registers[0]?.stamp.us).toBe(now.us + 1);
  const region = { region: "eu-de", generation: 1, retired: 0 };
  const first = makeRecord("Region", randomUUID(), region, now);
  const retire = (record: ManagedObject, retired: number) =>
    changeRecord("Region", record, { retired }, now);
  const retired = retire(first, 1);
  expect(readRecord("Region", stored(first))).toMatchObject(region);
  expect(readRecord("Region", stored(retired))).toMatchObject({ ...region, retired: 1 });
  // After the last number there is no generation in which it could rejoin.
  const forever = retire(retired, Number.MAX_SAFE_INTEGER);
  expect(readRecord("Region", stored(forever))).toBeUndefined();
  expect(readRecord("Region", retire(forever, 1))).toMatchObject({ retired: 1 });
});

test("each kind is read only as itself, and an object of a client as no kind", async () => {
  const instance = randomUUID();
  const record = kekRecord({ instance, kek }, false, now);
  expect(readRecord("Instance", record)).toBeUndefined();
  expect(readRecord("Region", record)).toBeUndefined();
  expect(readKekRecord({ ...record, instance })).toBeUndefined();
  expect(readKekRecord({ ...record, fixed: [] })).toBeUndefined();
  expect(indexTerms({ ...record, fixed: [] })).toEqual([]);
});

test("identifiers are UUIDs of version 8, one per name and type", () => {
  const ids = [
    systemIdentifier("Region", "a"),
    systemIdentifier("Region", "b"),
    systemIdentifier("Instance", "a"),
  ];
  expect(new Set(ids).size).toBe(3);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab]/);
  expect(systemIdentifier("Region", "a")).toBe(ids[0]);
});

test("a KEK is found by its instance, and an instance's first KEK claims to be the first", () => {
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

test("an invalid wrap does not affect the others", () => {
  const record = kekRecord({ instance: "i", kek }, false, now);
  const [own, other] = record.registers;
  if (own === undefined || other === undefined) throw new Error("no registers");
  const value = { tag: 0x540027, type: ItemType.Integer, value: 1 } as const;
  const broken = { ...record, registers: [own, { ...other, value }] };
  expect(readKekRecord(stored(broken))?.kek.wraps).toEqual([kek.wraps[0]]);
});

test("KEKs of all instances are listed oldest first, over many pages", async () => {
  const keks = new ObjectKekStore(new MemoryOwnStore(), writer);
  const ids = Array.from({ length: 300 }, () => randomUUID());
  for (const [at, id] of ids.entries()) {
    await keks.add(`i${at % 3}`, { id, createdMs: 300 - at, check: kek.check, wraps: [] }, false);
  }
  const all = await keks.all();
  expect(all.map(({ kek: { id } }) => id)).toEqual(ids.toReversed());
  expect(await keks.list("i1")).toHaveLength(100);
});

test("an instance is named, is renamed, and keeps its status", async () => {
  const store = new MemoryOwnStore();
  const instances = new ObjectInstances(store, store.instances, writer);
  const id = systemIdentifier("Instance", "i");
  const nameOf = async () => {
    const [found] = await store.read(systemInstance, [id]);
    return found && readRecord("Instance", found.object)?.name;
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

test("no client can reach the system records", async () => {
  const { sendAs } = await testEngine();
  const client = { instance: systemInstance, fingerprint: "fp" };
  const { items } = await sendAs(client, "1.1", [["Locate", { attributes: [] }]]);
  expect(items[0]).toMatchObject({ status: "OperationFailed", reason: "PermissionDenied" });
});

describe("a record with claims", () => {
  const id = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
  const at = (us: number, region = "a") => ({ us, region });
  const authority = { instance: "i", pem: "PEM", createdMs: 5, createdBy: "t" };
  const made = () =>
    makeRecord(
      "Authority",
      id,
      {
        ...authority,
        key: "sealed",
        claims: [
          ["instance", "i"],
          ["instance", "j"],
        ],
      },
      at(5_000_000),
    );

  test("is decoded unchanged", () => {
    const record = decodeRecord(encodeRecord(made()));
    expect(readAnyRecord(record)).toEqual({
      ...{ type: "Authority", id, destroyed: undefined, ...authority, key: "sealed" },
    });
    expect(claimsOf(record)).toEqual(["instance i", "instance j"]);
  });

  test("has its fields set and deleted one by one", () => {
    const changed = changeRecord(
      "Authority",
      made(),
      { key: undefined, claims: [] },
      at(6_000_000),
    );
    expect(readRecord("Authority", changed)).toMatchObject({ ...authority, key: undefined });
    expect(claimsOf(changed)).toEqual([]);
    expect(changed.lastChange).toBe(6);
  });

  test("has its claims until it is deleted", () => {
    const terms = indexTerms(made());
    expect(terms.map(({ unique }) => unique)).toEqual([true, true]);
    expect(new Set(terms.map(({ term }) => term)).size).toBe(2);
    const gone = withDestroyed(made(), at(9_000_000, "b"));
    expect(indexTerms(gone)).toEqual([]);
    expect(readAnyRecord(gone)?.destroyed).toEqual({ time: 9, region: "b" });
    expect(withDestroyed(gone, at(10_000_000))).toBe(gone);
  });

  test.each(["{", "{}", "7", ""])("that are not valid has no claims: %s", (claims) => {
    const registers = made().registers.map((register) =>
      register.key === "claims"
        ? { ...register, value: textString(recordTags.DocumentField, claims) }
        : register,
    );
    expect(indexTerms({ ...made(), registers })).toEqual([]);
  });
});

test("a field whose value is not valid counts as missing, and other fields stay", () => {
  const record = makeRecord("Instance", randomUUID(), { instance: "i", name: "n" }, now);
  const bad = {
    origin: "",
    index: 0,
    stamp: now,
    value: textString(recordTags.DocumentField, "x"),
  };
  const keys = ["createdMs", "description", "labels", "state.a", "status"];
  const registers = keys.map((key) => ({ ...bad, tag: recordTags.DocumentField, key }));
  const read = readRecord("Instance", {
    ...record,
    registers: [...record.registers, ...registers],
  });
  expect(read).toMatchObject({ name: "n", description: "x", labels: {}, state: { a: undefined } });
  expect([read?.createdMs, read?.status]).toEqual([undefined, undefined]);
});

test("a record that lacks a fixed field is not valid", () => {
  const record = makeRecord("User", randomUUID(), { instance: "i", name: "n" }, now);
  expect(readAnyRecord(record)).toMatchObject({ type: "User", instance: "i", name: "n" });
  expect(readAnyRecord({ ...record, fixed: record.fixed.slice(2) })).toBeUndefined();
  expect(readAnyRecord({ ...record, fixed: record.fixed.slice(1) })).toBeUndefined();
  expect(readAnyRecord({ ...record, objectType: 0x8000ffff })).toBeUndefined();
});
