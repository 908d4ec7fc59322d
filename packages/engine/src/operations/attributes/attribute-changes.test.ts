import {
  type Attribute,
  type AttributeName,
  type AttributeReference,
  attributes,
  decodeResponse,
  encodeRequest,
  isVersion1,
  tags,
  type Version,
  vendorAttribute,
  versions,
} from "@holdfast/kmip";
import { dateTime, decode, encode, type Item, ItemType, integer, textString } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { aesKey, named } from "../../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../../testing/test-engine.ts";
import { is, uniqueIdentifierOf } from "../../testing/test-locate.ts";

let engine: TestEngine;
let uniqueIdentifier: string;

beforeEach(async () => {
  engine = await testEngine();
  uniqueIdentifier = (await engine.ask("2.1", "Create", aesKey())).uniqueIdentifier;
});

const older = versions.filter(isVersion1);
const newer = ["2.0", "2.1"] as const;

const add = (version: Version, newAttribute: Attribute) =>
  engine.ask(version, "AddAttribute", { uniqueIdentifier, newAttribute });
const refusedAdd = (version: Version, newAttribute: Attribute) =>
  engine.reason(version, "AddAttribute", { uniqueIdentifier, newAttribute });
const modify = (version: Version, newAttribute: Attribute, currentAttribute?: Attribute) =>
  engine.reason(version, "ModifyAttribute", {
    uniqueIdentifier,
    newAttribute,
    ...(currentAttribute === undefined ? {} : { currentAttribute }),
  });
const remove = (version: Version, payload: object) =>
  engine.reason(version, "DeleteAttribute", { uniqueIdentifier, ...payload });

const reference = (name: AttributeName): AttributeReference => ({
  tag: attributes[name].tag,
  key: "",
});
const site = (text: string) => ({ item: vendorAttribute("x", "Site", textString(0, text)) });
const sites = { tag: attributes.VendorAttribute.tag, key: "x\0Site" };

/** The values of an attribute with their indexes, as 1.x shows them. */
async function indexed(of: AttributeReference): Promise<readonly (readonly [number, Item])[]> {
  const answer = await engine.ask("1.4", "GetAttributes", { uniqueIdentifier, references: [of] });
  return answer.attributes.map(({ item, index }) => [index ?? 0, item]);
}

async function groups(): Promise<readonly (readonly [number, unknown])[]> {
  return (await indexed(reference("ObjectGroup"))).map(([index, { value }]) => [index, value]);
}

describe("Attribute Index in 1.x", () => {
  test.each(older)("in %s is assigned by the server, and never twice", async (version) => {
    const added = [];
    for (const group of ["a", "b", "c"]) added.push(await add(version, is("ObjectGroup", group)));
    expect(added.map(({ attribute }) => attribute?.index ?? 0)).toEqual([0, 1, 2]);
    const second = { reference: reference("ObjectGroup"), attributeIndex: 1 };
    expect(await remove(version, second)).toBeUndefined();
    expect(await remove(version, second)).toBe("ItemNotFound");
    const { attribute } = await add(version, is("ObjectGroup", "d"));
    expect(attribute).toEqual({ ...is("ObjectGroup", "d"), index: 3 });
    expect(await groups()).toEqual([
      [0, "a"],
      [2, "c"],
      [3, "d"],
    ]);
  });

  test.each(older)("in %s must not be given for a new attribute", async (version) => {
    for (const index of [0, 1]) {
      expect(await rawAdd(version, index)).toBe("InvalidField");
    }
  });

  test.each(older)("in %s selects the value that is modified, 0 by default", async (version) => {
    for (const group of ["a", "b"]) await add(version, is("ObjectGroup", group));
    expect(await modify(version, { ...is("ObjectGroup", "B"), index: 1 })).toBeUndefined();
    expect(await modify(version, is("ObjectGroup", "A"))).toBeUndefined();
    expect(await modify(version, { ...is("ObjectGroup", "C"), index: 2 })).toBe("ItemNotFound");
    expect(await groups()).toEqual([
      [0, "A"],
      [1, "B"],
    ]);
  });

  test.each(older)("in %s selects the value that is deleted", async (version) => {
    for (const group of ["a", "b"]) await add(version, is("ObjectGroup", group));
    await add(version, is("ContactInformation", "Joe"));
    const group = { reference: reference("ObjectGroup") };
    const contact = { reference: reference("ContactInformation") };
    const strict = version === "1.0";
    expect(await remove(version, group)).toBe(strict ? "InvalidField" : undefined);
    const single = await remove(version, { ...contact, attributeIndex: 0 });
    expect(single).toBe(strict ? "ItemNotFound" : undefined);
    if (strict) expect(await remove(version, contact)).toBeUndefined();
    const last = { ...group, attributeIndex: 1 };
    const { items } = await engine.send(version, [
      ["DeleteAttribute", { uniqueIdentifier, ...last }],
    ]);
    expect(items[0]?.payload).toEqual({
      uniqueIdentifier,
      attribute: { ...is("ObjectGroup", "b"), index: 1 },
    });
    expect(await remove(version, { reference: { tag: 0, key: "Shoe Size" } })).toBe("ItemNotFound");
  });

  /** Our own encoder does not write an index of 0. */
  async function rawAdd(version: Version, index: number): Promise<string | undefined> {
    const payload = { uniqueIdentifier, newAttribute: { ...is("ObjectGroup", "a"), index: 1 } };
    const request = encodeRequest({ version, items: [{ operation: "AddAttribute", payload }] });
    const said = withIndex(request, index);
    const answer = await engine.engine.execute(encode(said), engine.client, "request-1");
    return decodeResponse(decode(answer)).items[0]?.reason;
  }

  function withIndex(item: Item, index: number): Item {
    if (item.tag === tags.AttributeIndex.tag) return integer(item.tag, index);
    return item.type === ItemType.Structure
      ? { ...item, value: item.value.map((inner) => withIndex(inner, index)) }
      : item;
  }
});

