import { encodeRecord, type ManagedObject, recordTag, sysPartition } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { headerAt, readRecordHeader, recordHeaderLength } from "../connection/record-header.ts";
import { deriveStorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";
import { openRecord, proveRecord, type RecordPlace, versionMax } from "./record-proof.ts";
import { StoredRecords, versionOfRepair } from "./stored-records.ts";

const instance = "1c0b2f0e-6c1d-4c7e-9d57-3b0e8e6f7a10";
const identifier = "9e107d9d-372b-4b5c-8a1f-0f5e4c3b2a10";
const other = "9e107d9d-372b-4b5c-8a1f-0f5e4c3b2a11";
const object = sampleObject(instance, identifier);
const place = { partition: 7, identifier };
const corrupt = expect.objectContaining({ failure: "corrupt" });

function keyOf(number: number, { storeId = "ab".repeat(16), region = "a", byte = 1 } = {}) {
  return deriveStorageKey(Buffer.alloc(32, byte), { storeId, region, number });
}

const key = keyOf(1);
const keys = new StorageKeys("ab".repeat(16), [key]);

/** A record's value as the store keeps it, in the middle of a larger buffer, as Redis's answers are. */
function storedValue(
  of: ManagedObject,
  { at = place as RecordPlace, by = key, version = 1, promised = 7 } = {},
): Buffer {
  const { digest, proof, body } = proveRecord(by, at, of, version);
  const numbers = Buffer.alloc(18);
  numbers.writeUIntBE(promised, 0, 6);
  const whole = Buffer.concat([
    Buffer.alloc(50, 1),
    digest,
    numbers,
    proof,
    body,
    Buffer.alloc(50, 2),
  ]);
  return whole.subarray(50, whole.length - 50);
}

function flipped(value: Buffer, at: number, bit = 0): Buffer {
  const copy = Buffer.from(value);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at);
  return copy;
}

const system = sampleObject("{sys}", identifier);
const systemPlace = { partition: sysPartition, identifier };

describe("a stored record", () => {
  test("grows by 40 bytes of header, and a sealed one by 16 more", () => {
    const bytes = encodeRecord(object).length;
    expect(recordHeaderLength).toBe(34 + 40);
    expect(storedValue(object)).toHaveLength(recordHeaderLength + bytes);
    const sealed = storedValue(system, { at: systemPlace });
    expect(sealed).toHaveLength(recordHeaderLength + encodeRecord(system).length + 16);
  });

  test("says its version, its facts and its key's number", () => {
    const fact = { time: 1, region: "a" };
    const facts = { activated: fact, compromised: fact, destroyed: fact, served: fact };
    const value = storedValue({ ...object, facts }, { version: 0x0102030405 });
    expect(readRecordHeader(value)).toMatchObject({
      tag: recordTag({ ...object, facts }),
      version: 0x0102030405,
      facts: 0x0d,
      keyNumber: 1,
    });
    expect(readRecordHeader(storedValue({ ...object, facts: { deactivated: fact } }))?.facts).toBe(
      2,
    );
    expect(readRecordHeader(storedValue(system, { at: systemPlace }))?.facts).toBe(0x80);
  });

  test.each([
    ["in clear", object, place],
    ["sealed", system, systemPlace],
  ])("is refused when any bit of what is proven is another: %s", (_name, of, at) => {
    const records = new StoredRecords();
    const value = storedValue(of, { at });
    expect(records.openAgain(keys, at, value).object).toEqual(of);
    for (let byte = 0; byte < value.length; byte++) {
      if (byte >= headerAt.promised && byte < headerAt.version) continue;
      for (let bit = 0; bit < 8; bit++) {
        const altered = flipped(value, byte, bit);
        expect(() => records.openAgain(keys, at, altered), `${byte}.${bit}`).toThrow(corrupt);
      }
    }
  });

  test.each([
    ["another identifier", { ...place, identifier: other }],
    ["another partition", { ...place, partition: 8 }],
    ["no identifier", { ...place, identifier: "" }],
  ])("is refused at another place: %s", (_name, at) => {
    const records = new StoredRecords();
    const value = storedValue(object);
    records.openAgain(keys, place, value);
    expect(() => records.openAgain(keys, at, value)).toThrow(corrupt);
    expect(() => records.open(keys, at, value)).toThrow(corrupt);
  });

  test.each([
    ["another number", keyOf(2)],
    ["another store", keyOf(1, { storeId: "cd".repeat(16) })],
    ["another region", keyOf(1, { region: "b" })],
    ["another secret", keyOf(1, { byte: 2 })],
  ])("is refused when it was made with the key of %s", (_name, by) => {
    const records = new StoredRecords();
    records.openAgain(keys, place, storedValue(object));
    expect(() => records.openAgain(keys, place, storedValue(object, { by }))).toThrow(corrupt);
    // A record that was proven by another store's key is not proven by this one's.
    const others = new StorageKeys("", [by]);
    records.openAgain(others, place, storedValue(object, { by }));
    expect(() => records.openAgain(keys, place, storedValue(object, { by }))).toThrow(corrupt);
  });

  test("of an older key is accepted as long as the store has that key, and not under its number alone", () => {
    const records = new StoredRecords();
    const both = new StorageKeys("", [key, keyOf(2)]);
    expect(both.newest.number).toBe(2);
    const value = storedValue(object);
    expect(records.open(both, place, value).object).toEqual(object);
    value.writeUInt16BE(2, headerAt.keyNumber);
    expect(() => records.open(both, place, value)).toThrow(corrupt);
  });

  test("is sealed if it is a system record, except KEKs and regions", () => {
    const recordOf = (of: ManagedObject) => Buffer.from(encodeRecord(of));
    expect(storedValue(system, { at: systemPlace }).includes(recordOf(system))).toBe(false);
    for (const objectType of [0x80000002, 0x80000003]) {
      const open = { ...system, objectType };
      const value = storedValue(open, { at: systemPlace });
      expect(value.includes(recordOf(open))).toBe(true);
      expect(openRecord(keys, systemPlace, value).bytes).toEqual(recordOf(open));
    }
  });

  test("is sealed with another nonce in each version, and with the same bytes in the same version", () => {
    const bodies = [1, 2, 2].map((version) =>
      storedValue(system, { at: systemPlace, version }).toString("hex", recordHeaderLength),
    );
    expect(new Set(bodies).size).toBe(2);
  });

  test.each([
    ["cut short", storedValue(object).subarray(0, 73)],
    ["empty", Buffer.alloc(0)],
    ["without a body", storedValue(object).subarray(0, 74)],
    ["sealed, and without a seal", storedValue(system, { at: systemPlace }).subarray(0, 80)],
  ])("is refused if it is %s", (_name, value) => {
    for (const at of [place, systemPlace]) {
      expect(() => new StoredRecords().open(keys, at, value)).toThrow(corrupt);
    }
  });
});

