import { ItemType } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { type TagName, type TagRow, tags } from "../schema/tags.ts";
import { type Version, versions } from "../schema/version.ts";
import {
  attributeItem,
  attributeValue,
  inVersion,
  referenceOf,
  vendorAttribute,
  vendorKeyOf,
} from "./attribute.ts";
import {
  attributeByName,
  attributeByTag,
  attributeNameOf,
  attributeVisible,
} from "./attribute-lookup.ts";
import type { AttributeRow } from "./attribute-row.ts";
import { type AttributeName, attributes } from "./attributes.ts";

const rows = Object.entries(attributes) as readonly (readonly [AttributeName, AttributeRow])[];
const standard = rows.filter(([name]) => name !== "VendorAttribute");

describe("the table", () => {
  test("gives each attribute the tag of its key, and the name of that tag", () => {
    for (const [key, { tag, name }] of standard) {
      expect([tag, name], key).toEqual([tags[key as TagName].tag, tags[key as TagName].name]);
      expect(attributeByTag(tag)).toBe(attributes[key]);
      expect(attributeByName(name)).toBe(attributes[key]);
      expect(attributeNameOf(tag)).toBe(key);
    }
  });

  test("has no two attributes with the same tag or name", () => {
    expect(new Set(rows.map(([, { tag }]) => tag)).size).toBe(rows.length);
    expect(new Set(rows.map(([, { name }]) => name)).size).toBe(rows.length);
  });

  test("has no attribute in a version that lacks its tag", () => {
    for (const [key, { tag }] of standard) {
      const { since = "1.0", until = "2.1" }: TagRow = tags[key as TagName];
      for (const version of versions) {
        const known = version >= since && version <= until;
        if (!known) expect(attributeVisible(tag, version), `${key} ${version}`).toBe(false);
      }
    }
  });

  test("allows no client to change or delete what only the server sets", () => {
    for (const [key, row] of rows) {
      const closed = row.setBy !== "server" || !(row.modifiable || row.deletable);
      expect(closed, key).toBe(true);
    }
  });
});

describe("names of 1.x", () => {
  test.each<[string, AttributeName | undefined]>([
    ["State", "State"],
    ["X.509 Certificate Subject", "X_509CertificateSubject"],
    ["x-Product_Version", "VendorAttribute"],
    ["y-Server", "VendorAttribute"],
    ["x-", undefined],
    ["z-Name", undefined],
    ["state", undefined],
    ["Attribute", undefined],
    ["Vendor Attribute", undefined],
    ["Custom Attribute", undefined],
    ["__proto__", undefined],
  ])("find the right row for %s", (name, key) => {
    expect(attributeByName(name)).toBe(key === undefined ? undefined : attributes[key]);
  });
});

describe("visibility", () => {
  test.each<[AttributeName, Version, string | undefined, boolean]>([
    ["Fresh", "1.0", undefined, false],
    ["Fresh", "1.1", undefined, true],
    ["OperationPolicyName", "1.4", undefined, true],
    ["OperationPolicyName", "2.0", undefined, false],
    ["CertificateIdentifier", "2.0", undefined, false],
    ["CertificateSubjectCN", "1.3", undefined, false],
    ["CertificateSubjectCN", "1.4", "Certificate", true],
    ["CertificateSubjectCN", "1.4", "SymmetricKey", false],
    ["KeyFormatType", "1.4", undefined, false],
    ["KeyFormatType", "2.0", undefined, true],
    ["RotateName", "2.0", undefined, false],
    ["RotateName", "2.1", undefined, true],
    ["State", "1.4", "OpaqueObject", false],
    ["State", "1.2", "Template", false],
    ["State", "2.0", "OpaqueObject", true],
    ["VendorAttribute", "1.0", "Template", true],
    ["VendorAttribute", "2.1", "CertificateRequest", true],
    ["OpaqueDataType", "2.1", "SymmetricKey", false],
    ["CryptographicDomainParameters", "2.1", "Template", false],
    ["CryptographicDomainParameters", "1.1", "Template", true],
  ])("of %s in %s for %s is %s", (name, version, objectType, visible) => {
    expect(attributeVisible(attributes[name].tag, version, objectType)).toBe(visible);
  });

  test("is false for anything but an attribute", () => {
    expect(attributeVisible(tags.BatchItem.tag, "2.1")).toBe(false);
    expect(attributeVisible(0, "2.1")).toBe(false);
  });
});

describe("values", () => {
  test("of every version are kept, even those that the newest one dropped", () => {
    const template = attributeItem("ObjectType", "Template");
    expect(attributeValue("ObjectType", template)).toBe("Template");
    const mask = attributeItem("CryptographicUsageMask", 0x40c);
    expect(attributeValue("CryptographicUsageMask", mask)).toBe(0x40c);
    const issuer = { distinguishedName: "CN=a", alternativeNames: ["b", "c"] };
    expect(attributeValue("CertificateIssuer", attributeItem("CertificateIssuer", issuer))).toEqual(
      issuer,
    );
  });

  const digest = attributeItem("Digest", {
    hashingAlgorithm: "SHA_256",
    digestValue: Uint8Array.of(1),
    keyFormatType: "Raw",
  });
  test.each<[string, Version, number | undefined]>([
    ["a field that the version lacks is left out", "1.0", 2],
    ["a field that the version has is kept", "1.1", 3],
  ])("Digest: %s (%s)", (_, version, fields) => {
    const item = inVersion(digest, version);
    expect(item?.type === ItemType.Structure && item.value.length).toBe(fields);
  });

  test("that the version cannot express leave out their attribute", () => {
    const link = attributeItem("Link", { type: "NextLink", linkedObjectIdentifier: "a" });
    expect(inVersion(link, "1.1")).toBeUndefined();
    expect(inVersion(link, "1.2")).toEqual(link);
    const chaCha20 = attributeItem("CryptographicAlgorithm", "ChaCha20");
    expect(inVersion(chaCha20, "1.3")).toBeUndefined();
    const placeholder = attributeItem("Link", {
      type: "ParentLink",
      linkedObjectIdentifier: { special: "IDPlaceholder" },
    });
    expect(inVersion(placeholder, "1.4")).toBeUndefined();
  });

  test("of a mask lose only the bits of newer versions", () => {
    const mask = attributeItem("CryptographicUsageMask", 0x10_000c | 0x400);
    expect(inVersion(mask, "1.4")).toMatchObject({ value: 0x40c });
    expect(inVersion(mask, "2.0")).toMatchObject({ value: 0x10_040c });
  });
});

describe("Vendor Attribute", () => {
  const item = vendorAttribute("x", "Name", { tag: 1, type: ItemType.TextString, value: "vm-1" });

  test("has its value under Attribute Value, and a key made of vendor and name", () => {
    expect(item).toEqual({
      tag: 0x420008,
      type: ItemType.Structure,
      value: [
        { tag: 0x42009d, type: ItemType.TextString, value: "x" },
        { tag: 0x42000a, type: ItemType.TextString, value: "Name" },
        { tag: 0x42000b, type: ItemType.TextString, value: "vm-1" },
      ],
    });
    expect(vendorKeyOf(item)).toBe("x\0Name");
  });

  test("is referred to by that key; other attributes only by their tag", () => {
    expect(referenceOf(item)).toEqual({ tag: 0x420008, key: "x\0Name" });
    const state = attributeItem("State", "Active");
    expect(referenceOf(state)).toEqual({ tag: tags.State.tag, key: "" });
  });
});