describe.each(newer)("a value in %s", (version) => {
  const group = (value: string) => is("ObjectGroup", value);

  test("is added with only the identifier in the response", async () => {
    expect(await add(version, group("a"))).toEqual({ uniqueIdentifier });
  });

  test("to modify is the only one, or the current one", async () => {
    expect(await modify(version, group("a"))).toBe("AttributeNotFound");
    await add(version, group("a"));
    expect(await modify(version, group("b"))).toBeUndefined();
    await add(version, group("c"));
    expect(await modify(version, group("d"))).toBe("AttributeInstanceNotFound");
    expect(await modify(version, group("d"), group("a"))).toBe("AttributeInstanceNotFound");
    expect(await modify(version, group("d"), group("c"))).toBeUndefined();
    expect(await groups()).toEqual([
      [0, "b"],
      [1, "d"],
    ]);
  });

  test("to modify and its new value are of the same attribute", async () => {
    await add(version, group("a"));
    await add(version, site("Rome"));
    const other = { item: vendorAttribute("x", "Place", textString(0, "Madrid")) };
    expect(await modify(version, other, site("Rome"))).toBe("InvalidField");
    expect(await modify(version, site("a"), group("a"))).toBe("InvalidField");
    expect(await modify(version, site("Madrid"), site("Rome"))).toBeUndefined();
    expect(await indexed(sites)).toEqual([[0, site("Madrid").item]]);
  });

  test("to delete is the current one, or all of a reference", async () => {
    for (const value of ["a", "b", "c"]) await add(version, group(value));
    const current = { currentAttribute: group("b") };
    expect(await remove(version, current)).toBeUndefined();
    expect(await remove(version, current)).toBe("AttributeInstanceNotFound");
    expect(await groups()).toEqual([
      [0, "a"],
      [2, "c"],
    ]);
    const all = { reference: reference("ObjectGroup") };
    expect(await remove(version, all)).toBeUndefined();
    expect(await groups()).toEqual([]);
    expect(await remove(version, all)).toBe("AttributeNotFound");
    expect(await remove(version, current)).toBe("AttributeNotFound");
    expect(await remove(version, {})).toBe("InvalidMessage");
  });

  test("of a Vendor Attribute is found by vendor and name", async () => {
    await add(version, site("Rome"));
    const other = { item: vendorAttribute("Acme", "Site", textString(0, "Rome")) };
    await add(version, other);
    expect(await remove(version, { reference: sites })).toBeUndefined();
    expect(await remove(version, { reference: sites })).toBe("AttributeNotFound");
    expect(await remove(version, { currentAttribute: other })).toBeUndefined();
  });

  test("of Usage Limits is the current one with and without its count", async () => {
    const limits = (total: bigint, count?: bigint) =>
      is("UsageLimits", { total, unit: "Byte", ...(count === undefined ? {} : { count }) });
    expect(await refusedAdd(version, limits(-1n))).toBe("InvalidField");
    expect(await refusedAdd(version, limits(10n, 3n))).toBe("ReadOnlyAttribute");
    await add(version, limits(10n, 10n));
    expect(await modify(version, limits(20n, 3n))).toBe("AttributeReadOnly");
    expect(await modify(version, limits(15n, 10n))).toBeUndefined();
    expect(await modify(version, limits(10n, 10n))).toBeUndefined();
    expect(await modify(version, limits(20n), limits(10n))).toBeUndefined();
    expect(await modify(version, limits(30n), limits(20n, 20n))).toBeUndefined();
    expect(await modify(version, limits(40n), limits(20n))).toBe("AttributeInstanceNotFound");
    expect(await indexed(reference("UsageLimits"))).toEqual([[0, limits(30n, 30n).item]]);
  });

  test("that links to an object of the batch is stored as that object's identifier", async () => {
    const link = (linkedObjectIdentifier: string | { special: "Create" }) =>
      is("Link", { type: "ParentLink", linkedObjectIdentifier });
    const { items } = await engine.send(version, [
      ["Create", aesKey()],
      ["AddAttribute", { uniqueIdentifier, newAttribute: link({ special: "Create" }) }],
    ]);
    const parent = uniqueIdentifierOf(items[0]);
    const references = [reference("Link")];
    const answer = await engine.ask(version, "GetAttributes", { uniqueIdentifier, references });
    expect(answer.attributes).toEqual([link(parent)]);
    expect(await remove(version, { currentAttribute: link(parent) })).toBeUndefined();
  });
});

