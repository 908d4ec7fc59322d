import { textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { sampleObject, sampleRegister } from "../testing/conformance/managed-object-conformance.ts";
import { encodeRecord } from "./record-codec.ts";
import { checkRecordSize, recordBytesMax, tooLargeTogether } from "./record-size.ts";

const identifier = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/** An object of about so many bytes. */
function ofBytes(bytes: number, text = "") {
  const material = { kekId: "k", nonce: new Uint8Array(12), ciphertext: new Uint8Array(bytes) };
  const registers = text === "" ? [] : [sampleRegister(textString(0x420056, text), 1)];
  return { ...sampleObject("one", identifier, registers), material };
}

test("a new object has a maximum size, and attributes cannot take it beyond", () => {
  const object = ofBytes(10_400_000);
  checkRecordSize({ after: object });
  expect(() => checkRecordSize({ after: ofBytes(10_500_000) })).toThrow("at most 10485760 bytes");
  const after = ofBytes(10_400_000, "t".repeat(100_000));
  expect(() => checkRecordSize({ before: { object }, after })).toThrow("at most 10485760 bytes");
});

describe("an object that is larger, as a join of two regions may leave it", () => {
  const object = ofBytes(12_000_000, "t".repeat(100_000));
  const { registers } = object;

  test("takes a fact, and loses attributes", () => {
    const deactivated = { time: 1, region: "a", message: "m".repeat(60_000) };
    checkRecordSize({ before: { object }, after: { ...object, facts: { deactivated } } });
    checkRecordSize({ before: { object }, after: { ...object, registers: [] } });
  });

  test("takes no value in place of another, so that joins do not grow from cut to cut", () => {
    const [register] = registers.map((one) => ({ ...one, stamp: { ...one.stamp, us: 2 } }));
    const changed = register && { ...object, registers: [register] };
    expect(() => checkRecordSize({ before: { object }, after: changed ?? object })).toThrow(
      "at most 10485760 bytes",
    );
    const gone = register && { ...register, value: undefined };
    checkRecordSize({ before: { object }, after: { ...object, registers: gone ? [gone] : [] } });
  });

  test("takes no attribute, however small", () => {
    const more = [...registers, sampleRegister(textString(0x420057, "t"), 2)];
    expect(() =>
      checkRecordSize({ before: { object }, after: { ...object, registers: more } }),
    ).toThrow("at most 10485760 bytes");
  });
});

test("a region takes the join of two copies that two regions filled", () => {
  const filled = 10_485_000;
  const object = ofBytes(1);
  const copy = (tag: number) => sampleRegister(textString(tag, "t".repeat(filled)), 1);
  const joined = { ...object, registers: [copy(0x420056), copy(0x420057)] };
  expect(encodeRecord(joined).length).toBeGreaterThan(2 * filled);
  expect(encodeRecord(joined).length).toBeLessThan(recordBytesMax);
});

test("the changes of one batch have a common maximum size", () => {
  const object = ofBytes(10_000_000);
  const change = { before: { object }, after: { ...object, lastChange: 7 } };
  expect(tooLargeTogether([change])).toBeUndefined();
  expect(tooLargeTogether([{ after: object }, change])).toBeUndefined();
  expect(tooLargeTogether([change, change, change])?.message).toContain("change fewer");
});
