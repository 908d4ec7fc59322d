import {
  attributes,
  ordinal,
  tags,
  type Version,
  vendorAttribute,
  versions,
  within,
} from "@holdfast/kmip";
import { enumeration, type Item, integer, longInteger, textString } from "@holdfast/ttlv";
import { beforeAll, describe, expect, test } from "vitest";
import { aesKey, named } from "../testing/test-attributes.ts";
import { type Criteria, date, is, LabelledObjects, never, part } from "../testing/test-locate.ts";

const vendor = (name: string, value: Item) => ({ item: vendorAttribute("x", name, value) });

let objects: LabelledObjects;

const now = 1_780_000_000;

/** Makes the objects, from the oldest to the newest. */
async function makeObjects(): Promise<void> {
  objects = await LabelledObjects.make();
  await objects.add(
    "plain",
    aesKey({
      Name: named("plain"),
      ObjectGroup: "one",
      ApplicationSpecificInformation: { namespace: "ssl", data: "www" },
      CryptographicParameters: { blockCipherMode: "CBC", paddingMethod: "PKCS5" },
      ContactInformation: "Joe",
      VendorAttribute: vendorOf("Site", textString(0, "Frankfurt")),
    }),
  );
  await objects.add("planned", aesKey({ ActivationDate: now + 100, CryptographicUsageMask: 0x04 }));
  await objects.add(
    "limited",
    aesKey({ UsageLimits: { total: 1000n, unit: "Byte" }, ActivationDate: now - 5 }),
  );
  await objects.add("policy", aesKey({ OperationPolicyName: "default" }), "1.0");
  await objects.add("linked", {
    ...aesKey({
      Name: named("linked"),
      ObjectGroup: "one",
      Link: { type: "DerivedKeyLink", linkedObjectIdentifier: objects.identifierOf("plain") },
      VendorAttribute: vendorOf("Site", textString(0, "Madrid")),
    }),
  });
  await objects.engine.ask("2.1", "AddAttribute", {
    uniqueIdentifier: objects.identifierOf("linked"),
    newAttribute: is("ObjectGroup", "two"),
  });
  await objects.add("gone", aesKey({ Name: named("gone"), ObjectGroup: "one" }));
  await objects.engine.ask("2.1", "Get", { uniqueIdentifier: objects.identifierOf("linked") });
  await objects.engine.ask("2.1", "Destroy", { uniqueIdentifier: objects.identifierOf("gone") });
  objects.engine.now += 1;
}

function vendorOf(name: string, value: Item) {
  return {
    vendorIdentification: "x",
    name,
    value: { ...value, tag: tags.AttributeValue.tag } as Item,
  };
}

const live = ["linked", "policy", "limited", "planned", "plain"];

interface Row {
  readonly what: string;
  /** From its first version on; all if absent. */
  readonly in?: readonly [since: Version, until?: Version];
  readonly filter: () => Criteria;
  readonly finds: readonly string[];
}

