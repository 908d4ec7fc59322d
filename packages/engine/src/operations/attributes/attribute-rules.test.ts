import {
  type Attribute,
  type AttributeName,
  type AttributeRow,
  attributes,
  attributeVisible,
  isVersion1,
  referenceOf,
  type ValueType,
  type Version,
  vendorAttribute,
  versions,
} from "@holdfast/kmip";
import {
  boolean,
  byteString,
  dateTime,
  enumeration,
  type Item,
  integer,
  interval,
  longInteger,
  structure,
  textString,
} from "@holdfast/ttlv";
import { beforeAll, describe, expect, test } from "vitest";
import { aesKey } from "../../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../../testing/test-engine.ts";

const soon = 1_780_001_000;

// biome-ignore lint/suspicious/noExplicitAny: fields of any type
type AnyType = ValueType<any>;
interface Fields {
  readonly [key: string]: {
    readonly presence: string;
    readonly forms: readonly { readonly tag: number; readonly type: AnyType }[];
  };
}

/** Some value of a type that every version knows. */
function sampleOf(type: AnyType, tag: number): Item {
  if ("fields" in type) {
    const fields = Object.values(type.fields as Fields).filter(
      ({ presence }) => presence === "required",
    );
    return structure(
      tag,
      fields.flatMap(({ forms: [form] }) =>
        form === undefined ? [] : sampleOf(form.type, form.tag),
      ),
    );
  }
  return samples(tag).find((item) => item.type === type.itemType) ?? textString(tag, "t");
}

const samples = (tag: number): readonly Item[] => [
  integer(tag, 1),
  longInteger(tag, 1n),
  enumeration(tag, 1),
  boolean(tag, true),
  byteString(tag, Uint8Array.of(1)),
  dateTime(tag, BigInt(soon)),
  interval(tag, 1),
];

const special: Readonly<Partial<Record<AttributeName, Item>>> = {
  VendorAttribute: vendorAttribute("x", "Site", textString(0, "Madrid")),
  ApplicationSpecificInformation: structure(attributes.ApplicationSpecificInformation.tag, [
    textString(0x420003, "ssl"),
    textString(0x420002, "www"),
  ]),
  Link: structure(attributes.Link.tag, [enumeration(0x42004b, 0x101), textString(0x42004c, "t")]),
};

const table = Object.entries(attributes) as [AttributeName, AttributeRow][];

/** Whether the object has a value now, and whether it may have one. */
interface Now {
  readonly there: boolean;
  readonly fits: boolean;
}

type Reasons = readonly [v1: string, v2: string] | undefined;

/** The Result Reasons of the error tables (KMIP 1.0 to 1.4, 11; KMIP 2.0 and 2.1, 6.1); none for a success. */
const expected: Readonly<
  Record<"add" | "modify" | "remove" | "set", (row: AttributeRow, now: Now) => Reasons>
> = {
  add: ({ setBy, multi }, { there, fits }) => {
    if (setBy === "server") return ["PermissionDenied", "ReadOnlyAttribute"];
    if (!fits) return ["PermissionDenied", "InvalidAttribute"];
    return there && !multi ? ["IllegalOperation", "AttributeSingleValued"] : undefined;
  },
  modify: ({ modifiable }, { there }) => {
    if (!modifiable) return ["PermissionDenied", "AttributeReadOnly"];
    return there ? undefined : ["InvalidField", "AttributeNotFound"];
  },
  remove: ({ deletable }, { there }) => {
    if (!deletable) return ["PermissionDenied", "AttributeReadOnly"];
    return there ? undefined : ["ItemNotFound", "AttributeNotFound"];
  },
  set: ({ setBy, modifiable }, { there, fits }) => {
    if (there ? !modifiable : setBy === "server") return ["", "ReadOnlyAttribute"];
    return fits ? undefined : ["", "InvalidField"];
  },
};

const operationOf = {
  add: "AddAttribute",
  modify: "ModifyAttribute",
  remove: "DeleteAttribute",
  set: "SetAttribute",
} as const;

let engine: TestEngine;

/** An engine of its own for a group of tests, and what they do with it. */
function inVersion(version: Version) {
  beforeAll(async () => {
    engine = await testEngine();
  });

  async function valuesOf(uniqueIdentifier: string, item: Item): Promise<readonly Attribute[]> {
    const references = [referenceOf(item)];
    const answer = await engine.ask(version, "GetAttributes", { uniqueIdentifier, references });
    return answer.attributes;
  }

  /** Tries an action and compares the reason with the table; returns whether it succeeded. */
  async function tried(
    action: keyof typeof operationOf,
    row: AttributeRow,
    item: Item,
    uniqueIdentifier: string,
  ): Promise<boolean> {
    const there = (await valuesOf(uniqueIdentifier, item)).length > 0;
    const fits = attributeVisible(row.tag, version, "SymmetricKey");
    const payload =
      action === "remove" ? { reference: referenceOf(item) } : { newAttribute: { item } };
    const reason = await engine.reason(version, operationOf[action], {
      uniqueIdentifier,
      ...payload,
    });
    const reasons = expected[action](row, { there, fits });
    expect(reason, `${action}, ${there ? "there" : "not there"}`).toBe(
      reasons?.[isVersion1(version) ? 0 : 1],
    );
    return reason === undefined;
  }

  const visible = table.filter(([, row]) => attributeVisible(row.tag, version));
  return { tried, valuesOf, visible };
}

describe.each(versions)("the rules of attributes in %s", (version) => {
  const { tried, valuesOf, visible } = inVersion(version);

  test.each(visible)("%s", async (name, row) => {
    const { uniqueIdentifier } = await engine.ask(version, "Create", aesKey());
    const item = special[name] ?? sampleOf(row.type, row.tag);
    await tried("modify", row, item, uniqueIdentifier);
    await tried("remove", row, item, uniqueIdentifier);
    if (!(await tried("add", row, item, uniqueIdentifier))) return;
    expect(await valuesOf(uniqueIdentifier, item)).toHaveLength(1);
    if (!row.multi) await tried("add", row, item, uniqueIdentifier);
    await tried("modify", row, item, uniqueIdentifier);
    const gone = await tried("remove", row, item, uniqueIdentifier);
    expect(await valuesOf(uniqueIdentifier, item)).toHaveLength(gone ? 0 : 1);
  });
});

describe.each(["2.0", "2.1"] as const)("the rules of Set Attribute in %s", (version) => {
  const { tried, valuesOf, visible } = inVersion(version);

  test.each(visible)("%s", async (name, row) => {
    const { uniqueIdentifier } = await engine.ask(version, "Create", aesKey());
    const item = special[name] ?? sampleOf(row.type, row.tag);
    if (!(await tried("set", row, item, uniqueIdentifier))) return;
    expect(await valuesOf(uniqueIdentifier, item)).toHaveLength(1);
    await tried("set", row, item, uniqueIdentifier);
  });
});
