import type { Contract, Reply } from "@holdfast/admin";
import {
  allAttributes,
  creatorOf,
  currentValues,
  due,
  type ManagedObject,
  pendingDestruction,
  plannedDates,
  type Register,
  type State,
  stateOf,
  vendorKey,
  vendorOf,
} from "@holdfast/engine";
import {
  attributeByTag,
  attributes,
  attributeValue,
  enumerationText,
  maskBits,
  maskOfTag,
  tagNameOf,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";

/** An object as lists show it: never its material. */
export type KeyAnswer = Reply<Contract["activateKey"]>;
/** One attribute as the API shows it. */
type AttributeAnswer = Reply<Contract["readKey"]>["attributes"][number];

/** The names under which vCenter keeps what it knows of a key. */
export const vendorKeys = {
  xIdentifier: vendorKey("x", "Identifier"),
  xName: vendorKey("x", "Name"),
} as const;

const version = "2.1";
const lengthTag = attributes.CryptographicLength.tag;

/** The state that an object is in now: a date that has passed counts even if nobody has written its fact yet. */
export function stateNow({ facts, registers }: ManagedObject, wallMs: number): State {
  return stateOf(due(facts, plannedDates(registers), Math.floor(wallMs / 1000), ""));
}

/** An object as lists show it. */
export function keyAnswer(object: ManagedObject, wallMs: number): KeyAnswer {
  const { uniqueIdentifier: id, facts, material, lastChange } = object;
  const algorithm = enumerationOf(object, attributes.CryptographicAlgorithm.tag);
  const length = shownLength(object);
  return {
    id,
    type: typeOf(object),
    state: stateNow(object, wallMs),
    ...(algorithm !== undefined && { algorithm }),
    ...(length?.type === ItemType.Integer && { length: length.value }),
    names: namesOf(object),
    ...optional("xIdentifier", vendorText(object, vendorKeys.xIdentifier)),
    ...optional("xName", vendorText(object, vendorKeys.xName)),
    ...optional("createdAt", timeOf(createdSeconds(object))),
    ...optional("createdBy", creatorOf(object)),
    ...optional("activatedAt", timeOf(facts.activated?.time)),
    ...optional("lastChangeAt", timeOf(lastChange)),
    ...optional("kek", material?.kekId),
    ...optional("restorableUntil", timeOf(pendingDestruction(facts)?.until)),
  };
}

/** The name of an object's type. */
export function typeOf({ objectType }: ManagedObject): string {
  return enumerationText(attributes.ObjectType.tag, objectType) ?? String(objectType);
}

/** The value of a fixed enumeration in words. */
export function enumerationOf(object: ManagedObject, tag: number): string | undefined {
  const item = fixedValue(object, tag);
  return item?.type === ItemType.Enumeration ? textOfEnumeration(item) : undefined;
}

/** When an object was made here, seconds. */
export function createdSeconds(object: ManagedObject): number | undefined {
  const item = fixedValue(object, attributes.InitialDate.tag);
  return item?.type === ItemType.DateTime ? Number(item.value) : undefined;
}

/** An object's names. */
export function namesOf({ registers }: ManagedObject): string[] {
  return nameValuesOf(registers).map(({ text }) => text);
}

/** An object's names, with their indexes. */
export function nameValuesOf(registers: readonly Register[]) {
  return currentValues(registers, { tag: attributes.Name.tag, key: "" }).map(
    ({ index, value }) => ({ index, text: attributeValue("Name", value).value }),
  );
}

/** The text of a Vendor Attribute. */
export function vendorText({ registers }: ManagedObject, key: string): string | undefined {
  for (const { value } of registers) {
    const vendor = value && vendorOf(value);
    if (vendor?.key === key && vendor.value.type === ItemType.TextString) return vendor.value.value;
  }
  return undefined;
}

/** All attributes of an object in the words of KMIP 2.1. */
export function attributesOf(object: ManagedObject): AttributeAnswer[] {
  const shown = allAttributes(object, version).filter(
    ({ item }) => item.tag !== lengthTag || shownLength(object) !== undefined,
  );
  return shown.map(({ item, index = 0 }) => {
    const vendor = vendorOf(item);
    if (vendor !== undefined) {
      return { name: vendor.key.replace("\0", "-"), index, value: plain(vendor.value) };
    }
    return { name: attributeByTag(item.tag)?.name ?? nameOf(item.tag), index, value: plain(item) };
  });
}

/** Seconds since the epoch as RFC 3339 writes them; undefined where no such time exists. */
export function timeOf(seconds: number | undefined): string | undefined {
  if (seconds === undefined) return undefined;
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** A password's length helps to guess it: only KMIP clients of the instance get that of Secret Data. */
function shownLength(object: ManagedObject): Item | undefined {
  return typeOf(object) === "SecretData" ? undefined : fixedValue(object, lengthTag);
}

function fixedValue({ fixed }: ManagedObject, tag: number): Item | undefined {
  return fixed.find((item) => item.tag === tag);
}

/** An item's value as JSON has it: bytes in hex, numbers that a double cannot hold as text. */
function plain(item: Item): unknown {
  switch (item.type) {
    case ItemType.Structure:
      return structure(item.value);
    case ItemType.Integer:
      return maskOfTag(item.tag) === undefined ? item.value : maskBits(item.tag, item.value);
    case ItemType.Enumeration:
      return textOfEnumeration(item);
    case ItemType.ByteString:
    case ItemType.BigInteger:
      return Buffer.from(item.value).toString("hex");
    case ItemType.DateTime:
      return timeOf(Number(item.value)) ?? String(item.value);
    case ItemType.LongInteger:
    case ItemType.DateTimeExtended:
      return Number.isSafeInteger(Number(item.value)) ? Number(item.value) : String(item.value);
    case ItemType.Boolean:
    case ItemType.TextString:
    case ItemType.Interval:
      return item.value;
  }
}

/** Fields by their names; those that come several times as a list. */
function structure(items: readonly Item[]): Readonly<Record<string, unknown>> {
  const fields = new Map<string, unknown[]>();
  for (const item of items) {
    const name = nameOf(item.tag);
    fields.set(name, [...(fields.get(name) ?? []), plain(item)]);
  }
  const entries = [...fields].map(([name, values]) => [
    name,
    values.length === 1 ? values[0] : values,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function nameOf(tag: number): string {
  return tagNameOf(tag) ?? `0x${tag.toString(16)}`;
}

function textOfEnumeration({ tag, value }: Item & { readonly value: unknown }): string {
  return enumerationText(tag, Number(value)) ?? String(value);
}

function optional<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): Partial<Record<Name, Value>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, Value>);
}