describe.each(versions)("in %s", (version) => {
  const of = (v1: string, v2: string) => (isVersion1(version) ? v1 : v2);

  test("a value that exists already is not added again", async () => {
    await add(version, site("Rome"));
    await add(version, site("Madrid"));
    const { attribute } = await add(version, site("Madrid"));
    expect(attribute).toEqual(isVersion1(version) ? { ...site("Madrid"), index: 1 } : undefined);
    expect(await indexed(sites)).toHaveLength(2);
  });

  test("a Name is unique in the object and in the instance", async () => {
    const name = (value: string, type: "URI" | "UninterpretedTextString" = "URI") =>
      is("Name", { value, type });
    const taken = of("IllegalOperation", "NonUniqueNameAttribute");
    await engine.ask(version, "Create", aesKey({ Name: named("taken") }));
    expect(await refusedAdd(version, name("taken"))).toBe(taken);
    await add(version, name("a"));
    expect(await refusedAdd(version, name("a"))).toBe(taken);
    expect(await refusedAdd(version, name("a", "UninterpretedTextString"))).toBe(taken);
    expect(await modify(version, name("taken"))).toBe(taken);
    expect(await modify(version, name("a", "UninterpretedTextString"))).toBeUndefined();
    await add(version, name("b"));
    const second = isVersion1(version) ? { ...name("a"), index: 1 } : name("a");
    const current = isVersion1(version) ? undefined : name("b");
    expect(await modify(version, second, current)).toBe(taken);
  });

  test("the server's own vendor is read only", async () => {
    const own = { item: vendorAttribute("y", "Site", textString(0, "Rome")) };
    const readOnly = of("PermissionDenied", "AttributeReadOnly");
    expect(await refusedAdd(version, own)).toBe(of("PermissionDenied", "ReadOnlyAttribute"));
    expect(await modify(version, own)).toBe(readOnly);
    expect(await remove(version, { reference: { ...sites, key: "y\0Site" } })).toBe(readOnly);
  });

  test("Application Data is not made by the server", async () => {
    const namespace = is("ApplicationSpecificInformation", { namespace: "ssl" });
    expect(await refusedAdd(version, namespace)).toBe("ApplicationNamespaceNotSupported");
  });

  test("Usage Limits are returned with a count that equals the total, which a client cannot set", async () => {
    const limits = (count?: bigint) =>
      is("UsageLimits", { total: 9n, unit: "Byte", ...(count === undefined ? {} : { count }) });
    const refused = isVersion1(version) ? "PermissionDenied" : "ReadOnlyAttribute";
    expect(await refusedAdd(version, limits(5n))).toBe(refused);
    const { attribute } = await add(version, limits());
    expect(attribute).toEqual(isVersion1(version) ? limits(9n) : undefined);
  });
});

test.each([
  ["1.4", "IndexOutOfBounds"],
  ["2.1", "ServerLimitExceeded"],
] as const)("in %s an attribute has no more than 256 values", async (version, reason) => {
  const batch = Array.from(
    { length: 256 },
    (_, at) => ["AddAttribute", { uniqueIdentifier, newAttribute: site(`${at}`) }] as const,
  );
  const { items } = await engine.send(version, batch);
  expect(items.filter(({ status }) => status === "Success")).toHaveLength(256);
  expect(await refusedAdd(version, site("more"))).toBe(reason);
});

