import { encodedLength } from "./encode.ts";
import { toHex } from "./hex.ts";
import { type Item, ItemType } from "./item.ts";
import { headerBytes, typeNames } from "./layout.ts";
import { utf8Length } from "./text.ts";

/** What a printer needs to know, because this package has no names of tags. */
export interface Names {
  /** The name of a tag, such as `UniqueIdentifier`. */
  tag(tag: number): string | undefined;
  /** The name of a value in the table of an Enumeration's tag. */
  enumeration(tag: number, value: number): string | undefined;
  /** Whether values of this tag must be hidden. */
  secret(tag: number): boolean;
}

/** Knows no names and no secrets. */
const noNames: Names = {
  tag: () => undefined,
  enumeration: () => undefined,
  secret: () => false,
};

const bytesShownMax = 64;
const textShownMax = 256;

/** Characters that move the cursor, or reorder or end the line; JSON escapes only the first 32. */
const unprintable = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * A readable tree of `item`: one line per item, indented by two spaces per level. Of a value with a
 * secret tag, only the number of bytes is shown; without `names`, no tag is secret.
 */
export function print(item: Item, names: Names = noNames): string {
  const lines: string[] = [];
  printItem(lines, "", item, names);
  return lines.join("\n");
}

function printItem(lines: string[], indent: string, item: Item, names: Names): void {
  const { tag, type } = item;
  const name = names.tag(tag) ?? `0x${tag.toString(16).padStart(6, "0")}`;
  const head = `${indent}${name} ${typeNames.get(type)}`;
  if (names.secret(tag)) {
    lines.push(`${head} <secret, ${valueLength(item)} bytes>`);
  } else if (type === ItemType.Structure) {
    lines.push(head);
    for (const inner of item.value) printItem(lines, `${indent}  `, inner, names);
  } else {
    lines.push(`${head} ${printValue(item, names)}`);
  }
}

/** The number in the item's length field. */
function valueLength(item: Item): number {
  switch (item.type) {
    case ItemType.TextString:
      return utf8Length(item.value);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return item.value.length;
    case ItemType.Integer:
    case ItemType.Enumeration:
    case ItemType.Interval:
      return 4;
    case ItemType.LongInteger:
    case ItemType.Boolean:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return 8;
    case ItemType.Structure:
      return encodedLength(item) - headerBytes;
  }
}

function printValue(item: Exclude<Item, { type: 0x01 }>, names: Names): string {
  switch (item.type) {
    case ItemType.Enumeration: {
      const code = `0x${item.value.toString(16).padStart(8, "0")}`;
      const name = names.enumeration(item.tag, item.value);
      return name === undefined ? code : `${name} (${code})`;
    }
    case ItemType.TextString:
      return printText(item.value);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return printBytes(item.value);
    case ItemType.DateTime:
      return printDate(item.value, 1n, 0);
    case ItemType.DateTimeExtended:
      return printDate(item.value, 1_000_000n, 6);
    case ItemType.Interval:
      return `${item.value} s`;
    case ItemType.Integer:
    case ItemType.LongInteger:
    case ItemType.Boolean:
      return String(item.value);
  }
}

function printText(text: string): string {
  const cut = text.length > textShownMax;
  const shown = JSON.stringify(cut ? text.slice(0, textShownMax) : text).replace(
    unprintable,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return cut ? `${shown}… (${utf8Length(text)} bytes)` : shown;
}

function printBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return "(empty)";
  if (bytes.length <= bytesShownMax) return toHex(bytes);
  return `${toHex(bytes.subarray(0, bytesShownMax))}… (${bytes.length} bytes)`;
}

/** ISO 8601 within its four-digit years, otherwise the plain number. */
function printDate(value: bigint, unitsASecond: bigint, decimals: number): string {
  const remainder = ((value % unitsASecond) + unitsASecond) % unitsASecond;
  const seconds = (value - remainder) / unitsASecond;
  if (seconds < -62_167_219_200n || seconds > 253_402_300_799n) return String(value);
  const date = new Date(Number(seconds) * 1000).toISOString().slice(0, -".000Z".length);
  return decimals === 0 ? `${date}Z` : `${date}.${String(remainder).padStart(decimals, "0")}Z`;
}
