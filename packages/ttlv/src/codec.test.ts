import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
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
import { decode } from "./decode.ts";
import { encode, encodedLength } from "./encode.ts";
import { TtlvError } from "./error.ts";
import { toHex } from "./hex.ts";
import type { Item } from "./item.ts";

const seed = 0x42_0020;
const tag = 0x42_0020;

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (digits) => Number.parseInt(digits, 16));
}

// The first value of each type is the example of KMIP 2.1, 9.1.2.
describe("value ⇄ hex", () => {
  test.each<[string, Item, string]>([
    ["Integer 8", integer(tag, 8), "420020 02 00000004 00000008 00000000"],
    ["Integer -1", integer(tag, -1), "420020 02 00000004 ffffffff 00000000"],
    ["Integer, least", integer(tag, -(2 ** 31)), "420020 02 00000004 80000000 00000000"],
    ["Integer, greatest", integer(tag, 2 ** 31 - 1), "420020 02 00000004 7fffffff 00000000"],
    [
      "Long Integer",
      longInteger(tag, 123_456_789_000_000_000n),
      "420020 03 00000008 01b69b4ba5749200",
    ],
    ["Long Integer -1", longInteger(tag, -1n), "420020 03 00000008 ffffffffffffffff"],
    ["Long Integer, least", longInteger(tag, -(2n ** 63n)), "420020 03 00000008 8000000000000000"],
    [
      "Long Integer, greatest",
      longInteger(tag, 2n ** 63n - 1n),
      "420020 03 00000008 7fffffffffffffff",
    ],
    [
      "Long Integer 2^53 - 1",
      longInteger(tag, 2n ** 53n - 1n),
      "420020 03 00000008 001fffffffffffff",
    ],
    ["Long Integer 2^53", longInteger(tag, 2n ** 53n), "420020 03 00000008 0020000000000000"],
    ["Long Integer -2^53", longInteger(tag, -(2n ** 53n)), "420020 03 00000008 ffe0000000000000"],
    [
      "Long Integer -2^53 - 1",
      longInteger(tag, -(2n ** 53n) - 1n),
      "420020 03 00000008 ffdfffffffffffff",
    ],
    [
      "Big Integer",
      bigInteger(tag, hex("0000000003fd35eb6bc2df4618080000")),
      "420020 04 00000010 0000000003fd35eb 6bc2df4618080000",
    ],
    [
      "Big Integer, longer than necessary",
      bigInteger(tag, new Uint8Array(16)),
      "420020 04 00000010 0000000000000000 0000000000000000",
    ],
    ["Enumeration 255", enumeration(tag, 255), "420020 05 00000004 000000ff 00000000"],
    [
      "Enumeration, extension",
      enumeration(tag, 0x8000_0001),
      "420020 05 00000004 80000001 00000000",
    ],
    ["Boolean True", boolean(tag, true), "420020 06 00000008 0000000000000001"],
    ["Boolean False", boolean(tag, false), "420020 06 00000008 0000000000000000"],
    [
      "Text String",
      textString(tag, "Hello World"),
      "420020 07 0000000b 48656c6c6f20576f 726c640000000000",
    ],
    ["Text String, empty", textString(tag, ""), "420020 07 00000000"],
    ["Text String, 8 bytes", textString(tag, "vSphere8"), "420020 07 00000008 7653706865726538"],
    ["Text String with NUL", textString(tag, "\0"), "420020 07 00000001 0000000000000000"],
    ["Text String, 2-byte character", textString(tag, "ü"), "420020 07 00000002 c3bc000000000000"],
    ["Text String, 3-byte character", textString(tag, "€"), "420020 07 00000003 e282ac0000000000"],
    ["Text String, surrogates", textString(tag, "🔑"), "420020 07 00000004 f09f949100000000"],
    [
      "Text String, byte order mark",
      textString(tag, "\ufeffa"),
      "420020 07 00000004 efbbbf6100000000",
    ],
    ["Byte String", byteString(tag, hex("010203")), "420020 08 00000003 0102030000000000"],
    ["Byte String, empty", byteString(tag, hex("")), "420020 08 00000000"],
    ["Date-Time", dateTime(tag, 1_205_495_800n), "420020 09 00000008 0000000047da67f8"],
    ["Date-Time before 1970", dateTime(tag, -1n), "420020 09 00000008 ffffffffffffffff"],
    ["Interval, 10 days", interval(tag, 864_000), "420020 0a 00000004 000d2f00 00000000"],
    ["Interval, greatest", interval(tag, 2 ** 32 - 1), "420020 0a 00000004 ffffffff 00000000"],
    [
      "Date-Time Extended",
      dateTimeExtended(tag, 1_205_495_800_000_001n),
      "420020 0b 00000008 000448645cefee01",
    ],
    [
      "Structure",
      structure(tag, [enumeration(0x42_0004, 254), integer(0x42_0005, 255)]),
      "420020 01 00000020 420004 05 00000004 000000fe 00000000 420005 02 00000004 000000ff 00000000",
    ],
    ["Structure, empty", structure(tag, []), "420020 01 00000000"],
    ["tag 0", structure(0, []), "000000 01 00000000"],
    ["greatest tag", structure(0xff_ffff, []), "ffffff 01 00000000"],
  ])("%s", (_name, item, wire) => {
    expect(toHex(encode(item))).toBe(toHex(hex(wire)));
    expect(decode(hex(wire))).toEqual(item);
    expect(encodedLength(item)).toBe(hex(wire).length);
  });
});

