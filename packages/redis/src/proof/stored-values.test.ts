import type { Event } from "@holdfast/engine";
import { expect, test } from "vitest";
import { deriveStorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";
import { proveValue, valueProofLength } from "../storage-keys/value-proof.ts";
import { StoredValues } from "./stored-values.ts";

const storeId = "00112233445566778899aabbccddeeff";
const keyOf = (number: number, of = storeId) =>
  deriveStorageKey(new Uint8Array(32).fill(number), { storeId: of, region: "a", number });
const first = keyOf(1);
const keys = new StorageKeys(storeId, [first]);
const place = { key: "{p01}:cursors", field: "b" };

function opened(believes = false) {
  const events: Event[] = [];
  return { events, values: new StoredValues((event) => events.push(event), believes) };
}

test("a value is read as it was written, at its place", () => {
  const { values, events } = opened();
  const stored = values.withProof(first, place, "7 r");
  expect(String(values.read(keys, place, stored))).toBe("7 r");
  expect(String(values.read(keys, place, Buffer.from(stored)))).toBe("7 r");
  expect(events).toEqual([]);
});

test.each([
  ["another field", { ...place, field: "c" }],
  ["another key", { ...place, key: "{p02}:cursors" }],
  ["names that are the same one after the other", { key: "{p01}:cursor", field: "sb" }],
])("a value of %s does not count, and is reported once", (_, other) => {
  const { values, events } = opened();
  const stored = values.withProof(first, other, "7 r");
  // What was proven there before does not count for it either.
  values.read(keys, place, values.withProof(first, place, "6 r"));
  expect(values.read(keys, place, stored)).toBeUndefined();
  expect(values.read(keys, place, stored)).toBeUndefined();
  expect(events).toEqual([{ type: "unprovenValue", place: "{p01}:cursors b" }]);
  expect(values.unprovenValues()).toEqual(["{p01}:cursors b"]);
  values.read(keys, place, values.withProof(first, place, "8 r"));
  expect(values.unprovenValues()).toEqual([]);
});

test("each bit counts", () => {
  const { values } = opened();
  const stored = values.withProof(first, place, "7 r");
  expect(values.read(keys, place, stored)).toBeDefined();
  for (let bit = 0; bit < stored.length * 8; bit += 1) {
    const other = Buffer.from(stored);
    other.writeUInt8(other.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    expect(values.read(keys, place, other)).toBeUndefined();
  }
});

test.each([
  ["of a number that the store has no more", keyOf(2)],
  ["of another store, with the same number", keyOf(1, "ff112233445566778899aabbccddeeff")],
])("a key %s proves nothing", (_, key) => {
  const { values } = opened();
  values.read(keys, place, values.withProof(first, place, "7 r"));
  expect(values.read(keys, place, values.withProof(key, place, "7 r"))).toBeUndefined();
  const both = new StorageKeys(storeId, [keyOf(2), first]);
  expect(values.read(both, place, values.withProof(first, place, "7 r"))).toBeDefined();
});

test("what is too short is no value; nothing is nothing to report", () => {
  const { values, events } = opened();
  for (const length of [1, valueProofLength - 1, valueProofLength]) {
    expect(values.read(keys, place, Buffer.alloc(length))).toBeUndefined();
  }
  expect(events).toHaveLength(3);
  expect(values.read(keys, place, Buffer.alloc(0))).toBeUndefined();
  expect(values.unprovenValues()).toEqual([]);
  expect(events).toHaveLength(3);
});

test("a reader without a key believes what has the form of a value", () => {
  const { values, events } = opened(true);
  const stored = Buffer.concat([Buffer.from("7 r"), Buffer.alloc(valueProofLength)]);
  expect(String(values.read(keys, place, stored))).toBe("7 r");
  expect(proveValue(first, place, "7 r")).toHaveLength(valueProofLength);
  expect(events).toEqual([]);
});
