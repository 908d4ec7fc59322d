import {
  type AttributeName,
  type AttributeReference,
  attributeItem,
  attributes,
  type Request,
  vendorAttribute,
} from "@holdfast/kmip";
import {
  bigInteger,
  bigIntegerFromBigint,
  boolean,
  dateTime,
  dateTimeExtended,
  type Item,
  integer,
  interval,
  longInteger,
  textString,
} from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { aesKey } from "../../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../../testing/test-engine.ts";

type How = Request<"AdjustAttribute">["adjustmentType"];

let engine: TestEngine;
let uniqueIdentifier: string;

beforeEach(async () => {
  engine = await testEngine();
  uniqueIdentifier = (await engine.ask("2.1", "Create", aesKey())).uniqueIdentifier;
});

const counter: AttributeReference = { tag: attributes.VendorAttribute.tag, key: "x\0Counter" };
const reference = (name: AttributeName): AttributeReference => ({
  tag: attributes[name].tag,
  key: "",
});
const holding = (value: Item) => vendorAttribute("x", "Counter", value);
const big = (value: bigint) => bigInteger(0, bigIntegerFromBigint(value));

async function add(item: Item): Promise<void> {
  await engine.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: { item } });
}

async function adjust(
  of: AttributeReference,
  adjustmentType: How,
  adjustmentValue?: Item,
  version: "2.0" | "2.1" = "2.1",
): Promise<string | undefined> {
  return engine.reason(version, "AdjustAttribute", {
    uniqueIdentifier,
    reference: of,
    adjustmentType,
    ...(adjustmentValue === undefined ? {} : { adjustmentValue }),
  });
}

async function items(of: AttributeReference): Promise<readonly Item[]> {
  const payload = { uniqueIdentifier, references: [of] };
  const answer = await engine.ask("2.1", "GetAttributes", payload);
  return answer.attributes.map(({ item }) => item);
}

describe("Adjust Attribute of an existing value", () => {
  const rows: readonly (readonly [string, Item, How, Item | undefined, Item])[] = [
    ["Integer by 1", integer(0, 5), "Increment", undefined, integer(0, 6)],
    ["Integer by 3", integer(0, 5), "Increment", integer(0, 3), integer(0, 8)],
    ["Integer by -3", integer(0, 5), "Increment", integer(0, -3), integer(0, 2)],
    ["Integer by 1 less", integer(0, 0), "Decrement", undefined, integer(0, -1)],
    ["Integer negated", integer(0, 5), "Negate", undefined, integer(0, -5)],
    [
      "Long Integer",
      longInteger(0, 2n ** 40n),
      "Increment",
      undefined,
      longInteger(0, 2n ** 40n + 1n),
    ],
    [
      "Long Integer negated",
      longInteger(0, 2n ** 40n),
      "Negate",
      undefined,
      longInteger(0, -(2n ** 40n)),
    ],
    ["Big Integer", big(2n ** 64n - 1n), "Increment", undefined, big(2n ** 64n)],
    ["Big Integer by one", big(0n), "Decrement", big(2n ** 70n), big(-(2n ** 70n))],
    ["Big Integer negated", big(2n ** 63n), "Negate", undefined, big(-(2n ** 63n))],
    ["Interval", interval(0, 9), "Decrement", interval(0, 9), interval(0, 0)],
    ["Date-Time by a second", dateTime(0, 9n), "Increment", undefined, dateTime(0, 10n)],
    ["Date-Time by an Interval", dateTime(0, 9n), "Decrement", interval(0, 10), dateTime(0, -1n)],
    [
      "Date-Time Extended",
      dateTimeExtended(0, 9n),
      "Increment",
      undefined,
      dateTimeExtended(0, 10n),
    ],
    ["Boolean", boolean(0, true), "Negate", undefined, boolean(0, false)],
  ];

  test.each(rows)("adjusts %s", async (_, before, how, by, after) => {
    await add(holding(before));
    expect(await adjust(counter, how, by)).toBeUndefined();
    expect(await items(counter)).toEqual([holding(after)]);
  });

  const wrong: readonly (readonly [string, Item, How, Item | undefined, string])[] = [
    ["a text", textString(0, "5"), "Increment", undefined, "InvalidDataType"],
    ["a Boolean that is incremented", boolean(0, true), "Increment", undefined, "InvalidDataType"],
    ["an Interval that is negated", interval(0, 5), "Negate", undefined, "InvalidDataType"],
    ["a date that is negated", dateTime(0, 5n), "Negate", undefined, "InvalidDataType"],
    [
      "an Integer by a Long Integer",
      integer(0, 5),
      "Increment",
      longInteger(0, 1n),
      "InvalidDataType",
    ],
    ["an Integer by a text", integer(0, 5), "Increment", textString(0, "1"), "InvalidDataType"],
    [
      "an Integer beyond the greatest",
      integer(0, 2 ** 31 - 1),
      "Increment",
      undefined,
      "NumericRange",
    ],
    ["the least Integer, negated", integer(0, -(2 ** 31)), "Negate", undefined, "NumericRange"],
    [
      "a Long Integer beyond the least",
      longInteger(0, -(2n ** 63n)),
      "Decrement",
      undefined,
      "NumericRange",
    ],
    ["an Interval below zero", interval(0, 5), "Decrement", interval(0, 6), "NumericRange"],
    ["an unknown adjustment", integer(0, 5), "0x80000001", undefined, "InvalidField"],
  ];

  test.each(wrong)("is refused for %s", async (_, before, how, by, reason) => {
    await add(holding(before));
    expect(await adjust(counter, how, by)).toBe(reason);
    expect(await items(counter)).toEqual([holding(before)]);
  });
});

