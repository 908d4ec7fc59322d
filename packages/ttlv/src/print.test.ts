import { expect, test } from "vitest";
import {
  bigInteger,
  boolean,
  byteString,
  dateTime,
  dateTimeExtended,
  enumeration,
  integer,
  interval,
  longInteger,
  structure,
  textString,
} from "./build.ts";
import type { Item } from "./item.ts";
import { type Names, print } from "./print.ts";

const tag = 0x42_0020;
const names: Names = {
  tag: (number) => ({ 4325440: "KeyBlock", 4325443: "KeyMaterial", 4325468: "Operation" })[number],
  enumeration: (number, value) => (number === 0x42_005c && value === 10 ? "Get" : undefined),
  secret: (number) => number === 0x42_0043,
};

test.each<[Item, string]>([
  [integer(tag, -5), "Integer -5"],
  [longInteger(tag, 2n ** 60n), "LongInteger 1152921504606846976"],
  [bigInteger(tag, new Uint8Array(8).fill(1)), "BigInteger 0101010101010101"],
  [enumeration(tag, 0x8000_0001), "Enumeration 0x80000001"],
  [boolean(tag, true), "Boolean true"],
  [textString(tag, 'a "b"\n'), 'TextString "a \\"b\\"\\n"'],
  [
    textString(tag, "\u001b[2J\u009b2J\u202e€\u200f"),
    'TextString "\\u001b[2J\\u009b2J\\u202e€\\u200f"',
  ],
  [textString(tag, "ü".repeat(257)), `TextString "${"ü".repeat(256)}"… (514 bytes)`],
  [byteString(tag, new Uint8Array(0)), "ByteString (empty)"],
  [byteString(tag, new Uint8Array(64).fill(0xab)), `ByteString ${"ab".repeat(64)}`],
  [byteString(tag, new Uint8Array(65).fill(0xab)), `ByteString ${"ab".repeat(64)}… (65 bytes)`],
  [dateTime(tag, 1_205_495_800n), "DateTime 2008-03-14T11:56:40Z"],
  [dateTime(tag, -1n), "DateTime 1969-12-31T23:59:59Z"],
  [dateTime(tag, 253_402_300_799n), "DateTime 9999-12-31T23:59:59Z"],
  [dateTime(tag, 2n ** 63n - 1n), "DateTime 9223372036854775807"],
  [dateTime(tag, -(2n ** 63n)), "DateTime -9223372036854775808"],
  [interval(tag, 864_000), "Interval 864000 s"],
  [dateTimeExtended(tag, 1_205_495_800_000_001n), "DateTimeExtended 2008-03-14T11:56:40.000001Z"],
  [dateTimeExtended(tag, -1n), "DateTimeExtended 1969-12-31T23:59:59.999999Z"],
])("item %# is printed with type and value", (item, text) => {
  expect(print(item)).toBe(`0x420020 ${text}`);
});

test("a tree is printed with names, and secrets are hidden", () => {
  const message = structure(0x42_007b, [
    enumeration(0x42_005c, 10),
    enumeration(0x42_005c, 11),
    structure(0x42_0040, [byteString(0x42_0043, new Uint8Array(32).fill(0x5a))]),
    structure(0x42_0043, [bigInteger(0x42_0021, new Uint8Array(16).fill(0x5a))]),
  ]);
  const shown = print(message, names);
  expect(shown).toBe(`0x42007b Structure
  Operation Enumeration Get (0x0000000a)
  Operation Enumeration 0x0000000b
  KeyBlock Structure
    KeyMaterial ByteString <secret, 32 bytes>
  KeyMaterial Structure <secret, 24 bytes>`);
  expect(shown).not.toContain("5a5a");
});

test.each<[Item, number]>([
  [integer(0x42_0043, 7), 4],
  [interval(0x42_0043, 7), 4],
  [longInteger(0x42_0043, 7n), 8],
  [boolean(0x42_0043, true), 8],
  [textString(0x42_0043, "ü"), 2],
  [bigInteger(0x42_0043, new Uint8Array(16)), 16],
])("a secret of any type is hidden (item %#)", (item, length) => {
  expect(print(item, names)).toMatch(new RegExp(`^KeyMaterial \\w+ <secret, ${length} bytes>$`));
});
