import {
  bigInteger,
  boolean,
  byteString,
  dateTime,
  dateTimeExtended,
  enumeration,
  type Item,
  integer,
  interval,
  longInteger,
  structure,
  textString,
} from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tags } from "../schema/tags.ts";
import { XmlError } from "./xml-error.ts";
import { fromXml } from "./xml-read.ts";
import { toXml } from "./xml-write.ts";

const seed = 0x42_0078;
const tag = (name: keyof typeof tags): number => tags[name].tag;
const value = (...bytes: readonly number[]): Uint8Array => Uint8Array.from(bytes);
const eight = (first: number, last: number): Uint8Array =>
  value(first, first, first, first, first, first, first, last);

describe("item ⇄ XML", () => {
  test.each<[Item, string]>([
    [integer(tag("BatchCount"), -1), '<BatchCount type="Integer" value="-1"/>'],
    [
      longInteger(tag("UsageLimitsTotal"), -(2n ** 63n)),
      '<UsageLimitsTotal type="LongInteger" value="-9223372036854775808"/>',
    ],
    [
      bigInteger(tag("Modulus"), eight(0xff, 0x80)),
      '<Modulus type="BigInteger" value="ffffffffffffff80"/>',
    ],
    [enumeration(tag("State"), 1), '<State type="Enumeration" value="PreActive"/>'],
    [enumeration(tag("State"), 0x8000_0001), '<State type="Enumeration" value="0x80000001"/>'],
    [
      enumeration(tag("OpaqueDataType"), 0x80123456),
      '<OpaqueDataType type="Enumeration" value="0x80123456"/>',
    ],
    [
      enumeration(tag("AttributeReference"), tag("State")),
      '<AttributeReference type="Enumeration" value="State"/>',
    ],
    [boolean(tag("Fresh"), false), '<Fresh type="Boolean" value="false"/>'],
    [
      textString(tag("Comment"), '<a b="c">&\'\t\r\n 🔑'),
      '<Comment type="TextString" value="&lt;a b=&quot;c&quot;&gt;&amp;\'&#9;&#13;&#10; 🔑"/>',
    ],
    [textString(tag("Comment"), ""), '<Comment type="TextString" value=""/>'],
    [byteString(tag("Salt"), value(0, 0xab)), '<Salt type="ByteString" value="00ab"/>'],
    [byteString(tag("Salt"), value()), '<Salt type="ByteString" value=""/>'],
    [
      dateTime(tag("TimeStamp"), -1n),
      '<TimeStamp type="DateTime" value="1969-12-31T23:59:59+00:00"/>',
    ],
    [
      dateTime(tag("TimeStamp"), 2n ** 63n - 1n),
      '<TimeStamp type="DateTime" value="0x7fffffffffffffff"/>',
    ],
    [interval(tag("LeaseTime"), 0xffff_ffff), '<LeaseTime type="Interval" value="4294967295"/>'],
    [
      dateTimeExtended(tag("TimeStamp"), -1n),
      '<TimeStamp type="DateTimeExtended" value="1969-12-31T23:59:59.999999+00:00"/>',
    ],
    [
      integer(tag("CryptographicUsageMask"), 12),
      '<CryptographicUsageMask type="Integer" value="Encrypt Decrypt"/>',
    ],
    [
      integer(tag("CryptographicUsageMask"), -(2 ** 31) | 4),
      '<CryptographicUsageMask type="Integer" value="Encrypt 0x80000000"/>',
    ],
    [integer(tag("StorageStatusMask"), 0), '<StorageStatusMask type="Integer" value="0"/>'],
    [structure(tag("Attributes"), []), "<Attributes/>"],
    [textString(0x540001, "na"), '<TTLV tag="0x540001" type="TextString" value="na"/>'],
    [
      structure(0x000001, [boolean(1, true)]),
      '<TTLV tag="0x000001">\n  <TTLV tag="0x000001" type="Boolean" value="true"/>\n</TTLV>',
    ],
  ])("converts item %# both ways", (item, xml) => {
    expect(toXml(item)).toBe(`${xml}\n`);
    expect(fromXml(xml)).toEqual(item);
  });

  const attribute1 = (name: string, item: Item): Item =>
    structure(tag("Attribute"), [textString(tag("AttributeName"), name), item]);
  test.each<[string, Item, string]>([
    [
      "an enumeration by its Attribute Name",
      attribute1("State", enumeration(tag("AttributeValue"), 1)),
      "PreActive",
    ],
    [
      "a mask by its Attribute Name",
      attribute1("Cryptographic Usage Mask", integer(tag("AttributeValue"), 12)),
      "Encrypt Decrypt",
    ],
    [
      "a number for a custom name",
      attribute1("x-State", enumeration(tag("AttributeValue"), 1)),
      "0x00000001",
    ],
    [
      "a number for a vendor's name",
      structure(tag("Attribute"), [
        textString(tag("VendorIdentification"), "x"),
        textString(tag("AttributeName"), "State"),
        enumeration(tag("AttributeValue"), 1),
      ]),
      "0x00000001",
    ],
  ])("Attribute Value is %s", (_, item, text) => {
    const xml = toXml(item);
    expect(xml).toContain(
      `<AttributeValue type="${text === "Encrypt Decrypt" ? "Integer" : "Enumeration"}" value="${text}"/>`,
    );
    expect(fromXml(xml)).toEqual(item);
  });
});

