import {
  bigInteger,
  byteString,
  enumeration,
  type Item,
  ItemType,
  integer,
  structure,
} from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { attributeItem, vendorAttribute } from "../attributes/attribute.ts";
import type { ObjectTypeName } from "../attributes/attribute-row.ts";
import { enumerations } from "../schema/enums.ts";
import { type Fault, KmipError } from "../schema/faults.ts";
import { tagNameOf } from "../schema/tag-lookup.ts";
import { type TagName, tags } from "../schema/tags.ts";
import { isVersion1, type Version, versions } from "../schema/version.ts";
import { inKeyFormat, type KeyBlock, plainKeyOf } from "./key-block.ts";
import {
  keyBlockOf,
  objectForm,
  objectItem,
  objects,
  objectTag,
  objectTypeOf,
  objectTypesOf,
  objectValue,
  withKeyBlock,
} from "./objects.ts";

const t = (name: TagName): number => tags[name].tag;
const key = Uint8Array.from({ length: 32 }, (_, at) => at);
const material = byteString(t("KeyMaterial"), key);
const block: KeyBlock = {
  keyFormatType: "Raw",
  keyValue: { keyMaterial: material },
  cryptographicAlgorithm: "AES",
  cryptographicLength: 256,
};

describe("object types", () => {
  test("are those of the enumeration, each with its own tag", () => {
    expect(Object.keys(objects).toSorted()).toEqual(
      Object.keys(enumerations.ObjectType).toSorted(),
    );
    for (const type of Object.keys(objects) as ObjectTypeName[]) {
      const item = structure(objectTag(type), []);
      expect(objectTypeOf(item)).toBe(type);
    }
    expect(objectTypeOf(structure(t("Link"), []))).toBeUndefined();
  });

  test.each<[Version, number, readonly ObjectTypeName[]]>([
    ["1.0", 8, ["Template"]],
    ["1.2", 9, ["Template", "PGPKey"]],
    ["2.0", 9, ["PGPKey", "CertificateRequest"]],
    ["2.1", 9, ["PGPKey", "CertificateRequest"]],
  ])("in %s are %i", (version, many, among) => {
    const types = objectTypesOf(version);
    expect(types).toHaveLength(many);
    expect(types).toEqual(expect.arrayContaining([...among]));
  });
});

const blockItem = (...items: readonly Item[]) =>
  structure(t("SymmetricKey"), [structure(t("KeyBlock"), items)]);
const format = (value: number) => enumeration(t("KeyFormatType"), value);
const value = (...items: readonly Item[]) => structure(t("KeyValue"), items);
const algorithm = enumeration(t("CryptographicAlgorithm"), 3);
const length = integer(t("CryptographicLength"), 256);
const wrapping = structure(t("KeyWrappingData"), [enumeration(t("WrappingMethod"), 1)]);
const wrapped = byteString(t("KeyValue"), key);
const transparentKey = structure(t("KeyMaterial"), [byteString(t("Key"), key)]);
const modulus = bigInteger(t("Modulus"), new Uint8Array(8));

describe("a registered key's structure", () => {
  test.each<[string, Version, Item, Fault | undefined]>([
    ["Raw", "1.0", blockItem(format(1), value(material), algorithm, length), undefined],
    [
      "Transparent Symmetric Key",
      "2.1",
      blockItem(format(7), value(transparentKey), algorithm, length),
      undefined,
    ],
    ["without algorithm and length", "1.4", blockItem(format(1), value(material)), undefined],
    [
      "wrapped as a whole",
      "1.1",
      blockItem(format(1), wrapped, algorithm, length, wrapping),
      undefined,
    ],
    [
      "with wrapped material",
      "1.1",
      blockItem(format(1), value(material), algorithm, length, wrapping),
      undefined,
    ],
    [
      "of a vendor's format",
      "1.1",
      blockItem(format(0x80000001), value(transparentKey)),
      undefined,
    ],
    ["without its value, 1.2", "1.2", blockItem(format(1), algorithm, length), undefined],
    ["without its value, 1.1", "1.1", blockItem(format(1), algorithm, length), "missingField"],
    ["wrapped, without wrapping data", "1.1", blockItem(format(1), wrapped), "missingField"],
    ["wrapping data without a value", "1.4", blockItem(format(1), wrapping), "missingField"],
    [
      "algorithm without length",
      "1.1",
      blockItem(format(1), value(material), algorithm),
      "missingField",
    ],
    [
      "length without algorithm",
      "1.1",
      blockItem(format(1), value(material), length),
      "missingField",
    ],
    ["without a format", "1.1", blockItem(value(material)), "missingField"],
    ["without material", "1.1", blockItem(format(1), value()), "missingField"],
    ["Raw with a structure", "1.1", blockItem(format(1), value(transparentKey)), "invalidMessage"],
    ["transparent with bytes", "1.1", blockItem(format(7), value(material)), "invalidMessage"],
    [
      "transparent with fields of another",
      "1.1",
      blockItem(format(7), value(structure(t("KeyMaterial"), [modulus]))),
      "invalidMessage",
    ],
    [
      "an unknown tag in the material",
      "2.1",
      blockItem(
        format(7),
        value(structure(t("KeyMaterial"), [byteString(t("Key"), key), integer(0x42ffff, 1)])),
      ),
      "unknownTag",
    ],
    [
      "a format that the version lacks",
      "2.0",
      blockItem(format(0x0e), value(material)),
      "unknownEnumeration",
    ],
    ["without a Key Block", "1.1", structure(t("SymmetricKey"), []), "missingField"],
    ["not a structure", "1.1", byteString(t("SymmetricKey"), key), "invalidMessage"],
  ])("is accepted or refused: %s (%s)", (_, version, item, fault) => {
    const read = () => objectForm("SymmetricKey").decode(item, version);
    if (fault === undefined) expect(objectTypeOf(read())).toBe("SymmetricKey");
    else expect(read).toThrow(expect.objectContaining({ fault }));
  });

  test("of a Template needs an attribute", () => {
    const empty = structure(t("Template"), []);
    expect(() => objectForm("Template").decode(empty, "1.4")).toThrow(KmipError);
  });
});

