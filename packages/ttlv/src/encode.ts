import { TtlvError } from "./error.ts";
import { type Item, ItemType } from "./item.ts";
import {
  depthCeiling,
  headerBytes,
  lengthMax,
  padded,
  tagMax,
  typeNames,
  writeUint32,
} from "./layout.ts";
import { utf8Length, writeText } from "./text.ts";

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

/**
 * The wire form of `item` (KMIP 2.1, 9.1). Throws a `TtlvError` for an invalid value.
 *
 * `allocate` is called once and may return uncleared bytes: a platform's pool, if it has one, is
 * several times faster than a new Uint8Array.
 */
export function encode(
  item: Item,
  allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): Uint8Array {
  const bytes = allocate(encodedLength(item));
  writeItem(bytes, 0, item);
  return bytes;
}

/** How many bytes `encode` makes of `item`. Checks `item` too. */
export function encodedLength(item: Item): number {
  const length = measure(item, 0, 1);
  if (length - headerBytes > lengthMax) {
    throw new TtlvError("longer than a length field can hold", 0);
  }
  return length;
}

/** Checks `item`, which would start at `offset`, and returns the offset after it. */
function measure(item: Item, offset: number, depth: number): number {
  if (typeof item !== "object" || item === null) throw new TtlvError("not an item", offset);
  // This also stops at a structure that contains itself.
  if (depth > depthCeiling) throw new TtlvError(`nested deeper than ${depthCeiling}`, offset);
  const { tag } = item;
  if (!Number.isInteger(tag) || tag < 0 || tag > tagMax) {
    throw new TtlvError("tag is not a number of 24 bits", offset);
  }
  switch (item.type) {
    case ItemType.Structure:
      return measureItems(item.value, offset, depth);
    case ItemType.Integer:
      if (!isInt32(item.value)) fail(item, "a signed number of 32 bits", offset);
      return offset + 16;
    case ItemType.Enumeration:
    case ItemType.Interval:
      if (!isUint32(item.value)) fail(item, "an unsigned number of 32 bits", offset);
      return offset + 16;
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      if (!isInt64(item.value)) fail(item, "a signed bigint of 64 bits", offset);
      return offset + 16;
    case ItemType.Boolean:
      if (typeof item.value !== "boolean") fail(item, "true or false", offset);
      return offset + 16;
    case ItemType.TextString:
      return measureText(item.value, offset);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      return measureBytes(item, offset);
    default:
      throw new TtlvError("unknown item type", offset);
  }
}

function fail(item: Item, wanted: string, offset: number): never {
  throw new TtlvError(`${typeNames.get(item.type)} is not ${wanted}`, offset);
}

function isInt32(value: unknown): boolean {
  return typeof value === "number" && (value | 0) === value;
}

function isUint32(value: unknown): boolean {
  return typeof value === "number" && value >>> 0 === value;
}

function isInt64(value: unknown): boolean {
  return typeof value === "bigint" && value >= int64Min && value <= int64Max;
}

function measureItems(items: readonly Item[], offset: number, depth: number): number {
  if (!Array.isArray(items)) throw new TtlvError("Structure is not an array of items", offset);
  let next = offset + headerBytes;
  for (const item of items) next = measure(item, next, depth + 1);
  return next;
}

function measureText(text: string, offset: number): number {
  if (typeof text !== "string") throw new TtlvError("TextString is not a string", offset);
  const length = utf8Length(text);
  if (length < 0) throw new TtlvError("TextString has an unpaired surrogate", offset);
  return offset + headerBytes + padded(length);
}

function measureBytes(item: Item, offset: number): number {
  const { value } = item;
  if (!(value instanceof Uint8Array)) fail(item, "a Uint8Array", offset);
  const { length } = value;
  if (item.type === ItemType.BigInteger && (length === 0 || length % 8 !== 0)) {
    fail(item, "a multiple of 8 bytes, at least 8", offset);
  }
  return offset + headerBytes + padded(length);
}

/** Writes a measured item at `start` and returns the offset after it. */
function writeItem(bytes: Uint8Array, start: number, item: Item): number {
  writeUint32(bytes, start, (item.tag << 8) | item.type);
  const at = start + headerBytes;
  const length = writeValue(bytes, at, item);
  writeUint32(bytes, start + 4, length);
  const next = at + padded(length);
  for (let padding = at + length; padding < next; padding++) bytes[padding] = 0;
  return next;
}

/** Writes the value of a measured item at `at` and returns its length. */
function writeValue(bytes: Uint8Array, at: number, item: Item): number {
  switch (item.type) {
    case ItemType.Structure: {
      let next = at;
      for (const inner of item.value) next = writeItem(bytes, next, inner);
      return next - at;
    }
    case ItemType.Integer:
    case ItemType.Enumeration:
    case ItemType.Interval:
      writeUint32(bytes, at, item.value);
      return 4;
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      writeInt64(bytes, at, item.value);
      return 8;
    case ItemType.Boolean:
      writeUint32(bytes, at, 0);
      writeUint32(bytes, at + 4, item.value ? 1 : 0);
      return 8;
    case ItemType.TextString:
      return writeText(bytes, at, item.value);
    case ItemType.BigInteger:
    case ItemType.ByteString:
      bytes.set(item.value, at);
      return item.value.length;
  }
}

function writeInt64(bytes: Uint8Array, at: number, value: bigint): void {
  const double = Number(value);
  if (Number.isSafeInteger(double)) {
    writeUint32(bytes, at, Math.floor(double / 0x1_0000_0000));
    writeUint32(bytes, at + 4, double);
    return;
  }
  writeUint32(bytes, at, Number(BigInt.asUintN(32, value >> 32n)));
  writeUint32(bytes, at + 4, Number(BigInt.asUintN(32, value)));
}
