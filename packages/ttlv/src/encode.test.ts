import { expect, test } from "vitest";
import { integer, structure } from "./build.ts";
import { encode, encodedLength } from "./encode.ts";
import { TtlvError } from "./error.ts";
import { type Item, ItemType } from "./item.ts";

const tag = 0x42_0020;
const selfContained: { tag: number; type: 0x01; value: Item[] } = {
  tag,
  type: ItemType.Structure,
  value: [],
};
selfContained.value.push(selfContained);

const int32 = "is not a signed number of 32 bits";
const uint32 = "is not an unsigned number of 32 bits";
const int64 = "is not a signed bigint of 64 bits";

test.each<[string, unknown, string]>([
  ["no item", undefined, "not an item"],
  ["null", null, "not an item"],
  ["a number", 5, "not an item"],
  ["type 0", { tag, type: 0, value: 1 }, "unknown item type"],
  ["no type", { tag, value: 1 }, "unknown item type"],
  ["tag of 25 bits", integer(0x100_0000, 1), "tag is not a number of 24 bits"],
  ["negative tag", integer(-1, 1), "tag is not a number of 24 bits"],
  ["fractional tag", integer(1.5, 1), "tag is not a number of 24 bits"],
  ["Integer too great", { tag, type: ItemType.Integer, value: 2 ** 31 }, `Integer ${int32}`],
  ["Integer too small", { tag, type: ItemType.Integer, value: -(2 ** 31) - 1 }, `Integer ${int32}`],
  ["Integer fraction", { tag, type: ItemType.Integer, value: 0.5 }, `Integer ${int32}`],
  ["Integer NaN", { tag, type: ItemType.Integer, value: Number.NaN }, `Integer ${int32}`],
  ["Integer bigint", { tag, type: ItemType.Integer, value: 1n }, `Integer ${int32}`],
  ["Integer string", { tag, type: ItemType.Integer, value: "1" }, `Integer ${int32}`],
  ["Integer absent", { tag, type: ItemType.Integer }, `Integer ${int32}`],
  ["Enumeration negative", { tag, type: ItemType.Enumeration, value: -1 }, `Enumeration ${uint32}`],
  ["Enumeration bigint", { tag, type: ItemType.Enumeration, value: 1n }, `Enumeration ${uint32}`],
  ["Interval too great", { tag, type: ItemType.Interval, value: 2 ** 32 }, `Interval ${uint32}`],
  ["Long too great", { tag, type: ItemType.LongInteger, value: 2n ** 63n }, `LongInteger ${int64}`],
  [
    "Date-Time too small",
    { tag, type: ItemType.DateTime, value: -(2n ** 63n) - 1n },
    `DateTime ${int64}`,
  ],
  ["Date-Time number", { tag, type: ItemType.DateTime, value: 1 }, `DateTime ${int64}`],
  [
    "Date-Time Extended Date",
    { tag, type: ItemType.DateTimeExtended, value: new Date(0) },
    `DateTimeExtended ${int64}`,
  ],
  ["Boolean 1", { tag, type: ItemType.Boolean, value: 1 }, "Boolean is not true or false"],
  ["Text number", { tag, type: ItemType.TextString, value: 1 }, "TextString is not a string"],
  ...["\ud800", "a\udc00", "\udc00\ud800", "\ud800a", "\ud800\ud800\udc00", "\udc00\udc00"].map(
    (value): [string, unknown, string] => [
      `Text ${JSON.stringify(value)}`,
      { tag, type: ItemType.TextString, value },
      "TextString has an unpaired surrogate",
    ],
  ),
  ["Bytes array", { tag, type: ItemType.ByteString, value: [1] }, "ByteString is not a Uint8Array"],
  [
    "Bytes buffer",
    { tag, type: ItemType.ByteString, value: new ArrayBuffer(8) },
    "ByteString is not a Uint8Array",
  ],
  ...[0, 4, 12].map((length): [string, unknown, string] => [
    `Big Integer of ${length}`,
    { tag, type: ItemType.BigInteger, value: new Uint8Array(length) },
    "BigInteger is not a multiple of 8 bytes, at least 8",
  ]),
  [
    "Big Integer bigint",
    { tag, type: ItemType.BigInteger, value: 1n },
    "BigInteger is not a Uint8Array",
  ],
  [
    "Structure without an array",
    { tag, type: ItemType.Structure, value: {} },
    "Structure is not an array of items",
  ],
])("refuses %s, and reports the offset", (_name, item, what) => {
  const bad = item as Item;
  expect(() => encode(bad)).toThrow(new TtlvError(what, 0));
  // The 8 bytes of the header and the 16 of the first child precede it.
  const wrapped = structure(tag, [integer(tag, 1), bad]);
  expect(() => encode(wrapped)).toThrow(new TtlvError(what, 24));
  expect(() => encodedLength(wrapped)).toThrow(new TtlvError(what, 24));
});

test("refuses a structure that holds itself", () => {
  expect(() => encode(selfContained)).toThrow(new TtlvError("nested deeper than 256", 2048));
});
