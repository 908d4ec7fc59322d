import { createHash } from "node:crypto";
import {
  type AttributeReference,
  attributeItem,
  attributeNameOf,
  attributes,
  isVersion1,
  objectItem,
  type TagName,
  tags,
  type Version,
  vendorAttribute,
  versions,
} from "@holdfast/kmip";
import { dateTimeExtended, type Item, structure, textString } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { aesKey, attributeSet, named } from "../../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const created = async (given: Parameters<typeof aesKey>[0] = {}, version: Version = "2.1") =>
  (await engine.ask(version, "Create", aesKey(given))).uniqueIdentifier;

const reference = (name: keyof typeof attributes): AttributeReference => ({
  tag: attributes[name].tag,
  key: "",
});

async function itemsOf(
  version: Version,
  uniqueIdentifier: string,
  ...references: readonly AttributeReference[]
): Promise<readonly Item[]> {
  const answer = await engine.ask(version, "GetAttributes", { uniqueIdentifier, references });
  expect(answer.uniqueIdentifier).toBe(uniqueIdentifier);
  return answer.attributes.map(({ item }) => item);
}

async function namesOf(version: Version, uniqueIdentifier: string): Promise<readonly string[]> {
  const items = await itemsOf(version, uniqueIdentifier);
  return [...new Set(items.map(({ tag }) => attributeNameOf(tag) ?? "?"))].toSorted();
}

/** The attributes of a new key that every version shows, and those that each version adds. */
const shown: readonly (readonly [Version, readonly TagName[]])[] = [
  [
    "1.0",
    [
      "CryptographicAlgorithm",
      "CryptographicLength",
      "CryptographicUsageMask",
      "Digest",
      "InitialDate",
      "LastChangeDate",
      "LeaseTime",
      "ObjectType",
      "State",
      "UniqueIdentifier",
    ],
  ],
  ["1.1", ["Fresh"]],
  ["1.2", ["OriginalCreationDate"]],
  ["1.3", ["RandomNumberGenerator"]],
  ["1.4", ["AlwaysSensitive", "Extractable", "NeverExtractable", "Sensitive"]],
  ["2.0", ["KeyFormatType", "ProtectionStorageMask", "ShortUniqueIdentifier"]],
  ["2.1", []],
];

