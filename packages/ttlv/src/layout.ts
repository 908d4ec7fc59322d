import { ItemType } from "./item.ts";

/** Tag (3 bytes), type (1) and length (4) in front of every value (KMIP 2.1, 9.1.1). */
export const headerBytes = 8;

/**
 * Structures nest no deeper than this, whatever a caller's limits are: encoding and decoding
 * recurse, and a stack overflow would not be a `TtlvError`.
 */
export const depthCeiling = 256;

/** The largest length that the four bytes of the length field can hold. */
export const lengthMax = 0xffff_ffff;

export const tagMax = 0xff_ffff;

const lengths: ReadonlyMap<number, number> = new Map([
  [ItemType.Integer, 4],
  [ItemType.LongInteger, 8],
  [ItemType.Enumeration, 4],
  [ItemType.Boolean, 8],
  [ItemType.DateTime, 8],
  [ItemType.Interval, 4],
  [ItemType.DateTimeExtended, 8],
]);

/** The exact length of a value, by type; undefined if it varies (KMIP 2.1, 9.1.1.3). */
export const fixedLength: readonly (number | undefined)[] = Array.from(
  { length: ItemType.DateTimeExtended + 1 },
  (_, type) => lengths.get(type),
);

/** The name of a type, as in the table of item types (KMIP 2.1, 9.1.1.2). */
export const typeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(ItemType).map(([name, type]) => [type, name]),
);

/** A length rounded up to a multiple of eight bytes, to which every value is padded. */
export function padded(length: number): number {
  return length + ((8 - (length % 8)) % 8);
}

/** Reads four bytes: big-endian, unsigned. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** Writes four bytes, big-endian: the low 32 bits of `value`. */
export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** A view that is a plain Uint8Array, even if `bytes` belongs to a subclass such as Buffer. */
export function view(bytes: Uint8Array, start: number, length: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, length);
}