describe("a key's attributes inside its value", () => {
  const attributes = [
    { item: vendorAttribute("x", "Foo", byteString(0, Uint8Array.of(1))) },
    { item: attributeItem("Name", { value: "n", type: "UninterpretedTextString" }) },
  ];
  const kept = objectItem("SymmetricKey", {
    keyBlock: { ...block, keyValue: { keyMaterial: material, attributes } },
  });
  const form = objectForm("SymmetricKey");

  function namesOfValue(item: Item | undefined): readonly (string | undefined)[] {
    let at = item;
    for (const tag of [t("KeyBlock"), t("KeyValue")]) {
      at = at?.type === ItemType.Structure ? at.value.find((one) => one.tag === tag) : undefined;
    }
    return at?.type === ItemType.Structure ? at.value.map((one) => tagNameOf(one.tag)) : [];
  }

  test.each(versions)("are sent in the form of %s and read back unchanged", (version) => {
    const sent = form.encode(t("SymmetricKey"), kept, version);
    expect(namesOfValue(sent)).toEqual(
      isVersion1(version)
        ? ["KeyMaterial", "Attribute", "Attribute"]
        : ["KeyMaterial", "Attributes"],
    );
    expect(sent && form.decode(sent, version)).toEqual(kept);
  });

  test("are absent in both forms if the key has none", () => {
    const plain = objectItem("SymmetricKey", { keyBlock: block });
    const sent = form.encode(t("SymmetricKey"), plain, "1.0");
    const read = sent && form.decode(sent, "1.0");
    expect(read).toEqual(plain);
    expect(namesOfValue(read && form.encode(t("SymmetricKey"), read, "2.1"))).toEqual([
      "KeyMaterial",
    ]);
  });
});

describe("an object that a version cannot express", () => {
  test.each<[string, KeyBlock, Version]>([
    ["format", { keyFormatType: "TransparentECDSAPrivateKey" }, "2.0"],
    ["algorithm", { ...block, cryptographicAlgorithm: "ChaCha20" }, "1.2"],
  ])("is refused because of its %s", (_, keyBlock, version) => {
    const item = objectItem("PrivateKey", { keyBlock });
    expect(() => objectForm("PrivateKey").encode(item.tag, item, version)).toThrow(
      expect.objectContaining({ fault: "keyFormatTypeNotSupported" }),
    );
  });

  test("is sent without a field that is newer", () => {
    const keyWrappingData = { wrappingMethod: "Encrypt", encodingOption: "NoEncoding" } as const;
    const item = objectItem("SymmetricKey", { keyBlock: { ...block, keyWrappingData } });
    const form = objectForm("SymmetricKey");
    const sent = form.encode(item.tag, item, "1.0");
    expect(sent && keyBlockOf(form.decode(sent, "1.0"))?.keyWrappingData).toEqual({
      wrappingMethod: "Encrypt",
    });
  });
});

describe("key formats", () => {
  const raw = objectItem("SymmetricKey", { keyBlock: block });

  test("Raw and Transparent Symmetric Key can be converted into each other", () => {
    const transparent = inKeyFormat(block, "TransparentSymmetricKey");
    expect(transparent?.keyFormatType).toBe("TransparentSymmetricKey");
    expect(transparent && plainKeyOf(transparent)).toEqual(key);
    expect(transparent && inKeyFormat(transparent, "Raw")).toEqual(block);
    const item = transparent && withKeyBlock(raw, transparent);
    const sent = item && objectForm("SymmetricKey").encode(item.tag, item, "1.0");
    expect(sent && objectForm("SymmetricKey").decode(sent, "1.0")).toEqual(item);
  });

  test("no other format can be converted", () => {
    expect(inKeyFormat(block, "PKCS_8")).toBeUndefined();
    expect(inKeyFormat({ ...block, keyFormatType: "Opaque" }, "Raw")).toBeUndefined();
    expect(inKeyFormat({ ...block, keyValue: key }, "TransparentSymmetricKey")).toBeUndefined();
    const wrappedBlock = { ...block, keyWrappingData: { wrappingMethod: "Encrypt" } as const };
    expect(inKeyFormat(wrappedBlock, "TransparentSymmetricKey")).toBeUndefined();
    expect(inKeyFormat(block, "Raw")).toBe(block);
  });

  test("Key Blocks are found only in objects that have them", () => {
    expect(keyBlockOf(raw)).toEqual(block);
    const opaque = objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue: key });
    expect(keyBlockOf(opaque)).toBeUndefined();
    expect(keyBlockOf(integer(0x42ffff, 1))).toBeUndefined();
    expect(objectValue("OpaqueObject", opaque).opaqueDataValue).toEqual(key);
  });
});
