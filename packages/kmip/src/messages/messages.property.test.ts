import {
  byteString,
  decode,
  encode,
  enumeration,
  type Item,
  ItemType,
  integer,
  structure,
  textString,
} from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attributeItem, vendorAttribute } from "../attributes/attribute.ts";
import type { Fields, StructType } from "../schema/schema.ts";
import { tags } from "../schema/tags.ts";
import { type AnyValueType, text as plainText } from "../schema/value-type.ts";
import { isVersion1, type Version, versions, within } from "../schema/version.ts";
import type { ClientRequestItem, ResponseItem } from "./message.ts";
import { objectItem } from "./objects.ts";
import { type OperationName, type OperationRow, operations } from "./operations.ts";
import { decodeRequest, encodeRequest } from "./request.ts";
import { decodeResponse, encodeResponse } from "./response.ts";

const seed = 0x4b_31;

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const bytes = fc.uint8Array({ maxLength: 24 });
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const seconds = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });

const custom = vendorAttribute("x", "Vendor", textString(0, "é"));
const oneAttribute = fc
  .constantFrom(
    custom,
    attributeItem("Name", { value: "key 1", type: "UninterpretedTextString" }),
    attributeItem("CryptographicLength", 256),
    attributeItem("CryptographicUsageMask", 12),
    attributeItem("ActivationDate", 1_700_000_000),
    attributeItem("ObjectGroup", "group"),
  )
  .map((item) => ({ item }));
const reference = fc.constantFrom(
  { tag: tags.State.tag, key: "" },
  { tag: tags.Name.tag, key: "" },
  { tag: tags.Attribute.tag, key: "x\0Vendor" },
);

const material = byteString(tags.KeyMaterial.tag, new Uint8Array(16));
const keyBlock = {
  keyFormatType: "Raw",
  keyValue: { keyMaterial: material, attributes: [{ item: custom }] },
  cryptographicAlgorithm: "AES",
  cryptographicLength: 128,
} as const;
const objectItems = [
  objectItem("SymmetricKey", { keyBlock }),
  objectItem("SecretData", {
    secretDataType: "Password",
    keyBlock: { keyFormatType: "Opaque", keyValue: { keyMaterial: material } },
  }),
  objectItem("SplitKey", {
    splitKeyParts: 3,
    keyPartIdentifier: 1,
    splitKeyThreshold: 2,
    splitKeyMethod: "XOR",
    keyBlock,
  }),
  objectItem("Certificate", { certificateType: "X_509", certificateValue: new Uint8Array(3) }),
  objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue: new Uint8Array(5) }),
];

/** Values for fields whose item type does not determine them, by the tag of the field. */
const ofTag = new Map<number, fc.Arbitrary<unknown>>([
  [tags.NewAttribute.tag, oneAttribute],
  [tags.CurrentAttribute.tag, oneAttribute],
  [tags.Attribute.tag, oneAttribute],
  [tags.Attributes.tag, fc.array(oneAttribute, { maxLength: 4 })],
  [tags.AttributeName.tag, reference],
  [tags.AttributeReference.tag, reference],
  [tags.AdjustmentValue.tag, word.map((value) => integer(tags.AdjustmentValue.tag, value))],
  [tags.DefaultsInformation.tag, fc.constant(structure(tags.DefaultsInformation.tag, []))],
  ...objectItems.map((item) => [item.tag, fc.constant(item)] as const),
]);
/** Attribute sets of new objects, which also have names of templates. */
const attributeSet = fc
  .array(oneAttribute, { maxLength: 4 })
  .map((attributes) => ({ attributes, templateNames: [] }));

const ofType: Readonly<Partial<Record<number, fc.Arbitrary<unknown>>>> = {
  [ItemType.LongInteger]: long,
  [ItemType.BigInteger]: fc.constant(new Uint8Array(8).fill(7)),
  [ItemType.Boolean]: fc.boolean(),
  [ItemType.TextString]: text,
  [ItemType.ByteString]: bytes,
  [ItemType.DateTime]: seconds,
  [ItemType.Interval]: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
};

/** What the type decodes these items to in the version, without those that cause faults. */
function decodable(type: AnyValueType, items: readonly Item[], version: Version): unknown[] {
  return items.flatMap((item) => {
    try {
      return [type.decode(item, version)];
    } catch {
      return [];
    }
  });
}

