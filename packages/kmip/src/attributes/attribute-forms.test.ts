import { decode, encode, type Item, ItemType, structure, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Fault, KmipError } from "../schema/faults.ts";
import { tags } from "../schema/tags.ts";
import type { ValueType } from "../schema/value-type.ts";
import { isVersion1, type Version, versions } from "../schema/version.ts";
import {
  type Attribute,
  attributeItem,
  inVersion,
  referenceOf,
  vendorAttribute,
} from "./attribute.ts";
import {
  askedName1,
  askedReference2,
  attribute1,
  attributeFilter1,
  attributeFilters2,
  attributeName1,
  attributeReference2,
  attributeSet2,
  attributes2,
  newAttributes1,
  newAttributes2,
  oneAttribute2,
  templateAttribute,
} from "./attribute-forms.ts";
import { attributeVisible } from "./attribute-lookup.ts";
import { type AttributeName, type AttributeValue, attributes } from "./attributes.ts";

const seed = 0x42_0008;
const date = 1_700_000_000;
const bytes = Uint8Array.of(1, 2, 3);
const distinguished = { distinguishedName: bytes, alternativeNames: [bytes, Uint8Array.of(9)] };
const named = { distinguishedName: "CN=a", alternativeNames: ["b"] };
const text = "grün ✓";

/** A value of every attribute that every version with this attribute can express. */
const samples: { readonly [N in AttributeName]: AttributeValue<N> } = {
  UniqueIdentifier: "id-1",
  ShortUniqueIdentifier: bytes,
  Name: { value: text, type: "URI" },
  AlternativeName: { value: text, type: "ObjectSerialNumber" },
  ObjectType: "SymmetricKey",
  CryptographicAlgorithm: "AES",
  CryptographicLength: 256,
  CryptographicParameters: { blockCipherMode: "CBC", keyRoleType: "0x80000001" },
  CryptographicDomainParameters: { qlength: 256, recommendedCurve: "P_256" },
  CertificateType: "X_509",
  CertificateLength: 557,
  X_509CertificateIdentifier: { issuerDistinguishedName: bytes, serialNumber: bytes },
  X_509CertificateSubject: distinguished,
  X_509CertificateIssuer: distinguished,
  CertificateIdentifier: { issuer: "CN=a", serialNumber: "3132" },
  CertificateSubject: named,
  CertificateIssuer: named,
  CertificateSubjectCN: text,
  CertificateSubjectO: text,
  CertificateSubjectOU: text,
  CertificateSubjectEmail: text,
  CertificateSubjectC: text,
  CertificateSubjectST: text,
  CertificateSubjectL: text,
  CertificateSubjectUID: text,
  CertificateSubjectSerialNumber: text,
  CertificateSubjectTitle: text,
  CertificateSubjectDC: text,
  CertificateSubjectDNQualifier: text,
  CertificateIssuerCN: text,
  CertificateIssuerO: text,
  CertificateIssuerOU: text,
  CertificateIssuerEmail: text,
  CertificateIssuerC: text,
  CertificateIssuerST: text,
  CertificateIssuerL: text,
  CertificateIssuerUID: text,
  CertificateIssuerSerialNumber: text,
  CertificateIssuerTitle: text,
  CertificateIssuerDC: text,
  CertificateIssuerDNQualifier: text,
  DigitalSignatureAlgorithm: "SHA_256WithRSAEncryption",
  Digest: { hashingAlgorithm: "SHA_256", digestValue: bytes },
  OperationPolicyName: "default",
  CryptographicUsageMask: 12,
  LeaseTime: 3600,
  UsageLimits: { total: 1n << 60n, count: 500n, unit: "Byte" },
  State: "PreActive",
  InitialDate: date,
  ActivationDate: 0,
  ProcessStartDate: date,
  ProtectStopDate: date,
  DeactivationDate: date,
  DestroyDate: date,
  CompromiseOccurrenceDate: -1,
  CompromiseDate: date,
  RevocationReason: { code: "KeyCompromise", message: text },
  ArchiveDate: date,
  ObjectGroup: text,
  Fresh: false,
  Link: { type: "PublicKeyLink", linkedObjectIdentifier: "id-2" },
  ApplicationSpecificInformation: { namespace: "ns", data: "data" },
  ContactInformation: text,
  LastChangeDate: date,
  VendorAttribute: {
    vendorIdentification: "y",
    name: "a-b",
    value: structure(tags.AttributeValue.tag, [textString(0x540001, text)]),
  },
  KeyValuePresent: false,
  KeyValueLocation: { value: text, type: "URI" },
  OriginalCreationDate: date,
  RandomNumberGenerator: { rngAlgorithm: "DRBG", drbgAlgorithm: "CTR" },
  PKCS_12FriendlyName: text,
  Description: text,
  Comment: "",
  Sensitive: true,
  AlwaysSensitive: true,
  Extractable: true,
  NeverExtractable: false,
  KeyFormatType: "Raw",
  NISTKeyType: "SymmetricKeyWrappingKey",
  OpaqueDataType: 0x80123456,
  ProtectionLevel: "High",
  ProtectionPeriod: 0xffff_ffff,
  ProtectionStorageMask: 1,
  QuantumSafe: true,
  RotateAutomatic: true,
  RotateDate: date,
  RotateGeneration: 3,
  RotateInterval: 60,
  RotateLatest: true,
  RotateName: { value: text, type: "UninterpretedTextString" },
  RotateOffset: 60,
};
const names = Object.keys(samples) as AttributeName[];
const itemOf = <N extends AttributeName>(name: N): Item => attributeItem<N>(name, samples[name]);