describe("dates", () => {
  const names = [
    "ActivationDate",
    "ProcessStartDate",
    "ProtectStopDate",
    "DeactivationDate",
  ] as const;
  type DateName = (typeof names)[number];
  const date = (name: DateName, seconds: number) => ({
    item: dateTime(attributes[name].tag, BigInt(engine.now + seconds)),
  });
  const state = async () => {
    const references = [reference("State")];
    const answer = await engine.ask("2.1", "GetAttributes", { uniqueIdentifier, references });
    return answer.attributes[0]?.item.value;
  };
  const revoke = (code: "KeyCompromise" | "Unspecified") => async () => {
    const revocationReason = { code };
    await engine.ask("2.1", "Revoke", { uniqueIdentifier, revocationReason });
  };
  const activate = async () => void (await engine.ask("2.1", "Activate", { uniqueIdentifier }));

  const steps: readonly (readonly [
    string,
    readonly (() => Promise<void>)[],
    readonly DateName[],
  ])[] = [
    ["PreActive", [], names],
    ["Active", [activate], names.slice(1)],
    ["Deactivated", [activate, revoke("Unspecified")], []],
    ["Compromised", [revoke("KeyCompromise")], []],
  ];

  test.each(steps)("can change in state %s if it allows", async (_, reached, changeable) => {
    for (const step of reached) await step();
    const fixed = [
      ["1.0", "PermissionDenied"],
      ["2.0", "PermissionDenied"],
      ["2.1", "WrongKeyLifecycleState"],
    ] as const;
    for (const name of names) {
      for (const [version, reason] of fixed) {
        if (changeable.includes(name)) continue;
        expect(await refusedAdd(version, date(name, 100)), name).toBe(reason);
      }
      if (changeable.includes(name)) {
        expect(await refusedAdd("2.1", date(name, 100)), name).toBeUndefined();
        expect(await modify("2.1", date(name, 100)), name).toBeUndefined();
      }
    }
  });

  test("are fixed once they have come", async () => {
    await add("2.1", date("ProcessStartDate", 10));
    await add("2.1", date("ProtectStopDate", 20));
    engine.now += 10;
    expect(await modify("2.1", date("ProcessStartDate", 99))).toBe("WrongKeyLifecycleState");
    expect(await modify("2.1", date("ProtectStopDate", 99))).toBeUndefined();
  });

  test.each(["1.0", "2.1"] as const)(
    "of a deactivation can change in %s as long as the object was never Active",
    async (version) => {
      const dates = { DeactivationDate: engine.now + 10 };
      uniqueIdentifier = (await engine.ask(version, "Create", aesKey(dates))).uniqueIdentifier;
      engine.now += 20;
      expect(await state()).toBe(1);
      expect(await modify(version, date("DeactivationDate", 100))).toBeUndefined();
      await activate();
      expect(await state()).toBe(2);
    },
  );

  test("set the state at once if they are past", async () => {
    await add("2.1", date("ActivationDate", -10));
    expect(await state()).toBe(2);
    await add("2.1", date("DeactivationDate", -5));
    expect(await state()).toBe(3);
  });

  test("must not contradict each other", async () => {
    await add("2.1", date("ActivationDate", 100));
    expect(await refusedAdd("2.1", date("ProcessStartDate", 99))).toBe("InvalidField");
    expect(await refusedAdd("1.4", date("ProcessStartDate", 99))).toBe("InvalidField");
    const set = { uniqueIdentifier, newAttribute: date("ProcessStartDate", 99) };
    expect(await engine.reason("2.1", "SetAttribute", set)).toBe("InvalidAttributeValue");
    await add("2.1", date("DeactivationDate", 200));
    expect(await refusedAdd("2.1", date("ProtectStopDate", 201))).toBe("InvalidField");
    expect(await refusedAdd("2.1", date("ProtectStopDate", 200))).toBeUndefined();
  });

  test.each(["1.0", "2.1"] as const)(
    "in %s may deactivate an object at a time before its activation",
    async (version) => {
      await add(version, date("ActivationDate", 0));
      await add(version, date("DeactivationDate", 100));
      expect(await state()).toBe(2);
      expect(await modify(version, date("DeactivationDate", -10))).toBeUndefined();
      expect(await state()).toBe(3);
      const dates = { ActivationDate: engine.now + 100, DeactivationDate: engine.now + 50 };
      uniqueIdentifier = (await engine.ask(version, "Create", aesKey(dates))).uniqueIdentifier;
      engine.now += 99;
      expect(await state()).toBe(1);
      engine.now += 1;
      expect(await state()).toBe(3);
    },
  );

  test("are compared with the time when the object became Active, and only if one changes", async () => {
    await add("2.1", date("ActivationDate", 100));
    await activate();
    expect(await refusedAdd("2.1", date("ProcessStartDate", 50))).toBeUndefined();
    const late = (await engine.ask("2.1", "Create", aesKey({ ProcessStartDate: engine.now + 1 })))
      .uniqueIdentifier;
    uniqueIdentifier = late;
    engine.now += 5;
    await activate();
    expect(await refusedAdd("2.1", is("ContactInformation", "Joe"))).toBeUndefined();
    expect(await refusedAdd("2.1", date("ProtectStopDate", 50))).toBeUndefined();
  });
});