describe("text near the length from which the platform's codec is used", () => {
  test.each([63, 64, 65, 1000])("round-trips with %d bytes", (length) => {
    for (const text of ["x".repeat(length), `${"x".repeat(length - 2)}ü`]) {
      const bytes = encode(textString(tag, text));
      expect(toHex(bytes.subarray(8, 8 + length))).toBe(Buffer.from(text).toString("hex"));
      expect(decode(bytes)).toEqual(textString(tag, text));
    }
  });
});

test("byte strings are plain Uint8Array views of the input, even of a Buffer", () => {
  const bytes = Buffer.from(encode(byteString(tag, hex("010203"))));
  const { value } = decode(bytes) as { value: Uint8Array };
  expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype);
  bytes[8] = 9;
  expect(value[0]).toBe(9);
});

test("encode clears the bytes from its allocator, and calls it once", () => {
  const item = structure(tag, [
    boolean(tag, false),
    integer(tag, 1),
    textString(tag, "ä"),
    byteString(tag, hex("01")),
    longInteger(tag, 2n ** 62n),
  ]);
  const lengths: number[] = [];
  const bytes = encode(item, (length) => {
    lengths.push(length);
    return new Uint8Array(length).fill(0xaa);
  });
  expect(bytes).toEqual(encode(item));
  expect(lengths).toEqual([bytes.length]);
});

const tags = fc.oneof(fc.integer({ min: 0x42_0000, max: 0x42_01ff }), fc.nat({ max: 0xff_ffff }));
const uint32 = fc.oneof(fc.nat({ max: 20 }), fc.integer({ min: 0, max: 0xffff_ffff }));
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const texts = fc.oneof(
  fc.string({ maxLength: 100 }),
  fc.string({ unit: "binary", maxLength: 100 }),
);
const bytesOf = fc.uint8Array({ maxLength: 40 });
const words = fc
  .array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { minLength: 1, maxLength: 4 })
  .map((all) => Uint8Array.from(all.flatMap((word) => [...word])));

const { item: items } = fc.letrec<{ item: Item }>((tie) => ({
  item: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.tuple(tags, fc.integer()).map(([t, v]) => integer(t, v)),
    fc.tuple(tags, int64).map(([t, v]) => longInteger(t, v)),
    fc.tuple(tags, words).map(([t, v]) => bigInteger(t, v)),
    fc.tuple(tags, uint32).map(([t, v]) => enumeration(t, v)),
    fc.tuple(tags, fc.boolean()).map(([t, v]) => boolean(t, v)),
    fc.tuple(tags, texts).map(([t, v]) => textString(t, v)),
    fc.tuple(tags, bytesOf).map(([t, v]) => byteString(t, v)),
    fc.tuple(tags, int64).map(([t, v]) => dateTime(t, v)),
    fc.tuple(tags, uint32).map(([t, v]) => interval(t, v)),
    fc.tuple(tags, int64).map(([t, v]) => dateTimeExtended(t, v)),
    fc.tuple(tags, fc.array(tie("item"), { maxLength: 6 })).map(([t, v]) => structure(t, v)),
  ),
}));
const messages = fc
  .tuple(tags, fc.array(items, { minLength: 1, maxLength: 6 }))
  .map(([t, v]) => structure(t, v));

