import { type Item, ItemType, toHex } from "@holdfast/ttlv";
import { tagNameOf } from "../schema/tag-lookup.ts";
import { type Sibling, valueTag } from "./xml-context.ts";
import { XmlError } from "./xml-error.ts";
import {
  toDateTime,
  toDateTimeExtended,
  toEnumeration,
  toInteger,
  typeName,
} from "./xml-values.ts";

/** Characters that XML 1.0 cannot write (XML 1.0, 2.2), including unpaired surrogates. */
const unwritable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression looks for them
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Cs}/u;

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\t": "&#9;",
  "\n": "&#10;",
  "\r": "&#13;",
};

function escaped(text: string): string {
  if (unwritable.test(text)) throw new XmlError("a text has characters that XML does not allow", 0);
  return text.replace(/[&<>"\t\n\r]/g, (unit) => escapes[unit] ?? unit);
}

function scalar(item: Exclude<Item, { type: 0x01 }>, kind: number): string {
  switch (item.type) {
    case ItemType.Integer:
      return toInteger(item.value, kind);
    case ItemType.Enumeration:
      return toEnumeration(item.value, kind);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return toHex(item.value);
    case ItemType.DateTime:
      return toDateTime(item.value);
    case ItemType.DateTimeExtended:
      return toDateTimeExtended(item.value);
    case ItemType.TextString:
      return escaped(item.value);
    case ItemType.LongInteger:
    case ItemType.Interval:
    case ItemType.Boolean:
      return String(item.value);
  }
}

function write(lines: string[], indent: string, item: Item, kind: number): void {
  const name = tagNameOf(item.tag);
  const named = name ?? `TTLV tag="0x${item.tag.toString(16).padStart(6, "0")}"`;
  if (item.type !== ItemType.Structure) {
    const value = scalar(item, kind);
    lines.push(`${indent}<${named} type="${typeName(item.type)}" value="${value}"/>`);
    return;
  }
  if (item.value.length === 0) {
    lines.push(`${indent}<${named}/>`);
    return;
  }
  lines.push(`${indent}<${named}>`);
  const siblings: readonly Sibling[] = item.value.map((child) => ({
    tag: child.tag,
    text: child.type === ItemType.TextString ? child.value : undefined,
  }));
  for (const child of item.value) {
    write(lines, `${indent}  `, child, valueTag(child.tag, siblings));
  }
  lines.push(`${indent}</${name ?? "TTLV"}>`);
}

/**
 * An item as KMIP XML (KMIP Additional Message Encodings 1.0, 4), with texts for values in the
 * tables and numbers for others. Throws an `XmlError` for a text that XML cannot contain.
 */
export function toXml(item: Item): string {
  const lines: string[] = [];
  write(lines, "", item, item.tag);
  return `${lines.join("\n")}\n`;
}