const rows: readonly Row[] = [
  { what: "no attribute", filter: () => [], finds: live },
  { what: "a Name", filter: () => [is("Name", named("plain"))], finds: ["plain"] },
  { what: "a Name that no object has", filter: () => [is("Name", named("none"))], finds: [] },
  {
    what: "a Name of another type",
    filter: () => [is("Name", { value: "plain", type: "URI" })],
    finds: [],
  },
  {
    what: "a Name by its value alone",
    filter: () => [part("Name", textString(tags.NameValue.tag, "linked"))],
    finds: ["linked"],
  },
  {
    what: "any Name of a type",
    filter: () => [part("Name", enumeration(tags.NameType.tag, 1))],
    finds: ["linked", "plain"],
  },
  { what: "the Name of a destroyed object", filter: () => [is("Name", named("gone"))], finds: [] },
  {
    what: "a Unique Identifier",
    filter: () => [is("UniqueIdentifier", objects.identifierOf("plain"))],
    finds: ["plain"],
  },
  {
    what: "a Unique Identifier and a Name that does not belong to it",
    filter: () => [
      is("UniqueIdentifier", objects.identifierOf("plain")),
      is("Name", named("linked")),
    ],
    finds: [],
  },
  {
    what: "two Unique Identifiers",
    filter: () => [
      is("UniqueIdentifier", objects.identifierOf("plain")),
      is("UniqueIdentifier", objects.identifierOf("linked")),
    ],
    finds: [],
  },
  {
    what: "a Unique Identifier that no object has",
    filter: () => [is("UniqueIdentifier", "00000000-0000-0000-0000-000000000000")],
    finds: [],
  },
  {
    what: "an Object Type",
    filter: () => [is("ObjectType", "SymmetricKey")],
    finds: live,
  },
  {
    what: "an Object Type that no object has",
    filter: () => [is("ObjectType", "SecretData")],
    finds: [],
  },
  { what: "an Object Group", filter: () => [is("ObjectGroup", "one")], finds: ["linked", "plain"] },
  {
    what: "two values of one attribute",
    filter: () => [is("ObjectGroup", "one"), is("ObjectGroup", "two")],
    finds: ["linked"],
  },
  {
    what: "State",
    filter: () => [is("State", "PreActive"), is("ObjectGroup", "one")],
    finds: ["linked", "plain"],
  },
  { what: "State Active", filter: () => [is("State", "Active")], finds: ["limited"] },
  { what: "State Destroyed", filter: () => [is("State", "Destroyed")], finds: [] },
  {
    what: "two values of a single-valued attribute",
    filter: () => [is("State", "Active"), is("State", "PreActive")],
    finds: [],
  },
  {
    what: "a usage mask with a bit that some do not have",
    filter: () => [is("CryptographicUsageMask", 0x08)],
    finds: live.filter((label) => label !== "planned"),
  },
  {
    what: "a usage mask that all contain",
    filter: () => [is("CryptographicUsageMask", 0x04)],
    finds: live,
  },
  {
    what: "Usage Limits that are larger",
    filter: () => [part("UsageLimits", longInteger(tags.UsageLimitsTotal.tag, 999n))],
    finds: ["limited"],
  },
  {
    what: "Usage Limits with count and unit",
    filter: () => [is("UsageLimits", { total: 1000n, count: 1000n, unit: "Byte" })],
    finds: ["limited"],
  },
  {
    what: "Usage Limits of another unit",
    filter: () => [is("UsageLimits", { total: 1n, unit: "Object" })],
    finds: [],
  },
  {
    what: "Usage Limits that are smaller",
    filter: () => [part("UsageLimits", longInteger(tags.UsageLimitsCount.tag, 1001n))],
    finds: [],
  },
  { what: "a date", filter: () => [date("ActivationDate", now + 100)], finds: ["planned"] },
  { what: "a date a second off", filter: () => [date("ActivationDate", now + 101)], finds: [] },
  {
    what: "a range of dates, its limits included",
    filter: () => [date("ActivationDate", now + 100), date("ActivationDate", now - 5)],
    finds: ["limited", "planned"],
  },
  {
    what: "a range of dates to no date",
    filter: () => [date("ActivationDate", now + 1), date("ActivationDate", never)],
    finds: live.filter((label) => label !== "limited"),
  },
  {
    what: "no date",
    filter: () => [date("ActivationDate", never)],
    finds: ["linked", "policy", "plain"],
  },
  {
    what: "two dates of two kinds",
    filter: () => [date("ActivationDate", now + 100), date("InitialDate", now)],
    finds: ["planned"],
  },
  {
    what: "Application Specific Information",
    filter: () => [is("ApplicationSpecificInformation", { namespace: "ssl", data: "www" })],
    finds: ["plain"],
  },
  {
    what: "an Application Namespace alone",
    filter: () => [is("ApplicationSpecificInformation", { namespace: "ssl" })],
    finds: ["plain"],
  },
  {
    what: "part of the Cryptographic Parameters",
    filter: () => [is("CryptographicParameters", { paddingMethod: "PKCS5" })],
    finds: ["plain"],
  },
  {
    what: "Cryptographic Parameters that no object has",
    filter: () => [is("CryptographicParameters", { paddingMethod: "PKCS5", keyRoleType: "KEK" })],
    finds: [],
  },
  {
    what: "any Cryptographic Parameters",
    filter: () => [is("CryptographicParameters", {})],
    finds: ["plain"],
  },
  {
    what: "a Link by what it points to",
    filter: () => [
      part("Link", textString(tags.LinkedObjectIdentifier.tag, objects.identifierOf("plain"))),
    ],
    finds: ["linked"],
  },
  {
    what: "a Link by its type",
    filter: () => [part("Link", enumeration(tags.LinkType.tag, 0x106))],
    finds: [],
  },
  {
    what: "Contact Information",
    filter: () => [is("ContactInformation", "Joe")],
    finds: ["plain"],
  },
  {
    what: "a custom attribute",
    filter: () => [vendor("Site", textString(0, "Madrid"))],
    finds: ["linked"],
  },
  {
    what: "a custom attribute of another type",
    filter: () => [vendor("Site", integer(0, 1))],
    finds: [],
  },
  {
    what: "a custom attribute by its name alone",
    in: ["2.0"],
    filter: () => [
      part(
        "VendorAttribute",
        textString(tags.VendorIdentification.tag, "x"),
        textString(tags.AttributeName.tag, "Site"),
      ),
    ],
    finds: ["linked", "plain"],
  },
  {
    what: "the absence of a date, and a Name",
    filter: () => [date("DestroyDate", never), is("Name", named("plain"))],
    finds: ["plain"],
  },
  {
    what: "Operation Policy Name",
    in: ["1.0", "1.4"],
    filter: () => [is("OperationPolicyName", "default")],
    finds: ["policy"],
  },
  { what: "Fresh", in: ["1.1"], filter: () => [is("Fresh", false)], finds: ["linked"] },
  {
    what: "a Short Unique Identifier",
    in: ["2.0"],
    filter: () => [is("ShortUniqueIdentifier", shortOf("planned"))],
    finds: ["planned"],
  },
  {
    what: "Key Format Type",
    in: ["2.0"],
    filter: () => [is("KeyFormatType", "Raw"), is("Name", named("plain"))],
    finds: ["plain"],
  },
  {
    what: "Sensitive that was never set",
    in: ["1.4"],
    filter: () => [is("Sensitive", true)],
    finds: [],
  },
  { what: "Lease Time", filter: () => [is("LeaseTime", 3600)], finds: live },
];