/** Encodes to bytes and decodes again, so that no form makes what TTLV cannot carry. */
function travel<Value>(type: ValueType<Value>, tag: number, value: Value, version: Version): Value {
  const item = type.encode(tag, value, version);
  if (item === undefined) throw new Error("does not travel");
  return type.decode(decode(encode(item)), version);
}

function faultOf(act: () => unknown): Fault | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof KmipError) return error.fault;
    throw error;
  }
  return undefined;
}

describe.each(versions)("KMIP %s encodes and decodes", (version) => {
  const first = isVersion1(version);
  test.each(names)("the attribute %s, or leaves it out", (name) => {
    const attribute: Attribute = { item: itemOf(name) };
    const one = first ? attribute1 : oneAttribute2;
    const tag = first ? tags.Attribute.tag : tags.NewAttribute.tag;
    if (attributeVisible(attribute.item.tag, version)) {
      expect(travel(one, tag, attribute, version)).toEqual(attribute);
      expect(inVersion(attribute.item, version)).toEqual(attribute.item);
    } else {
      expect(inVersion(attribute.item, version)).toBeUndefined();
      const set = { attributes: [attribute], templateNames: [] };
      const written = first
        ? templateAttribute.encode(tags.TemplateAttribute.tag, set, version)
        : attributes2.encode(tags.Attributes.tag, set.attributes, version);
      expect(written?.value).toEqual([]);
    }
  });

  test("all attributes at once, in their order", () => {
    const visible = names
      .map((name): Attribute => ({ item: itemOf(name) }))
      .filter(({ item }) => attributeVisible(item.tag, version));
    const set = { attributes: visible, templateNames: first ? ["template"] : [] };
    const type = first ? templateAttribute : attributeSet2;
    const tag = first ? tags.TemplateAttribute.tag : tags.Attributes.tag;
    expect(travel(type, tag, set, version)).toEqual(set);
  });

  test("references to all attributes", () => {
    for (const name of names) {
      const reference = referenceOf(itemOf(name));
      const [type, tag] = first
        ? [attributeName1, tags.AttributeName.tag]
        : [attributeReference2, tags.AttributeReference.tag];
      if (!attributeVisible(reference.tag, version)) {
        expect(type.encode(tag, reference, version), name).toBeUndefined();
      } else expect(travel(type, tag, reference, version), name).toEqual(reference);
    }
  });
});

const wire1 = (name: string, value: Item, index?: number): Item =>
  structure(tags.Attribute.tag, [
    textString(tags.AttributeName.tag, name),
    ...(index === undefined
      ? []
      : [{ tag: tags.AttributeIndex.tag, type: ItemType.Integer, value: index } as const]),
    { ...value, tag: tags.AttributeValue.tag },
  ]);
const enumeration = (value: number): Item => ({ tag: 0, type: ItemType.Enumeration, value });

