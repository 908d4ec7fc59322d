import {
  type BigInteger,
  type BooleanItem,
  type ByteString,
  type DateTime,
  type DateTimeExtended,
  type Enumeration,
  type Integer,
  type Interval,
  type Item,
  ItemType,
  type LongInteger,
  type Structure,
  type TextString,
} from "./item.ts";

/** A Structure of `items`, in their order. `encode` checks the values, here and below. */
export function structure(tag: number, items: readonly Item[]): Structure {
  return { tag, type: ItemType.Structure, value: items };
}

/** A signed number of 32 bits; also a mask. */
export function integer(tag: number, value: number): Integer {
  return { tag, type: ItemType.Integer, value };
}

/** A signed number of 64 bits. */
export function longInteger(tag: number, value: bigint): LongInteger {
  return { tag, type: ItemType.LongInteger, value };
}

/** A number in wire form, as `bigIntegerFromBigint` makes it. */
export function bigInteger(tag: number, value: Uint8Array): BigInteger {
  return { tag, type: ItemType.BigInteger, value };
}

/** A value from a table: an unsigned number of 32 bits. */
export function enumeration(tag: number, value: number): Enumeration {
  return { tag, type: ItemType.Enumeration, value };
}

/** True or false. */
export function boolean(tag: number, value: boolean): BooleanItem {
  return { tag, type: ItemType.Boolean, value };
}

/** Well-formed Unicode text. */
export function textString(tag: number, value: string): TextString {
  return { tag, type: ItemType.TextString, value };
}

/** Bytes; they are not copied. */
export function byteString(tag: number, value: Uint8Array): ByteString {
  return { tag, type: ItemType.ByteString, value };
}

/** Seconds since the epoch. */
export function dateTime(tag: number, value: bigint): DateTime {
  return { tag, type: ItemType.DateTime, value };
}

/** Seconds, an unsigned number of 32 bits. */
export function interval(tag: number, value: number): Interval {
  return { tag, type: ItemType.Interval, value };
}

/** Microseconds since the epoch. */
export function dateTimeExtended(tag: number, value: bigint): DateTimeExtended {
  return { tag, type: ItemType.DateTimeExtended, value };
}