describe("XML also reads", () => {
  test.each<[string, Item]>([
    [
      '<?xml version="1.0" encoding="UTF-8"?>\n<!-- a --><BatchCount type="Integer" value="0x0000000a"></BatchCount><!-- b -->',
      integer(tag("BatchCount"), 10),
    ],
    ['<BatchCount type="Integer" value="0xffffffff"/>', integer(tag("BatchCount"), -1)],
    [
      '<UsageLimitsTotal type="LongInteger" value="0xffffffffffffffff"/>',
      longInteger(tag("UsageLimitsTotal"), -1n),
    ],
    ['<Modulus type="BigInteger" value="80"/>', bigInteger(tag("Modulus"), eight(0xff, 0x80))],
    ['<Modulus type="BigInteger" value="7F"/>', bigInteger(tag("Modulus"), eight(0, 0x7f))],
    ['<State type="Enumeration" value="0x00000002"/>', enumeration(tag("State"), 2)],
    ['<State type="Enumeration" value="2"/>', enumeration(tag("State"), 2)],
    [
      '<CryptographicUsageMask type="Integer" value="Sign|Verify 0x00000004"/>',
      integer(tag("CryptographicUsageMask"), 7),
    ],
    [
      '<TimeStamp type="DateTime" value="2001-01-01T10:00:00+10:00"/>',
      dateTime(tag("TimeStamp"), 978_307_200n),
    ],
    [
      '<TimeStamp type="DateTime" value="2001-01-01T00:00:00Z"/>',
      dateTime(tag("TimeStamp"), 978_307_200n),
    ],
    [
      '<TimeStamp type="DateTime" value="2000-12-31T18:30:00.000-05:30"/>',
      dateTime(tag("TimeStamp"), 978_307_200n),
    ],
    [
      '<TimeStamp type="DateTime" value="0x000000003a4fc880"/>',
      dateTime(tag("TimeStamp"), 978_307_200n),
    ],
    [
      '<TimeStamp type="DateTimeExtended" value="2001-01-01T00:00:00.5Z"/>',
      dateTimeExtended(tag("TimeStamp"), 978_307_200_500_000n),
    ],
    [
      '<TTLV tag="0x42000D" name="BatchCount" type="Integer" value="1"/>',
      integer(tag("BatchCount"), 1),
    ],
    [
      '<Attributes type="Structure"> <Fresh\n type="Boolean" value="true" /> </Attributes>',
      structure(tag("Attributes"), [boolean(tag("Fresh"), true)]),
    ],
  ])("%s", (xml, item) => {
    expect(fromXml(xml)).toEqual(item);
  });
});