let shorts: ReadonlyMap<string, Uint8Array>;

function shortOf(label: string): Uint8Array {
  return shorts.get(label) ?? new Uint8Array();
}

async function shortIdentifier(label: string): Promise<[string, Uint8Array]> {
  const { attributes: found } = await objects.engine.ask("2.1", "GetAttributes", {
    uniqueIdentifier: objects.identifierOf(label),
    references: [{ tag: attributes.ShortUniqueIdentifier.tag, key: "" }],
  });
  return [label, found[0]?.item.value as Uint8Array];
}

describe("Locate", () => {
  beforeAll(async () => {
    await makeObjects();
    shorts = new Map([await shortIdentifier("planned")]);
  });

  const cases = versions.flatMap((version) =>
    rows
      .filter((row) => within(version, row.in?.[0], row.in?.[1]))
      .map((row) => ({ version, ...row })),
  );

  test.each(cases)("in $version finds by $what", async ({ version, filter, finds }) => {
    const { labels, locatedItems } = await objects.locate(version, filter());
    expect(labels).toEqual(finds);
    const counts = ordinal(version) >= ordinal("1.3") && finds.length > 0;
    expect(locatedItems).toBe(counts ? finds.length : undefined);
  });

  test.each(versions)("in %s ignores an Attribute Index", async (version) => {
    const { labels } = await objects.locate(version, [{ ...is("Name", named("plain")), index: 7 }]);
    expect(labels).toEqual(["plain"]);
  });

  test("refuses what it cannot search for, with the version's reason", async () => {
    const reasonOf = async (version: Version, given: Criteria, more: object = {}) =>
      objects.engine.reason(version, "Locate", { ...more, attributes: given });
    for (const version of versions) {
      const three = [1, 2, 3].map((seconds) => date("ActivationDate", seconds));
      expect(await reasonOf(version, three)).toBe("InvalidField");
      expect(await reasonOf(version, [], { maximumItems: -1 })).toBe("InvalidField");
      if (within(version, "1.3")) {
        expect(await reasonOf(version, [], { offsetItems: -1 })).toBe("InvalidField");
      }
      if (within(version, "1.1")) {
        const alone = { objectGroupMember: "GroupMemberDefault" };
        expect(await reasonOf(version, [], alone)).toBe("InvalidField");
        const unknown = { objectGroupMember: "0x80000001" };
        expect(await reasonOf(version, [], unknown)).toBe("InvalidField");
      }
    }
  });

  test("finds no object by an attribute that none has, and all by the absence of its date", async () => {
    for (const version of versions) {
      const { labels } = await objects.locate(version, []);
      expect((await objects.locate(version, [date("ArchiveDate", now)])).labels).toEqual([]);
      expect((await objects.locate(version, [date("ArchiveDate", never)])).labels).toEqual(labels);
    }
    const rotated = [date("RotateDate", now), is("RotateGeneration", 0), is("RotateLatest", true)];
    for (const one of rotated) expect((await objects.locate("2.1", [one])).labels).toEqual([]);
  });

  test("searches the storage that is asked for", async () => {
    const gone = [is("Name", named("gone"))];
    const rowsOfStorage: readonly [number, readonly string[]][] = [
      [0, []],
      [1, []],
      [2, []],
      [3, []],
      [4, ["gone"]],
      [7, ["gone"]],
    ];
    for (const [storageStatusMask, finds] of rowsOfStorage) {
      for (const version of ["2.0", "2.1"] as const) {
        expect((await objects.locate(version, gone, { storageStatusMask })).labels).toEqual(finds);
      }
    }
    const all = await objects.locate("2.1", [], { storageStatusMask: 5 });
    expect(all.labels).toEqual(["gone", ...live]);
    const destroyed = await objects.locate("2.1", [is("State", "Destroyed")], {
      storageStatusMask: 4,
    });
    expect(destroyed.labels).toEqual(["gone"]);
    const byIdentifier = [is("UniqueIdentifier", objects.identifierOf("gone"))];
    expect((await objects.locate("2.1", byIdentifier)).labels).toEqual([]);
    const asked = await objects.locate("2.1", byIdentifier, { storageStatusMask: 4 });
    expect(asked.labels).toEqual(["gone"]);
  });

  test("returns a page of the matches and counts all of them", async () => {
    const pages: readonly [maximumItems: number | undefined, offsetItems: number | undefined][] = [
      [undefined, undefined],
      [2, undefined],
      [2, 2],
      [2, 4],
      [undefined, 3],
      [2, 9],
      [0, 0],
      [2 ** 31 - 1, 1],
    ];
    for (const version of ["1.3", "1.4", "2.0", "2.1"] as const) {
      for (const [maximumItems, offsetItems] of pages) {
        const { labels, locatedItems } = await objects.locate(version, [], {
          ...(maximumItems === undefined ? {} : { maximumItems }),
          ...(offsetItems === undefined ? {} : { offsetItems }),
        });
        const from = offsetItems ?? 0;
        expect(labels).toEqual(live.slice(from, from + (maximumItems ?? live.length)));
        expect(locatedItems).toBe(live.length);
      }
    }
  });

  test("refuses more than 64 attributes, so that no object is compared with thousands", async () => {
    const reason = (version: Version, count: number) =>
      objects.engine.reason(version, "Locate", {
        attributes: Array.from({ length: count }, () => is("CryptographicUsageMask", 4)),
      });
    for (const version of versions) expect(await reason(version, 64)).toBeUndefined();
    expect(await reason("1.1", 65)).toBe("GeneralFailure");
    expect(await reason("2.1", 65)).toBe("ServerLimitExceeded");
  });

  test("does not find objects of another instance", async () => {
    const other = { instance: "j", fingerprint: "fp" };
    const { items } = await objects.engine.sendAs(other, "2.1", [
      ["Locate", { attributes: [is("UniqueIdentifier", objects.identifierOf("plain"))] }],
    ]);
    expect(items[0]?.payload).toEqual({ uniqueIdentifiers: [] });
  });
});
