import { enumeration, print, structure, textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { enumerations, masks } from "../schema/enums.ts";
import { tags } from "../schema/tags.ts";
import { valuesOf } from "../schema/value-type.ts";
import {
  enumerationOfTag,
  enumerationText,
  enumerationValue,
  maskBit,
  maskBits,
  maskOfTag,
  names,
} from "./value-names.ts";

describe("the tables", () => {
  test.each(Object.entries({ ...enumerations, ...masks }))(
    "have no number twice in %s, over all versions",
    (_, rows) => {
      const values = [...valuesOf(rows).values()];
      expect(new Set(values).size).toBe(values.length);
    },
  );

  test("have a tag for every enumeration and mask", () => {
    const all = Object.values(tags).map(({ tag }) => enumerationOfTag(tag) ?? maskOfTag(tag));
    for (const name of Object.keys({ ...enumerations, ...masks })) expect(all).toContain(name);
  });
});

describe("value ⇄ text", () => {
  test.each<[keyof typeof tags, number, string]>([
    ["State", 1, "PreActive"],
    ["MaskGeneratorHashingAlgorithm", 6, "SHA_256"],
    ["UniqueIdentifier", 1, "IDPlaceholder"],
    ["LinkedObjectIdentifier", 1, "IDPlaceholder"],
    ["ExtensionType", 7, "TextString"],
    ["AttributeReference", 0x42008d, "State"],
    ["KeyFormatType", 0x0e, "TransparentECDSAPrivateKey"],
  ])("%s %i is %s", (tag, value, text) => {
    expect(enumerationText(tags[tag].tag, value)).toBe(text);
    expect(enumerationValue(tags[tag].tag, text)).toBe(value);
  });

  test.each<[keyof typeof tags, string, number]>([
    ["ResultReason", "NotAuthorized", 0x39],
    ["MaskGenerator", "MFG1", 1],
    ["SplitKeyMethod", "PolynomialSharingGF28", 4],
  ])("%s also reads %s", (tag, text, value) => {
    expect(enumerationValue(tags[tag].tag, text)).toBe(value);
    expect(enumerationText(tags[tag].tag, value)).not.toBe(text);
  });

  test("gives undefined for a value that no table has", () => {
    expect(enumerationText(tags.State.tag, 99)).toBeUndefined();
    expect(enumerationValue(tags.State.tag, "toString")).toBeUndefined();
    expect(enumerationValue(tags.AttributeReference.tag, "constructor")).toBeUndefined();
    expect(enumerationOfTag(tags.OpaqueDataType.tag)).toBeUndefined();
    expect(enumerationOfTag(0x540001)).toBeUndefined();
    expect(maskOfTag(tags.CryptographicLength.tag)).toBeUndefined();
  });

  test("gives the bits of a mask, and a number for a bit without a text", () => {
    const mask = tags.CryptographicUsageMask.tag;
    expect(maskBits(mask, 0x8000_000c | 0)).toEqual(["Encrypt", "Decrypt", 0x8000_0000]);
    expect(maskBit(mask, "ContentCommitmentNonRepudiation")).toBe(0x400);
    expect(maskBits(mask, 0)).toEqual([]);
  });
});

test("print shows KMIP's names and hides its secrets", () => {
  const message = structure(tags.RequestPayload.tag, [
    enumeration(tags.ObjectType.tag, 2),
    textString(tags.Password.tag, "hunter2"),
    textString(0x540001, "a"),
  ]);
  expect(print(message, names)).toBe(
    [
      "RequestPayload Structure",
      "  ObjectType Enumeration SymmetricKey (0x00000002)",
      "  Password TextString <secret, 7 bytes>",
      '  0x540001 TextString "a"',
    ].join("\n"),
  );
});