describe("Get Attributes", () => {
  test.each(versions)("in %s shows the version's attributes of a new key", async (version) => {
    const until = shown.findIndex(([one]) => one === version) + 1;
    const expected = shown.slice(0, until).flatMap(([, names]) => names);
    expect(await namesOf(version, await created())).toEqual(expected.toSorted());
  });

  test.each(versions)(
    "in %s returns only the identifier if no attribute exists",
    async (version) => {
      const uniqueIdentifier = await created();
      const absent = [
        reference("ContactInformation"),
        { tag: attributes.VendorAttribute.tag, key: "x\0None" },
      ];
      expect(await itemsOf(version, uniqueIdentifier, ...absent)).toEqual([]);
    },
  );

  test("finds nothing by a name that no 1.x version has", async () => {
    const uniqueIdentifier = await created();
    const unknown = { tag: 0, key: "Shoe Size" };
    for (const version of versions.filter(isVersion1)) {
      expect(await itemsOf(version, uniqueIdentifier, unknown, reference("State"))).toHaveLength(1);
      const newer = { tag: 0, key: "Short Unique Identifier" };
      expect(await itemsOf(version, uniqueIdentifier, newer)).toEqual([]);
    }
  });

  test.each(versions)("in %s refuses the same name twice, except in 1.0", async (version) => {
    const uniqueIdentifier = await created();
    const references = [reference("State"), reference("State")];
    const reason = await engine.reason(version, "GetAttributes", { uniqueIdentifier, references });
    expect(reason).toBe(version === "1.0" ? undefined : "InvalidMessage");
  });

  test("refuses an object that does not exist", async () => {
    const payload = { uniqueIdentifier: "none", references: [] };
    for (const version of versions) {
      const reason = isVersion1(version) ? "ItemNotFound" : "ObjectNotFound";
      expect(await engine.reason(version, "GetAttributes", payload)).toBe(reason);
      const { uniqueIdentifier } = payload;
      expect(await engine.reason(version, "GetAttributeList", { uniqueIdentifier })).toBe(reason);
    }
  });

  test("returns the hash of the identifier as Short Unique Identifier", async () => {
    const uniqueIdentifier = await created();
    const [item] = await itemsOf("2.1", uniqueIdentifier, reference("ShortUniqueIdentifier"));
    const expected = createHash("sha256").update(uniqueIdentifier).digest();
    expect(Buffer.compare(item?.value as Uint8Array, expected)).toBe(0);
  });

  test("returns all values of an attribute, by index", async () => {
    const uniqueIdentifier = await created({ Name: named("a"), ObjectGroup: "one" });
    const newAttribute = { item: attributeItem("ObjectGroup", "two") };
    await engine.ask("1.2", "AddAttribute", { uniqueIdentifier, newAttribute });
    const references = [reference("ObjectGroup")];
    const answer = await engine.ask("1.2", "GetAttributes", { uniqueIdentifier, references });
    expect(answer.attributes).toEqual([
      { item: attributeItem("ObjectGroup", "one") },
      { item: attributeItem("ObjectGroup", "two"), index: 1 },
    ]);
  });

  test("returns Usage Limits with a count that equals the total", async () => {
    const uniqueIdentifier = await created({ UsageLimits: { total: 10n, unit: "Byte" } });
    const limits = () => itemsOf("2.1", uniqueIdentifier, reference("UsageLimits"));
    const full = attributeItem("UsageLimits", { total: 10n, count: 10n, unit: "Byte" });
    expect(await limits()).toEqual([full]);
  });

  test("returns the actual date instead of the planned one", async () => {
    const uniqueIdentifier = await created({ ActivationDate: engine.now + 100 });
    const date = () => itemsOf("1.0", uniqueIdentifier, reference("ActivationDate"));
    expect(await date()).toEqual([attributeItem("ActivationDate", engine.now + 100)]);
    await engine.ask("1.0", "Activate", { uniqueIdentifier });
    expect(await date()).toEqual([attributeItem("ActivationDate", engine.now)]);
  });

  test("returns the Revocation Reason of the compromise instead of the deactivation's", async () => {
    const uniqueIdentifier = await created({ ActivationDate: engine.now });
    const reason = () => itemsOf("1.4", uniqueIdentifier, reference("RevocationReason"));
    expect(await reason()).toEqual([]);
    const cessation = { code: "CessationOfOperation", message: "old" } as const;
    await engine.ask("1.4", "Revoke", { uniqueIdentifier, revocationReason: cessation });
    expect(await reason()).toEqual([attributeItem("RevocationReason", cessation)]);
    const compromise = { code: "KeyCompromise" } as const;
    await engine.ask("1.4", "Revoke", { uniqueIdentifier, revocationReason: compromise });
    expect(await reason()).toEqual([attributeItem("RevocationReason", compromise)]);
  });

  test("returns in 1.x only the Vendor Attributes whose names and values it can express", async () => {
    const uniqueIdentifier = await created();
    const values = [
      vendorAttribute("x", "Site", textString(0, "Madrid")),
      vendorAttribute("Acme", "Site", textString(0, "Rome")),
      vendorAttribute("x", "", textString(0, "nameless")),
      vendorAttribute("x", "When", dateTimeExtended(0, 1n)),
      vendorAttribute("x", "Deep", structure(0, [dateTimeExtended(tags.TimeStamp.tag, 1n)])),
    ];
    for (const item of values) {
      await engine.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: { item } });
    }
    const vendors = async (version: Version) =>
      (await itemsOf(version, uniqueIdentifier)).filter(
        ({ tag }) => tag === attributes.VendorAttribute.tag,
      );
    expect(await vendors("1.4")).toEqual(values.slice(0, 1));
    expect(new Set((await vendors("2.1")).map(({ value }) => value))).toEqual(
      new Set(values.map(({ value }) => value)),
    );
  });
});

test.each(versions)("Get Attribute List in %s names each attribute once", async (version) => {
  const uniqueIdentifier = await created({ Name: named("a"), ObjectGroup: "one" });
  const more = [
    attributeItem("ObjectGroup", "two"),
    vendorAttribute("x", "Site", textString(0, "Madrid")),
    vendorAttribute("x", "Site", textString(0, "Rome")),
    vendorAttribute("x", "Other", textString(0, "Rome")),
  ];
  for (const item of more) {
    await engine.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: { item } });
  }
  const { references } = await engine.ask(version, "GetAttributeList", { uniqueIdentifier });
  const said = references.map(({ tag, key }) => `${tag} ${key}`);
  expect(new Set(said).size).toBe(said.length);
  const names = new Set(references.map(({ tag }) => attributeNameOf(tag)));
  expect([...names].toSorted()).toEqual(await namesOf(version, uniqueIdentifier));
  const custom = references.filter(({ tag }) => tag === attributes.VendorAttribute.tag);
  expect(custom.map(({ key }) => key).toSorted()).toEqual(["x\0Other", "x\0Site"]);
});

test.each(versions.filter(isVersion1))("a Template in %s has no State", async (version) => {
  const { uniqueIdentifier } = await engine.ask(version, "Register", {
    objectType: "Template",
    attributes: attributeSet({ Name: named("t") }),
    object: objectItem("Template", {
      attributes: [{ item: attributeItem("ObjectGroup", "one") }],
    }),
  });
  const names = await namesOf(version, uniqueIdentifier);
  expect(names).not.toContain("State");
  expect(names).not.toContain("Fresh");
  expect(names).toEqual(expect.arrayContaining(["LeaseTime", "Name", "ObjectType"]));
});