const numbers = [...Array(0x40).keys(), 0x80000001];

function identifiers(type: AnyValueType, version: Version): fc.Arbitrary<unknown> {
  const named = text.map((value) => decodable(type, [textString(0, value)], version)[0]);
  if (isVersion1(version)) return named;
  return fc.oneof(
    named,
    fc.constantFrom({ special: "IDPlaceholder" }, { special: "Create" }),
    word.map((position) => ({ position })),
  );
}

function valuesOf(type: AnyValueType, version: Version): fc.Arbitrary<unknown> {
  if ("fields" in type) return structsOf(type as StructType<Fields>, version);
  if (type.itemType === ItemType.Enumeration) {
    return fc.constantFrom(
      ...decodable(
        type,
        numbers.map((value) => enumeration(0, value)),
        version,
      ),
    );
  }
  if (type.itemType === ItemType.Integer) {
    return word.map((value) => decodable(type, [integer(0, value), integer(0, 1)], version)[0]);
  }
  if (type.itemType === "any") return identifiers(type, version);
  const values = ofType[type.itemType];
  if (values === undefined) throw new Error(`no values for item type ${type.itemType}`);
  return values;
}

type AnyField = Fields[string];

/** A field's values in a version; undefined if the version has no such field. */
function fieldOf(field: AnyField, version: Version): fc.Arbitrary<unknown> | undefined {
  const forms = field.forms.filter((one) => within(version, one.since, one.until));
  const [form] = forms;
  if (form === undefined) {
    const list = field.presence === "required" && field.forms.some((one) => one.many);
    return list ? fc.constant([]) : undefined;
  }
  const sets = field.forms.some((one) => one.tag === tags.TemplateAttribute.tag);
  if (sets) return attributeSet;
  const known = forms.flatMap((one) => (one.type === plainText ? [] : (ofTag.get(one.tag) ?? [])));
  const values = known.length > 0 ? fc.oneof(...known) : valuesOf(form.type, version);
  const minLength = form.required === true ? 1 : 0;
  return form.many ? fc.array(values, { minLength, maxLength: 3 }) : values;
}

function structsOf(type: StructType<Fields>, version: Version): fc.Arbitrary<unknown> {
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  const requiredKeys: string[] = [];
  for (const [key, field] of Object.entries(type.fields)) {
    const values = fieldOf(field, version);
    if (values === undefined) continue;
    model[key] = values;
    const form = field.forms.find((one) => within(version, one.since, one.until));
    const there = field.presence === "required" || form?.many || form?.required === true;
    if (there) requiredKeys.push(key);
  }
  return fc.record(model, { requiredKeys });
}

const rows = Object.entries(operations) as [OperationName, OperationRow][];
const cases = versions.flatMap((version) =>
  rows
    .filter(([, row]) => row.request !== undefined && within(version, row.since))
    .map(([name, row]) => [name, version, row] as const),
);

const id = fc.option(bytes, { nil: undefined });
const timeStamp = 1_700_000_000;
const runs = { seed, numRuns: 30 };

const cut = <T extends object>(part: T) =>
  Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined)) as T;

describe(`messages are decoded as they were encoded (seed ${seed})`, () => {
  test.each(cases)("%s in %s: request", (operation, version, row) => {
    const payloads = valuesOf(row.request as AnyValueType, version);
    const property = fc.property(payloads, id, (payload, uniqueBatchItemId) => {
      const item = cut({ operation, payload, uniqueBatchItemId }) as ClientRequestItem;
      const message = decodeRequest(decode(encode(encodeRequest({ version, items: [item] }))));
      expect(message.version).toBe(version);
      expect(message.items).toEqual([{ extensions: [], operationCode: row.code, ...item }]);
    });
    fc.assert(property, runs);
  });

  test.each(cases)("%s in %s: response", (operation, version, row) => {
    const payloads = valuesOf(row.response as AnyValueType, version);
    const property = fc.property(payloads, id, (payload, uniqueBatchItemId) => {
      const status = "Success";
      const item = cut({ operation, operationCode: row.code, status, payload, uniqueBatchItemId });
      const made = encodeResponse({ version, timeStamp, items: [item as ResponseItem] });
      const message = decodeResponse(decode(encode(made)));
      expect(message).toEqual({ version, timeStamp, attestationTypes: [], items: [item] });
    });
    fc.assert(property, runs);
  });
});