describe("the 1.x form", () => {
  test("of vCenter's custom attribute is as vCenter sends it", () => {
    const item = vendorAttribute("x", "Product", textString(0, "VMware vSphere"));
    const wire = attribute1.encode(tags.Attribute.tag, { item }, "1.1");
    expect(wire).toEqual(wire1("x-Product", textString(0, "VMware vSphere")));
    expect(attribute1.decode(wire as Item, "1.1")).toEqual({ item });
  });

  test("has an index only if it is not 0, and reads both", () => {
    const item = itemOf("Name");
    const written = (index: number) =>
      attribute1.encode(tags.Attribute.tag, { item, index }, "1.4");
    expect(written(0)).toEqual(wire1("Name", item));
    expect(written(2)).toEqual(wire1("Name", item, 2));
    expect(attribute1.decode(wire1("Name", item, 0), "1.4")).toEqual({ item, index: 0 });
    expect(attribute1.decode(wire1("Name", item, 2), "1.4")).toEqual({ item, index: 2 });
  });

  test("has no name for another vendor's attribute", () => {
    const item = vendorAttribute("server.example", "Name", textString(0, "a"));
    expect(attribute1.encode(tags.Attribute.tag, { item }, "1.4")).toBeUndefined();
    expect(attributeName1.encode(tags.AttributeName.tag, referenceOf(item), "1.4")).toBeUndefined();
  });

  test.each<[string, Version, Item, Fault]>([
    [
      "a name that no version knows",
      "1.4",
      wire1("Colour", textString(0, "red")),
      "invalidAttribute",
    ],
    ["a name of a newer version", "1.0", wire1("Fresh", itemOf("Fresh")), "invalidAttribute"],
    ["a 2.x name", "1.4", wire1("Key Format Type", enumeration(1)), "invalidAttribute"],
    ["a value of another type", "1.4", wire1("State", textString(0, "Active")), "invalidMessage"],
    ["an unknown value", "1.4", wire1("State", enumeration(99)), "unknownEnumeration"],
    [
      "a value of a newer version",
      "1.3",
      wire1("Cryptographic Algorithm", enumeration(0x1c)),
      "unknownEnumeration",
    ],
    [
      "a mask bit of a newer version",
      "1.4",
      wire1("Cryptographic Usage Mask", { tag: 0, type: ItemType.Integer, value: 0x10_0000 }),
      "invalidField",
    ],
    ["a structure that lacks a field", "1.4", wire1("Name", structure(0, [])), "missingField"],
    [
      "a field of a newer version",
      "1.0",
      wire1("Digest", attributeItem("Digest", { hashingAlgorithm: "MD5", keyFormatType: "Raw" })),
      "invalidMessage",
    ],
    ["no value", "1.1", structure(tags.Attribute.tag, []), "missingField"],
    ["not a structure", "1.1", textString(tags.Attribute.tag, "State"), "invalidMessage"],
  ])("%s (%s) is a fault", (_, version, item, fault) => {
    expect(faultOf(() => attribute1.decode(item, version))).toBe(fault);
  });

  test.each<[string, Version, number, string]>([
    ["State", "1.0", tags.State.tag, ""],
    ["x-Product", "1.1", tags.Attribute.tag, "x\0Product"],
    ["y-a\0b", "1.1", tags.Attribute.tag, "y\0a\0b"],
    ["Colour", "1.1", 0, "Colour"],
    ["Fresh", "1.0", 0, "Fresh"],
    ["Key Format Type", "1.4", 0, "Key Format Type"],
    ["", "1.4", 0, ""],
  ])("reads the name %j in %s as a reference, or as one to nothing", (name, version, tag, key) => {
    const item = textString(tags.AttributeName.tag, name);
    const reference = { tag, key };
    expect(attributeName1.decode(item, version)).toEqual(reference);
    expect(attributeName1.encode(tags.AttributeName.tag, reference, version)).toEqual(item);
  });
});

