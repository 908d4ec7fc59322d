import { TtlvError } from "./error.ts";
import { type Item, ItemType } from "./item.ts";
import {
  depthCeiling,
  fixedLength,
  headerBytes,
  padded,
  readUint32,
  typeNames,
  view,
} from "./layout.ts";
import { readText } from "./text.ts";

/** The limits of a decoder. */
export interface Limits {
  /** Nesting depth; the outermost item is at depth 1. At most 256, even if set higher. */
  readonly depthMax: number;
  readonly bytesMax: number;
  /** Items at all depths together, including structures. */
  readonly itemsMax: number;
}

/** Far above any message of the specification's test cases, and far below what would do harm. */
export const defaultLimits: Limits = { depthMax: 32, bytesMax: 1 << 20, itemsMax: 20_000 };

interface Source {
  readonly bytes: Uint8Array;
  readonly depthMax: number;
  readonly itemsMax: number;
  /** The first byte not yet read. */
  offset: number;
  items: number;
}

/**
 * Reads exactly one item that fills `bytes` (KMIP 2.1, 9.1), or throws a `TtlvError`. Every
 * accepted item encodes back to the same bytes.
 *
 * Byte strings and big integers of the result are views of `bytes`, not copies.
 */
export function decode(bytes: Uint8Array, limits: Limits = defaultLimits): Item {
  if (bytes.length > limits.bytesMax) {
    throw new TtlvError(`${bytes.length} bytes, more than the limit of ${limits.bytesMax}`, 0);
  }
  const source: Source = {
    bytes,
    depthMax: Math.min(limits.depthMax, depthCeiling),
    itemsMax: limits.itemsMax,
    offset: 0,
    items: 0,
  };
  const item = readItem(source, bytes.length, 1);
  if (source.offset !== bytes.length) {
    throw new TtlvError("more bytes follow the item", source.offset);
  }
  return item;
}

function readItem(source: Source, end: number, depth: number): Item {
  const { bytes, offset: start } = source;
  checkRoom(source, end, depth);
  const tag = readUint32(bytes, start) >>> 8;
  const type = bytes[start + 3] as number;
  const length = readUint32(bytes, start + 4);
  const valueStart = start + headerBytes;
  checkLength(type, length, start);
  // Check the length first: the result must not depend on padding a length near 4 GiB.
  const next = valueStart + padded(length);
  if (length > end - valueStart || next > end) {
    throw new TtlvError("value runs past its container", start);
  }
  for (let at = valueStart + length; at < next; at++) {
    if (bytes[at] !== 0) throw new TtlvError("padding is not zero", start);
  }
  const value = readValue(source, type as ItemType, valueStart, length, depth);
  source.offset = next;
  // The cast is safe: readValue chose the value by this type.
  return { tag, type, value } as Item;
}

function checkRoom(source: Source, end: number, depth: number): void {
  const start = source.offset;
  if (end - start < headerBytes) throw new TtlvError("item header is cut short", start);
  if (depth > source.depthMax) {
    throw new TtlvError(`nested deeper than the limit of ${source.depthMax}`, start);
  }
  source.items += 1;
  if (source.items > source.itemsMax) {
    throw new TtlvError(`more items than the limit of ${source.itemsMax}`, start);
  }
}

function checkLength(type: number, length: number, start: number): void {
  const fixed = fixedLength[type];
  if (fixed === length) return;
  if (fixed !== undefined) {
    throw new TtlvError(`${typeNames.get(type)} is ${length} bytes long, not ${fixed}`, start);
  }
  if (type === ItemType.Structure && length % 8 !== 0) {
    throw new TtlvError("Structure's length is not a multiple of 8", start);
  }
  if (type === ItemType.BigInteger && (length === 0 || length % 8 !== 0)) {
    throw new TtlvError("BigInteger's length is not a multiple of 8, at least 8", start);
  }
  if (type < ItemType.Structure || type > ItemType.DateTimeExtended) {
    throw new TtlvError(`unknown item type ${type}`, start);
  }
}

function readValue(
  source: Source,
  type: ItemType,
  start: number,
  length: number,
  depth: number,
): Item["value"] {
  const { bytes } = source;
  switch (type) {
    case ItemType.Structure:
      return readItems(source, start, start + length, depth + 1);
    case ItemType.Integer:
      return readUint32(bytes, start) | 0;
    case ItemType.Enumeration:
    case ItemType.Interval:
      return readUint32(bytes, start);
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return readInt64(bytes, start);
    case ItemType.Boolean:
      return readBoolean(bytes, start);
    case ItemType.TextString:
      return readText(bytes, start, length);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return view(bytes, start, length);
  }
}

function readItems(source: Source, start: number, end: number, depth: number): readonly Item[] {
  const items: Item[] = [];
  source.offset = start;
  while (source.offset < end) items.push(readItem(source, end, depth));
  return items;
}

function readInt64(bytes: Uint8Array, at: number): bigint {
  const high = readUint32(bytes, at) | 0;
  const low = readUint32(bytes, at + 4);
  // One BigInt instead of four if a double holds the value exactly, as for every real date.
  if (high >= -0x20_0000 && high < 0x20_0000) return BigInt(high * 0x1_0000_0000 + low);
  return (BigInt(high) << 32n) | BigInt(low);
}

function readBoolean(bytes: Uint8Array, at: number): boolean {
  const high = readUint32(bytes, at);
  const low = readUint32(bytes, at + 4);
  if (high !== 0 || low > 1) throw new TtlvError("Boolean is neither 0 nor 1", at - headerBytes);
  return low === 1;
}