describe("Always Sensitive and Never Extractable", () => {
  const booleans = ["Sensitive", "AlwaysSensitive", "Extractable", "NeverExtractable"] as const;

  async function shown(): Promise<readonly unknown[]> {
    const references = booleans.map(reference);
    const answer = await engine.ask("1.4", "GetAttributes", { uniqueIdentifier, references });
    return answer.attributes.map(({ item }) => item.value);
  }

  test("become False when Sensitive or Extractable changes, and never True again", async () => {
    expect(await shown()).toEqual([false, false, true, false]);
    const made = await engine.ask("2.1", "Create", aesKey({ Sensitive: true, Extractable: false }));
    uniqueIdentifier = made.uniqueIdentifier;
    expect(await shown()).toEqual([true, true, false, true]);
    expect(await modify("1.4", is("Sensitive", true))).toBeUndefined();
    expect(await modify("2.1", is("Extractable", false))).toBeUndefined();
    expect(await shown()).toEqual([true, true, false, true]);
    expect(await modify("1.4", is("Sensitive", false))).toBeUndefined();
    expect(await modify("2.1", is("Extractable", true))).toBeUndefined();
    expect(await shown()).toEqual([false, false, true, false]);
    expect(await modify("1.4", is("Sensitive", true))).toBeUndefined();
    expect(await modify("1.4", is("Extractable", false))).toBeUndefined();
    expect(await shown()).toEqual([true, false, false, false]);
  });
});

test("attributes that are added one by one cannot make an object too large to be read", async () => {
  const large = (name: string, bytes = 300_000) => ({
    item: vendorAttribute("x", name, textString(0, "v".repeat(bytes))),
  });
  for (const name of ["a", "b", "c"]) await add("2.1", large(name));
  expect(await refusedAdd("2.1", large("d"))).toBe("ServerLimitExceeded");
  expect(await modify("1.4", large("a", 500_000))).toBe("IndexOutOfBounds");
  expect(await modify("1.4", large("a", 10))).toBeUndefined();
  expect(await refusedAdd("2.1", large("d"))).toBeUndefined();
  // The name of a deleted value stays.
  const long = (letter: string) => letter.repeat(100_000);
  expect(await refusedAdd("2.1", large(long("p"), 10))).toBeUndefined();
  const key = `x\0${long("p")}`;
  await remove("2.1", { reference: { tag: attributes.VendorAttribute.tag, key } });
  expect(await refusedAdd("2.1", large(long("q"), 10))).toBe("ServerLimitExceeded");
  await engine.ask("2.1", "GetAttributes", { uniqueIdentifier, references: [] });
});

test("a change updates Last Change Date, and a request that changes nothing does not", async () => {
  const changed = async () => {
    const references = [reference("LastChangeDate")];
    const answer = await engine.ask("1.0", "GetAttributes", { uniqueIdentifier, references });
    return Number(answer.attributes[0]?.item.value);
  };
  const before = engine.now;
  engine.now += 7;
  expect(await changed()).toBe(before);
  await add("1.0", is("ObjectGroup", "a"));
  expect(await changed()).toBe(engine.now);
  engine.now += 7;
  await add("1.0", is("ObjectGroup", "a"));
  expect(await changed()).toBe(engine.now - 7);
});

test("an object that does not exist is refused", async () => {
  uniqueIdentifier = "none";
  for (const version of versions) {
    const reason = isVersion1(version) ? "ItemNotFound" : "ObjectNotFound";
    expect(await refusedAdd(version, is("ObjectGroup", "a"))).toBe(reason);
    expect(await modify(version, is("ObjectGroup", "a"))).toBe(reason);
    expect(await remove(version, { reference: reference("ObjectGroup") })).toBe(reason);
  }
  const newAttribute = is("ObjectGroup", "a");
  expect(await engine.reason("2.1", "SetAttribute", { uniqueIdentifier, newAttribute })).toBe(
    "ObjectNotFound",
  );
});
