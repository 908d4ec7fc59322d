import { ItemType } from "@holdfast/ttlv";
import { enumerationText, enumerationValue, maskBit, maskBits, maskOfTag } from "./value-names.ts";

/** Item types by their names in the XML encoding (KMIP Additional Message Encodings 1.0, 4). */
export const itemTypes: ReadonlyMap<string, ItemType> = new Map(Object.entries(ItemType));
const typeNames: ReadonlyMap<number, string> = new Map(
  [...itemTypes].map(([name, type]) => [type, name]),
);

/** The name of an item type in the XML encoding. */
export function typeName(type: ItemType): string {
  return typeNames.get(type) ?? "";
}

/** A number of `bits` bits in hexadecimal, two's complement. */
function hex(value: bigint, bits: number): string {
  return `0x${BigInt.asUintN(bits, value)
    .toString(16)
    .padStart(bits / 4, "0")}`;
}

/** Bytes from an even number of hexadecimal digits; undefined for anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}

/** A Big Integer from hex, sign-extended to a multiple of eight bytes (KMIP 2.1, 9.1.1.4). */
export function fromBigHex(text: string): Uint8Array | undefined {
  const bytes = fromHex(text);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const length = Math.ceil(bytes.length / 8) * 8;
  const padded = new Uint8Array(length).fill((bytes[0] as number) > 0x7f ? 0xff : 0);
  padded.set(bytes, length - bytes.length);
  return padded;
}

/** A number in decimal, or `0x` and its two's complement; undefined if it exceeds `bits`. */
export function fromNumber(text: string, bits: number, signed: boolean): bigint | undefined {
  if (/^0x[0-9a-f]{1,16}$/i.test(text)) {
    const value = BigInt(text);
    if (value >= 1n << BigInt(bits)) return undefined;
    return signed ? BigInt.asIntN(bits, value) : value;
  }
  if (!/^[+-]?\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  const fits = signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  return fits === value ? value : undefined;
}

/** An Integer: a number or, under a mask's tag, the texts of its bits. */
export function fromInteger(text: string, tag: number): number | undefined {
  const number = fromNumber(text, 32, true);
  if (number !== undefined || maskOfTag(tag) === undefined) {
    return number === undefined ? undefined : Number(number);
  }
  let value = 0;
  for (const part of text.split(/[\s|]+/)) {
    const bit = maskBit(tag, part) ?? fromNumber(part, 32, false);
    if (bit === undefined) return undefined;
    value |= Number(bit);
  }
  return value;
}

/** The inverse of `fromInteger`; zero has no bits and is written as a number. */
export function toInteger(value: number, tag: number): string {
  if (maskOfTag(tag) === undefined || value === 0) return String(value);
  return maskBits(tag, value)
    .map((bit) => (typeof bit === "string" ? bit : hex(BigInt(bit), 32)))
    .join(" ");
}

/** An Enumeration: the text of a value of the tag's enumeration, or a number. */
export function fromEnumeration(text: string, tag: number): number | undefined {
  const known = enumerationValue(tag, text);
  if (known !== undefined) return known;
  const number = fromNumber(text, 32, false);
  return number === undefined ? undefined : Number(number);
}

/** The inverse of `fromEnumeration`. */
export function toEnumeration(value: number, tag: number): string {
  return enumerationText(tag, value) ?? hex(BigInt(value), 32);
}

const isoDate = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|([+-])(\d\d):(\d\d))$/;

/** Microseconds since the epoch, from an ISO 8601 time with a zone. */
function fromIso(text: string): bigint | undefined {
  const [, clock, fraction = "", sign, hours = "0", minutes = "0"] = isoDate.exec(text) ?? [];
  if (clock === undefined || Number(hours) > 23 || Number(minutes) > 59) return undefined;
  const atUtc = new Date(`${clock}Z`);
  // An hour 25 is not a date, and 30 February becomes another day.
  if (Number.isNaN(atUtc.getTime()) || !atUtc.toISOString().startsWith(clock)) return undefined;
  const east = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -60 : 60);
  const seconds = BigInt(atUtc.getTime() / 1000 - east);
  return seconds * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

/** Seconds since the epoch: ISO 8601 with a zone, or a number. */
export function fromDateTime(text: string): bigint | undefined {
  const microseconds = fromIso(text);
  if (microseconds === undefined) return fromNumber(text, 64, true);
  return microseconds % 1_000_000n === 0n ? microseconds / 1_000_000n : undefined;
}

/** Microseconds since the epoch: ISO 8601 with a zone and up to six decimals, or a number. */
export function fromDateTimeExtended(text: string): bigint | undefined {
  return fromIso(text) ?? fromNumber(text, 64, true);
}

/** The range of years that ISO 8601 writes with four digits. */
const isoSeconds = { min: -62_167_219_200n, max: 253_402_300_799n };

/** ISO 8601 in UTC, or a number if the year has more than four digits. */
export function toDateTime(seconds: bigint): string {
  if (seconds < isoSeconds.min || seconds > isoSeconds.max) return hex(seconds, 64);
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}+00:00`;
}

/** The same for microseconds, with six decimals. */
export function toDateTimeExtended(microseconds: bigint): string {
  const fraction = ((microseconds % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (microseconds - fraction) / 1_000_000n;
  if (seconds < isoSeconds.min || seconds > isoSeconds.max) return hex(microseconds, 64);
  const clock = toDateTime(seconds).slice(0, 19);
  return `${clock}.${String(fraction).padStart(6, "0")}+00:00`;
}
