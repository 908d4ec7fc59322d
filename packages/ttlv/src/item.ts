/** The item types of TTLV (KMIP 2.1, 9.1.1.2). */
export const ItemType = {
  Structure: 0x01,
  Integer: 0x02,
  LongInteger: 0x03,
  BigInteger: 0x04,
  Enumeration: 0x05,
  Boolean: 0x06,
  TextString: 0x07,
  ByteString: 0x08,
  DateTime: 0x09,
  Interval: 0x0a,
  DateTimeExtended: 0x0b,
} as const;
export type ItemType = (typeof ItemType)[keyof typeof ItemType];

interface ItemOf<Type extends ItemType, Value> {
  /** Three bytes, 0x420000 to 0x54ffff in practice; any 24-bit value decodes. */
  readonly tag: number;
  readonly type: Type;
  readonly value: Value;
}

export type Structure = ItemOf<0x01, readonly Item[]>;
export type Integer = ItemOf<0x02, number>;
export type LongInteger = ItemOf<0x03, bigint>;
/** Two's complement, big-endian, a multiple of 8 bytes, as on the wire: encodes back unchanged. */
export type BigInteger = ItemOf<0x04, Uint8Array>;
export type Enumeration = ItemOf<0x05, number>;
export type BooleanItem = ItemOf<0x06, boolean>;
export type TextString = ItemOf<0x07, string>;
export type ByteString = ItemOf<0x08, Uint8Array>;
/** Seconds since the epoch. */
export type DateTime = ItemOf<0x09, bigint>;
/** Seconds, unsigned 32 bits. */
export type Interval = ItemOf<0x0a, number>;
/** Microseconds since the epoch. */
export type DateTimeExtended = ItemOf<0x0b, bigint>;

/** One tag-type-length-value item; a message is one Structure. */
export type Item =
  | Structure
  | Integer
  | LongInteger
  | BigInteger
  | Enumeration
  | BooleanItem
  | TextString
  | ByteString
  | DateTime
  | Interval
  | DateTimeExtended;