describe("the 2.x form", () => {
  const wire2 = (...items: readonly Item[]): Item => structure(tags.Attributes.tag, items);

  test.each<[string, Version, Item, Fault]>([
    ["an unknown tag", "2.1", wire2(textString(0x540001, "a")), "unknownTag"],
    ["a tag of 1.x", "2.0", wire2(itemOf("OperationPolicyName")), "unknownTag"],
    ["a tag of 2.1", "2.0", wire2(itemOf("RotateName")), "unknownTag"],
    [
      "a tag that is not an attribute",
      "2.1",
      wire2(structure(tags.BatchItem.tag, [])),
      "invalidAttribute",
    ],
    ["a value of another type", "2.1", wire2(textString(tags.State.tag, "a")), "invalidMessage"],
    ["not a structure", "2.1", textString(tags.Attributes.tag, "a"), "invalidMessage"],
    [
      "a vendor with a space",
      "2.1",
      wire2(vendorAttribute("a b", "c", textString(0, "d"))),
      "invalidField",
    ],
    [
      "a Vendor Attribute without a value",
      "2.1",
      wire2(structure(tags.Attribute.tag, [textString(tags.AttributeName.tag, "a")])),
      "missingField",
    ],
  ])("%s (%s) is a fault", (_, version, item, fault) => {
    expect(faultOf(() => attributes2.decode(item, version))).toBe(fault);
  });

  test("New Attribute and Current Attribute hold one attribute", () => {
    const state = itemOf("State");
    const decoded = (...items: readonly Item[]) =>
      oneAttribute2.decode(structure(tags.NewAttribute.tag, items), "2.0");
    expect(decoded(state)).toEqual({ item: state });
    expect(faultOf(() => decoded())).toBe("invalidMessage");
    expect(faultOf(() => decoded(state, state))).toBe("invalidMessage");
  });

  test.each<[string, Item]>([
    ["a tag of 2.1", enumeration(tags.RotateName.tag)],
    ["a tag that is not an attribute", enumeration(tags.BatchItem.tag)],
    ["Attribute, which only a structure can name", enumeration(tags.Attribute.tag)],
  ])("a reference to %s is a fault in 2.0", (_, item) => {
    expect(faultOf(() => attributeReference2.decode(item, "2.0"))).toBe("invalidAttribute");
  });

  test("a reference is a tag or a structure", () => {
    expect(faultOf(() => attributeReference2.decode(textString(0, "State"), "2.0"))).toBe(
      "invalidMessage",
    );
  });
});

describe("a request is refused if its version cannot express", () => {
  const other = vendorAttribute("Acme", "Site", textString(0, "1"));
  const set = (item: Item) => ({ attributes: [{ item }], templateNames: [] });

  const tag = tags.Attribute.tag;
  const ofNew = (item: Item, version: Version) =>
    (isVersion1(version) ? newAttributes1 : newAttributes2).encode(tag, set(item), version);
  const asked = (item: Item, version: Version) =>
    (isVersion1(version) ? askedName1 : askedReference2).encode(tag, referenceOf(item), version);

  test.each<[string, typeof ofNew, Item, Version]>([
    ["a new object's attribute, 1.x", ofNew, itemOf("Comment"), "1.3"],
    ["a new object's attribute, 2.x", ofNew, itemOf("OperationPolicyName"), "2.0"],
    ["a new object's attribute of a vendor without a name in 1.x", ofNew, other, "1.4"],
    [
      "a value of a new object's attribute",
      ofNew,
      attributeItem("CryptographicAlgorithm", "HMAC_SHA3_224"),
      "1.0",
    ],
    ["a name, 1.x", asked, itemOf("Comment"), "1.3"],
    ["a vendor's name, 1.x", asked, other, "1.4"],
    ["a reference, 2.x", asked, itemOf("OperationPolicyName"), "2.1"],
  ])("%s", (_, encodeIt, item, version) => {
    expect(faultOf(() => encodeIt(item, version))).toBe("invalidAttribute");
  });
});