/** Expects an item that encodes back unchanged, or a TtlvError with an offset within `bytes`. */
function expectTotal(bytes: Uint8Array): boolean {
  let item: Item;
  try {
    item = decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(TtlvError);
    const { offset } = error as TtlvError;
    expect(offset).toBeGreaterThanOrEqual(0);
    expect(offset).toBeLessThanOrEqual(bytes.length);
    return false;
  }
  expect(toHex(encode(item))).toBe(toHex(bytes));
  return true;
}

/** One way to damage a message: replace, remove or insert bytes, or change a type or a length. */
interface Mutation {
  /** The position, as a fraction of the message. */
  at: number;
  kind: string;
  byte: number;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  kind: fc.constantFrom("replace", "flip", "remove", "insert", "type", "length"),
  byte: fc.nat({ max: 255 }),
});

function mutate(bytes: Uint8Array, { at, kind, byte }: Mutation): Uint8Array {
  const copy = [...bytes];
  const position = Math.floor(at * bytes.length);
  const word = position - (position % 8);
  if (kind === "replace") copy[position] = byte;
  if (kind === "flip") copy[position] = (bytes[position] ?? 0) ^ (1 << (byte % 8));
  if (kind === "remove") copy.splice(position, 1 + (byte % 16));
  if (kind === "insert") copy.splice(position, 0, ...new Array(1 + (byte % 16)).fill(byte));
  if (kind === "type") copy[word + 3] = byte % 14;
  if (kind === "length") copy[word + 7] = byte;
  return Uint8Array.from(copy);
}

describe(`properties (seed ${seed})`, () => {
  test("decode inverts encode", () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = encode(message);
        expect(bytes.length).toBe(encodedLength(message));
        expect(decode(bytes)).toEqual(message);
      }),
      { seed, numRuns: 1000 },
    );
  });

  test("any bytes decode or throw TtlvError", () => {
    let decoded = 0;
    // Half of the inputs begin with a valid header; otherwise nearly all fail the first check.
    const withHeader = fc
      .tuple(fc.nat({ max: 0x0c }), fc.uint8Array({ maxLength: 64 }))
      .map(([type, rest]) => Uint8Array.from([0x42, 0, 0x20, type, 0, 0, 0, rest.length, ...rest]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), withHeader), (bytes) => {
        if (expectTotal(bytes)) decoded += 1;
      }),
      { seed, numRuns: 5000 },
    );
    expect(decoded).toBeGreaterThan(10);
  });

  test("mutations of a message decode or throw TtlvError", () => {
    let decoded = 0;
    let refused = 0;
    fc.assert(
      fc.property(messages, fc.array(mutation, { minLength: 1, maxLength: 3 }), (message, all) => {
        if (expectTotal(all.reduce(mutate, encode(message)))) decoded += 1;
        else refused += 1;
      }),
      { seed, numRuns: 3000 },
    );
    expect(decoded).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(100);
  });
});

const corpus = process.env["KMIP_CORPUS"] ?? join(import.meta.dirname, "../../../../shared/oasis");
const goldenFile = join(corpus, "golden-encodings.json");

describe("encodings published by OASIS", () => {
  if (!existsSync(goldenFile)) {
    test.skip("encodings (needs golden-encodings.json in KMIP_CORPUS)", () => {});
    return;
  }
  const golden: {
    primitives: { text: string; hex: string }[];
    messages: { file: string; index: number; ttlv_in_file: string }[];
  } = JSON.parse(readFileSync(goldenFile, "utf8"));
  test("have entries", () => {
    expect(golden.primitives.length).toBeGreaterThan(0);
    expect(golden.messages.length).toBeGreaterThan(0);
  });
  test.each([
    ...golden.primitives.map((entry) => [entry.text, entry.hex]),
    ...golden.messages.map((entry) => [`${entry.file} [${entry.index}]`, entry.ttlv_in_file]),
  ] as [string, string][])("%s", (_name, wire) => {
    expect(toHex(encode(decode(hex(wire))))).toBe(wire);
  });
});