test("any bytes are a record or corrupt, and nothing else", () => {
  const values = [storedValue(object), storedValue(system, { at: systemPlace })];
  const cut = fc.tuple(fc.constantFrom(...values), fc.nat(2_000)).map(([value, length]) => {
    return value.subarray(0, Math.min(length, value.length - 1));
  });
  const bytes = fc.uint8Array({ maxLength: 200 }).map((made) => Buffer.from(made));
  const spliced = fc
    .tuple(fc.constantFrom(...values), bytes, fc.nat(100))
    .map(([value, more, at]) => {
      return Buffer.concat([value.subarray(0, at), more, value.subarray(at)]);
    });
  const isValue = (value: Buffer) => values.some((one) => one.equals(value));
  fc.assert(
    fc.property(fc.oneof(cut, bytes, spliced), fc.boolean(), (value, isSystem) => {
      fc.pre(!isValue(value));
      const at = isSystem ? systemPlace : place;
      expect(() => new StoredRecords().open(keys, at, value)).toThrow(corrupt);
    }),
    { seed: 20261129, numRuns: 500 },
  );
});

describe("versions", () => {
  const change = (before: ManagedObject) =>
    ({ kind: "update", before: { object: before, tag: "" }, after: { ...before } }) as const;
  const versionIn = (proof: Buffer) => proof.readUIntBE(0, 5);

  test("begin with 1, and grow with each change of a record that was read or written here", () => {
    const records = new StoredRecords();
    const created = { kind: "create", after: { ...object } } as const;
    expect(versionIn(records.prove(key, 7, created).proof)).toBe(1);
    records.noteWritten(created.after, 1);
    expect(versionIn(records.prove(key, 7, change(created.after)).proof)).toBe(2);
    const read = records.open(keys, place, storedValue(object, { version: 8 })).object;
    expect(records.knows(change(read))).toBe(true);
    expect(versionIn(records.prove(key, 7, change(read)).proof)).toBe(9);
    // A record that is made anew, or changed, is newer than what is remembered of it.
    expect(versionIn(records.prove(key, 7, created, 40).proof)).toBe(41);
    expect(versionIn(records.prove(key, 7, change(read), 40).proof)).toBe(41);
    expect(records.knows(change({ ...object }))).toBe(false);
  });

  test("are learned from a header that proves itself only", () => {
    const records = new StoredRecords();
    const header = storedValue(object, { version: 8 }).subarray(0, recordHeaderLength);
    const before = { ...object };
    expect(records.learn(keys, place, flipped(header, headerAt.version), before)).toBe(false);
    expect(records.learn(keys, { ...place, partition: 1 }, header, before)).toBe(false);
    expect(records.learn(keys, place, Buffer.alloc(0), before)).toBe(false);
    expect(records.knows(change(before))).toBe(false);
    expect(records.learn(keys, place, header, before)).toBe(true);
    expect(versionIn(records.prove(key, 7, change(before)).proof)).toBe(9);
  });

  test("end with the highest, above which a record does not change", () => {
    const records = new StoredRecords();
    const read = records.open(keys, place, storedValue(object, { version: versionMax })).object;
    expect(() => records.prove(key, 7, change(read))).toThrow(corrupt);
  });

  test.each([
    ["the changes of the partition", storedValue(object, { version: 3 }), 20, 21],
    ["a proven version that is higher", storedValue(object, { version: 30 }), 20, 31],
    ["no version that is not proven", Buffer.alloc(80, 0xff), 20, 21],
    ["no count that cannot be true", storedValue(object, { version: 3 }), 2 ** 46, 4],
    ["no version above the highest", storedValue(object, { version: versionMax }), 20, versionMax],
    ["a record that is gone", Buffer.alloc(0), 0, 1],
    ["what is remembered", storedValue(object, { version: 3 }), 20, 51, 50],
  ])("of a repair is above: %s", (_name, damaged, changes, version, remembered = 0) => {
    expect(versionOfRepair(keys, place, damaged, changes, remembered)).toBe(version);
  });
});

