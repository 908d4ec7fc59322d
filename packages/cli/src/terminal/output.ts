import { printable } from "@holdfast/admin/approval-text";
import {
  attributes,
  enumerationText,
  isSecretTag,
  maskBits,
  maskOfTag,
  stateText,
  tagNameOf,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { say } from "./lines.ts";

/** A JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/** Writes one JSON value to standard output. */
export function sayJson(value: Json): void {
  say(JSON.stringify(value, undefined, 2).split("\n"));
}

/** An item's value in JSON: names instead of numbers, hex for bytes, `<secret>` for a secret. */
export function itemJson(item: Item): Json {
  if (isSecretTag(item.tag)) return "<secret>";
  switch (item.type) {
    case ItemType.Structure:
      return structureJson(item.value);
    case ItemType.Integer:
      return maskOfTag(item.tag) === undefined ? item.value : [...maskBits(item.tag, item.value)];
    case ItemType.Enumeration:
      return enumerationText(item.tag, item.value) ?? `0x${item.value.toString(16)}`;
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return Buffer.from(item.value).toString("hex");
    case ItemType.DateTime:
      return dateText(item.value * 1000n);
    case ItemType.DateTimeExtended:
      return dateText(item.value / 1000n);
    case ItemType.LongInteger:
      return wholeNumber(item.value);
    case ItemType.Interval:
    case ItemType.Boolean:
    case ItemType.TextString:
      return item.value;
  }
}

/** Fields by name; repeated ones as a list. */
function structureJson(items: readonly Item[]): Json {
  return byName(items.map((item) => [nameOf(item), itemJson(item)]));
}

/** An object of names and values; a repeated name has a list. */
export function byName(rows: readonly (readonly [name: string, value: Json])[]): Json {
  const values = new Map<string, Json[]>();
  for (const [name, value] of rows) values.set(name, [...(values.get(name) ?? []), value]);
  return Object.fromEntries(
    [...values].map(([name, [first = null, ...rest]]) => [
      name,
      rest.length === 0 ? first : [first, ...rest],
    ]),
  );
}

/** The name of an item's tag, or its number. */
function nameOf(item: Item): string {
  return tagNameOf(item.tag) ?? `0x${item.tag.toString(16).padStart(6, "0")}`;
}

/** The name that a user knows an attribute by, and its value. */
export function attributeJson(item: Item): readonly [name: string, value: Json] {
  if (item.tag !== attributes.VendorAttribute.tag) return [nameOf(item), itemJson(item)];
  const { VendorIdentification, AttributeName, AttributeValue } = itemJson(item) as Record<
    string,
    Json
  >;
  const vendor = String(VendorIdentification);
  // x and y are how 1.x names custom attributes of the client and of the server.
  const separator = vendor === "x" || vendor === "y" ? "-" : "/";
  return [`${vendor}${separator}${String(AttributeName)}`, AttributeValue ?? null];
}

/** A JSON value on one line, without quotes. */
export function plain(value: Json): string {
  if (typeof value === "string") return printable(stateText(value));
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .filter(([, part]) => plain(part) !== "")
    .map(
      ([name, part]) => `${stateText(name)}=${isNested(part) ? `(${plain(part)})` : plain(part)}`,
    )
    .join(" ");
}

function isNested(value: Json): boolean {
  if (Array.isArray(value)) return value.some(isNested);
  return typeof value === "object" && value !== null;
}

/** Names and values in two columns. */
export function table(rows: readonly (readonly [name: string, value: Json])[]): readonly string[] {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${printable(name).padEnd(width)}  ${plain(value)}`.trimEnd());
}

function wholeNumber(value: bigint): Json {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function dateText(ms: bigint): Json {
  const date = new Date(Number(ms));
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString().replace(".000Z", "Z");
}