describe("filters of Locate", () => {
  const noFields = (name: AttributeName): Item => structure(attributes[name].tag, []);
  const structures = names.filter((name) => itemOf(name).type === ItemType.Structure);

  test("may lack any field of a structure", () => {
    for (const name of structures) {
      const { tag, name: name1 } = attributes[name];
      const item = noFields(name);
      if (attributeVisible(tag, "2.1")) {
        const filters = structure(tags.Attributes.tag, [item]);
        expect(attributeFilters2.decode(filters, "2.1"), name).toEqual([{ item }]);
        expect(attributeFilters2.encode(tags.Attributes.tag, [{ item }], "2.1")).toEqual(filters);
      }
      if (attributeVisible(tag, "1.4") && name !== "VendorAttribute") {
        const wire = wire1(name1, item);
        expect(attributeFilter1.decode(wire, "1.4"), name).toEqual({ item });
        expect(attributeFilter1.encode(tags.Attribute.tag, { item }, "1.4")).toEqual(wire);
      }
    }
  });

  test("are never left out of a request, because fewer criteria find more", () => {
    const comment = { item: itemOf("Comment") };
    const other = { item: vendorAttribute("Acme", "Site", textString(0, "1")) };
    const tag = tags.Attribute.tag;
    expect(faultOf(() => attributeFilter1.encode(tag, comment, "1.3"))).toBe("invalidAttribute");
    expect(faultOf(() => attributeFilter1.encode(tag, other, "1.4"))).toBe("invalidAttribute");
    const policy = [{ item: itemOf("OperationPolicyName") }];
    const list = tags.Attributes.tag;
    expect(faultOf(() => attributeFilters2.encode(list, policy, "2.0"))).toBe("invalidAttribute");
    const nothing = [{ item: noFields("VendorAttribute") }];
    expect(attributeFilters2.encode(list, nothing, "2.0")?.value).toHaveLength(1);
  });

  test("are checked in the fields that they have", () => {
    const link = structure(tags.Link.tag, [enumeration(0x101)]);
    expect(faultOf(() => attributeFilter1.decode(wire1("Link", link), "1.4"))).toBe("unknownTag");
    const type = { ...enumeration(99), tag: tags.LinkType.tag } as Item;
    const unknown = structure(tags.Link.tag, [type]);
    expect(faultOf(() => attributeFilter1.decode(wire1("Link", unknown), "1.4"))).toBe(
      "unknownEnumeration",
    );
  });

  test("accept the greatest of all dates, which means no date", () => {
    const item: Item = {
      tag: tags.ActivationDate.tag,
      type: ItemType.DateTime,
      value: 2n ** 63n - 1n,
    };
    expect(attributeFilter1.decode(wire1("Activation Date", item), "1.4")).toEqual({ item });
    expect(faultOf(() => attribute1.decode(wire1("Activation Date", item), "1.4"))).toBe(
      "invalidField",
    );
  });
});

describe("properties", () => {
  const custom = fc
    .record({
      vendor: fc.constantFrom("x", "y"),
      name: fc.string({ minLength: 1, unit: "grapheme" }),
    })
    .map(({ vendor, name }) => vendorAttribute(vendor, name, textString(0, name)));
  const item = fc.oneof(fc.constantFrom(...names).map(itemOf), custom);
  const attribute = fc.record({ item, index: fc.integer({ min: 1, max: 99 }) });

  test(`any attributes that a version writes are read back unchanged (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.array(attribute), fc.constantFrom(...versions), (given, version) => {
        const first = isVersion1(version);
        const visible = given.filter(({ item: one }) => attributeVisible(one.tag, version));
        const expected = first ? visible : visible.map(({ item: one }) => ({ item: one }));
        const set = { attributes: given, templateNames: [] };
        const [type, tag] = first
          ? [templateAttribute, tags.TemplateAttribute.tag]
          : [attributeSet2, tags.Attributes.tag];
        expect(travel(type, tag, set, version).attributes).toEqual(expected);
      }),
      { seed },
    );
  });

  test(`any item is read or causes a fault (seed ${seed})`, () => {
    const leaf = fc
      .tuple(fc.constantFrom(...Object.values(tags)), fc.constantFrom(...names).map(itemOf))
      .map(([{ tag }, one]): Item => ({ ...one, tag }));
    const nested = fc.array(fc.array(leaf, { maxLength: 3 }), { maxLength: 3 });
    fc.assert(
      fc.property(nested, fc.constantFrom(...versions), (parts, version) => {
        const whole = structure(
          tags.Attributes.tag,
          parts.map((part) => structure(tags.Attribute.tag, part)),
        );
        for (const type of [templateAttribute, attributeSet2, attributeFilters2, attribute1]) {
          faultOf(() => type.decode(whole, version));
        }
      }),
      { seed },
    );
  });
});