describe("records that were opened before", () => {
  test("are the same object for the same bytes, regardless of the promised change", () => {
    const records = new StoredRecords();
    const first = records.openAgain(keys, place, storedValue(object));
    expect(first.object).toEqual(object);
    expect(records.openAgain(keys, place, storedValue(object))).toBe(first);
    expect(records.openAgain(keys, place, storedValue(object, { promised: 8 }))).toBe(first);
    const newer = records.openAgain(keys, place, storedValue(object, { version: 2 }));
    expect(newer).not.toBe(first);
    expect(newer).toEqual(first);
  });

  test("do not change when the answer's buffer changes", () => {
    const records = new StoredRecords();
    const value = storedValue(object);
    const first = records.openAgain(keys, place, value);
    value.fill(0);
    expect(first.object).toEqual(object);
    expect(records.openAgain(keys, place, storedValue(object))).toBe(first);
  });

  test("are never taken for a newer record", () => {
    const records = new StoredRecords();
    const newer = { ...object, facts: { destroyed: { time: 1, region: "a" } } };
    records.openAgain(keys, place, storedValue(object));
    expect(records.openAgain(keys, place, storedValue(newer)).object).toEqual(newer);
    expect(records.openAgain(keys, place, storedValue(object)).object).toEqual(object);
  });

  test("are bounded in number: a recently used one stays, others are dropped", () => {
    const records = new StoredRecords();
    const open = (of: ManagedObject) => {
      const at = { ...place, identifier: of.uniqueIdentifier };
      return records.openAgain(keys, at, storedValue(of, { at }));
    };
    const used = open(object);
    const gone = open(numbered(0));
    for (let number = 1; number < 9000; number++) {
      open(numbered(number));
      if (number % 1000 === 0) open(object);
    }
    expect(open(object)).toBe(used);
    const again = open(numbered(0));
    expect(again).not.toBe(gone);
    expect(again).toEqual(gone);
  });

  test("are not kept if they are large", () => {
    const records = new StoredRecords();
    const material = { kekId: "k", nonce: new Uint8Array(12), ciphertext: new Uint8Array(5000) };
    const large = { ...object, material };
    const first = records.openAgain(keys, place, storedValue(large));
    expect(records.openAgain(keys, place, storedValue(large))).not.toBe(first);
    expect(first.object).toEqual(large);
  });
});

function numbered(number: number): ManagedObject {
  return sampleObject(instance, `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`);
}
