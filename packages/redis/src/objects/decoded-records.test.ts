import { encodeRecord, type ManagedObject, tagOf } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { DecodedRecords, decodeStored } from "./decoded-records.ts";

const instance = "1c0b2f0e-6c1d-4c7e-9d57-3b0e8e6f7a10";
const identifier = "9e107d9d-372b-4b5c-8a1f-0f5e4c3b2a10";
const other = "9e107d9d-372b-4b5c-8a1f-0f5e4c3b2a11";
const object = sampleObject(instance, identifier);

/** A record's value as the store keeps it, in the middle of a larger buffer, as Redis's answers are. */
function storedValue(of: ManagedObject, promised = 7): Buffer {
  const record = encodeRecord(of);
  const header = Buffer.alloc(34);
  header.write(tagOf(record), "hex");
  header.writeUIntBE(promised, 16, 6);
  const whole = Buffer.concat([Buffer.alloc(50, 1), header, record, Buffer.alloc(50, 2)]);
  return whole.subarray(50, whole.length - 50);
}

function flipped(value: Buffer, at: number): Buffer {
  const copy = Buffer.from(value);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

describe("decoded records", () => {
  test("the same bytes decode to the same object, regardless of the promised change", () => {
    const records = new DecodedRecords();
    const first = records.decode(identifier, storedValue(object));
    expect(first.object).toEqual(object);
    expect(records.decode(identifier, storedValue(object))).toBe(first);
    expect(records.decode(identifier, storedValue(object, 8))).toBe(first);
  });

  test("a remembered object does not change when the answer's buffer changes", () => {
    const records = new DecodedRecords();
    const value = storedValue(object);
    const first = records.decode(identifier, value);
    value.fill(0);
    expect(first.object).toEqual(object);
    expect(records.decode(identifier, storedValue(object))).toBe(first);
  });

  test("a newer record never decodes to the older object", () => {
    const records = new DecodedRecords();
    const newer = { ...object, facts: { destroyed: { time: 1, region: "a" } } };
    records.decode(identifier, storedValue(object));
    expect(records.decode(identifier, storedValue(newer)).object).toEqual(newer);
    expect(records.decode(identifier, storedValue(object)).object).toEqual(object);
  });

  test.each([
    ["decoded first", false],
    ["decoded after the intact record", true],
  ])("every altered byte of tag or record is refused: %s", (_name, before) => {
    const records = new DecodedRecords();
    const value = storedValue(object);
    if (before) records.decode(identifier, value);
    for (let at = 0; at < value.length; at++) {
      if (at >= 16 && at < 34) continue;
      const corrupt = { failure: "corrupt" };
      expect(() => records.decode(identifier, flipped(value, at))).toThrow(
        expect.objectContaining(corrupt),
      );
    }
  });

  test.each([
    ["cut short", storedValue(object).subarray(0, 33)],
    ["without a record", storedValue(object).subarray(0, 34)],
    ["another object's", storedValue(sampleObject(instance, other))],
  ])("a value that is %s is refused", (_name, value) => {
    const corrupt = expect.objectContaining({ failure: "corrupt" });
    expect(() => new DecodedRecords().decode(identifier, value)).toThrow(corrupt);
  });

  test("without an identifier, any complete record is accepted", () => {
    expect(decodeStored(storedValue(object)).object.uniqueIdentifier).toBe(identifier);
  });

  test("a bounded number is remembered: a recently used one stays, others are dropped", () => {
    const records = new DecodedRecords();
    const used = records.decode(identifier, storedValue(object));
    const first = numbered(0);
    const gone = records.decode(first.uniqueIdentifier, storedValue(first));
    for (let number = 1; number < 9000; number++) {
      const next = numbered(number);
      records.decode(next.uniqueIdentifier, storedValue(next));
      if (number % 1000 === 0) records.decode(identifier, storedValue(object));
    }
    expect(records.decode(identifier, storedValue(object))).toBe(used);
    const again = records.decode(first.uniqueIdentifier, storedValue(first));
    expect(again).not.toBe(gone);
    expect(again).toEqual(gone);
  });

  test("a large record is not remembered", () => {
    const records = new DecodedRecords();
    const material = {
      kekId: "k",
      nonce: new Uint8Array(12),
      ciphertext: new Uint8Array(5000),
    };
    const large = { ...object, material };
    const first = records.decode(identifier, storedValue(large));
    expect(records.decode(identifier, storedValue(large))).not.toBe(first);
    expect(first.object).toEqual(large);
  });
});

function numbered(number: number): ManagedObject {
  return sampleObject(instance, `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`);
}