function errorOf(act: () => unknown): XmlError {
  try {
    act();
  } catch (error) {
    if (error instanceof XmlError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("a fault is reported with its line", () => {
  test.each<[string, number, string]>([
    ["", 1, "element"],
    ["<BatchItem>\n<Operation>\n</BatchItem>", 3, "end tag"],
    ["<!DOCTYPE BatchItem><BatchItem/>", 1, "document type"],
    ['<!DOCTYPE a [<!ENTITY b "c">]>\n<Comment type="TextString" value="&b;"/>', 2, "b"],
    ['<Comment type="TextString" value="&b;"/>', 1, "b"],
    ["<BatchItem>\n\n<Nothing/></BatchItem>", 3, "Nothing is not the name of a tag"],
    ["<BatchItem>\n<__proto__/></BatchItem>", 2, "not the name of a tag"],
    ['<TTLV tag="0x1000000"/>', 1, "not the name of a tag"],
    ["<BatchItem>\n🔑</BatchItem>", 1, "unexpected text between"],
    ["<!-- 🔑\n🔑 -->\n<BatchItem>\n<Fresh/></BatchItem><!-- -->x", 4, ""],
    ['<BatchItem value="1"/>', 1, "a value but no type"],
    ['<BatchItem colour="red"/>', 1, "an attribute colour"],
    ['<BatchCount type="Number" value="1"/>', 1, "an unknown type"],
    ['<BatchCount type="Integer"/>', 1, "no value of its type"],
    ['<BatchCount type="Integer" value=""/>', 1, "no value of its type"],
    ['<BatchCount type="Integer" value="2147483648"/>', 1, "no value of its type"],
    ['<BatchCount type="Integer" value="0x100000000"/>', 1, "no value of its type"],
    ['<BatchCount type="Integer" value="Encrypt"/>', 1, "no value of its type"],
    ['<BatchCount type="Integer" value="1"><Fresh/></BatchCount>', 1, "is not a structure"],
    [
      '<CryptographicUsageMask type="Integer" value="Encrypt  Nothing"/>',
      1,
      "no value of its type",
    ],
    ['<State type="Enumeration" value="Nothing"/>', 1, "no value of its type"],
    ['<State type="Enumeration" value="-1"/>', 1, "no value of its type"],
    ['<Modulus type="BigInteger" value=""/>', 1, "no value of its type"],
    ['<Salt type="ByteString" value="0"/>', 1, "no value of its type"],
    ['<Salt type="ByteString" value="0g"/>', 1, "no value of its type"],
    ['<Fresh type="Boolean" value="TRUE"/>', 1, "no value of its type"],
    ['<LeaseTime type="Interval" value="-1"/>', 1, "no value of its type"],
    ['<TimeStamp type="DateTime" value="2001-02-30T00:00:00Z"/>', 1, "no value of its type"],
    ['<TimeStamp type="DateTime" value="2001-01-01T24:00:00Z"/>', 1, "no value of its type"],
    ['<TimeStamp type="DateTime" value="2001-01-01T00:00:00.5Z"/>', 1, "no value of its type"],
    ['<TimeStamp type="DateTime" value="2001-01-01T00:00:00+24:00"/>', 1, "no value of its type"],
    ['<TimeStamp type="DateTime" value="2001-01-01T00:00:00"/>', 1, "no value of its type"],
  ])("%j", (xml, line, what) => {
    const error = errorOf(() => fromXml(xml));
    expect([error.line, error.message.split("\n").length]).toEqual([line, 1]);
    expect(error.message).toContain(what);
  });

  test("and without the content of the text", () => {
    const secret = '<Password type="TextString" value="hunter2" value="hunter2"/>';
    expect(errorOf(() => fromXml(secret)).message).not.toContain("hunter2");
  });

  test("if the text is too long or too deep, with given limits and with the defaults", () => {
    const nested = (depth: number): string =>
      `${"<Attributes>".repeat(depth)}${"</Attributes>".repeat(depth)}`;
    const limits = { charactersMax: 1000, depthMax: 3 };
    expect(fromXml(nested(3), limits)).toBeDefined();
    expect(errorOf(() => fromXml(nested(4), limits)).message).toContain("too deeply");
    expect(errorOf(() => fromXml(nested(100), limits)).message).toContain("characters");
    expect(errorOf(() => fromXml(nested(100_000))).message).toContain("too deeply");
    expect(errorOf(() => fromXml("<Attributes>".repeat(300_000))).message).toContain("too deeply");
  });

  test.each(["\0", "\u001f", "\ufffe", "\ud800"])(
    "or with line 0 for a text that XML cannot write",
    (text) => {
      expect(errorOf(() => toXml(textString(tag("Comment"), text))).line).toBe(0);
    },
  );
});

describe("properties", () => {
  const anyTag = fc.oneof(
    fc.constantFrom(...Object.values(tags).map((row) => row.tag as number)),
    fc.integer({ min: 0, max: 0xff_ffff }),
  );
  const xmlText = fc
    .string({ unit: "binary" })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML has no way to write them
    .map((text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, ""));
  const bytes = fc.uint8Array({ maxLength: 20 });
  const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const big = fc.uint8Array({ minLength: 1, maxLength: 3 }).map((groups) => {
    const whole = new Uint8Array(8 * groups.length);
    return whole.map((_, at) => (groups[at >> 3] ?? 0) ^ at);
  });
  const leaf: fc.Arbitrary<Item> = fc.oneof(
    fc.tuple(anyTag, fc.integer()).map(([t, v]) => integer(t, v)),
    fc.tuple(anyTag, long).map(([t, v]) => longInteger(t, v)),
    fc.tuple(anyTag, big).map(([t, v]) => bigInteger(t, v)),
    fc.tuple(anyTag, uint32).map(([t, v]) => enumeration(t, v)),
    fc.tuple(anyTag, fc.nat({ max: 40 })).map(([t, v]) => enumeration(t, v)),
    fc.tuple(anyTag, fc.boolean()).map(([t, v]) => boolean(t, v)),
    fc.tuple(anyTag, xmlText).map(([t, v]) => textString(t, v)),
    fc.tuple(anyTag, bytes).map(([t, v]) => byteString(t, v)),
    fc.tuple(anyTag, long).map(([t, v]) => dateTime(t, v)),
    fc.tuple(anyTag, fc.integer()).map(([t, v]) => dateTime(t, BigInt(v) * 100n)),
    fc.tuple(anyTag, uint32).map(([t, v]) => interval(t, v)),
    fc.tuple(anyTag, long).map(([t, v]) => dateTimeExtended(t, v)),
    fc.tuple(anyTag, fc.maxSafeInteger()).map(([t, v]) => dateTimeExtended(t, BigInt(v))),
  );
  const { item } = fc.letrec<{ item: Item; node: Item }>((tie) => ({
    item: fc.oneof({ maxDepth: 4 }, leaf, tie("node")),
    node: fc
      .tuple(anyTag, fc.array(tie("item"), { maxLength: 5 }))
      .map(([t, v]) => structure(t, v)),
  }));

  test(`what is written is read back unchanged (seed ${seed})`, () => {
    fc.assert(
      fc.property(item, (one) => {
        expect(fromXml(toXml(one))).toEqual(one);
      }),
      { seed, numRuns: 500 },
    );
  });

  test(`any text, and any change of a valid one, is read or refused (seed ${seed})`, () => {
    const changed = fc
      .tuple(item, fc.nat(), fc.nat({ max: 5 }), fc.string({ maxLength: 5 }))
      .map(([one, at, cut, put]) => {
        const xml = toXml(one);
        const from = at % xml.length;
        return xml.slice(0, from) + put + xml.slice(from + cut);
      });
    fc.assert(
      fc.property(fc.oneof(fc.string(), changed), (xml) => {
        try {
          fromXml(xml);
        } catch (error) {
          expect(error).toBeInstanceOf(XmlError);
        }
      }),
      { seed, numRuns: 1000 },
    );
  });
});