describe.each(["2.0", "2.1"] as const)("Adjust Attribute in %s", (version) => {
  test("treats an absent number as 0 and an absent Boolean as False", async () => {
    const period = reference("ProtectionPeriod");
    expect(await adjust(period, "Increment", interval(0, 60), version)).toBeUndefined();
    expect(await items(period)).toEqual([attributeItem("ProtectionPeriod", 60)]);
    expect(await adjust(reference("Sensitive"), "Negate", undefined, version)).toBeUndefined();
    expect(await items(reference("Sensitive"))).toEqual([attributeItem("Sensitive", true)]);
  });

  test("refuses an absent value of another type, and an absent Vendor Attribute, whose type is unknown", async () => {
    const types = [reference("ContactInformation"), reference("UsageLimits"), counter];
    for (const one of [...types, reference("ProtectStopDate")]) {
      expect(await adjust(one, "Increment", undefined, version)).toBe("InvalidDataType");
    }
  });

  test("changes a planned date, by the rules of such dates", async () => {
    const stop = reference("ProtectStopDate");
    await add(attributeItem("ProtectStopDate", engine.now + 100));
    expect(await adjust(stop, "Increment", interval(0, 50), version)).toBeUndefined();
    expect(await items(stop)).toEqual([attributeItem("ProtectStopDate", engine.now + 150)]);
    engine.now += 200;
    const passed = version === "2.0" ? "PermissionDenied" : "WrongKeyLifecycleState";
    expect(await adjust(stop, "Increment", undefined, version)).toBe(passed);
  });

  test("refuses an attribute that is read only, has several values or does not exist", async () => {
    for (const name of ["State", "CryptographicLength", "LeaseTime", "Fresh"] as const) {
      expect(await adjust(reference(name), "Increment", undefined, version)).toBe(
        "ReadOnlyAttribute",
      );
    }
    const own = { ...counter, key: "y\0Counter" };
    expect(await adjust(own, "Increment", undefined, version)).toBe("ReadOnlyAttribute");
    await add(holding(integer(0, 1)));
    await add(holding(integer(0, 2)));
    expect(await adjust(counter, "Increment", undefined, version)).toBe("MultiValuedAttribute");
    uniqueIdentifier = "none";
    expect(await adjust(counter, "Increment", undefined, version)).toBe("ItemNotFound");
  });
});

describe.each(["2.0", "2.1"] as const)("Set Attribute in %s", (version) => {
  const set = (item: Item) =>
    engine.reason(version, "SetAttribute", { uniqueIdentifier, newAttribute: { item } });

  test("makes a value, changes the only one, and refuses several", async () => {
    expect(await set(attributeItem("ObjectGroup", "a"))).toBeUndefined();
    expect(await set(attributeItem("ObjectGroup", "b"))).toBeUndefined();
    expect(await items(reference("ObjectGroup"))).toEqual([attributeItem("ObjectGroup", "b")]);
    await add(attributeItem("ObjectGroup", "c"));
    expect(await set(attributeItem("ObjectGroup", "d"))).toBe("MultiValuedAttribute");
  });

  test("refuses a Name that is taken", async () => {
    const name = { value: "taken", type: "URI" } as const;
    await engine.ask(version, "Create", aesKey({ Name: name }));
    expect(await set(attributeItem("Name", name))).toBe("NonUniqueNameAttribute");
  });
});
