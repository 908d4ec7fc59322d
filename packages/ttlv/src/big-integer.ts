import { TtlvError } from "./error.ts";
import { toHex } from "./hex.ts";

/** The number that the value of a Big Integer encodes (KMIP 2.1, 9.1.1.4). */
export function bigIntegerToBigint(bytes: Uint8Array): bigint {
  if (bytes.length === 0 || bytes.length % 8 !== 0) {
    throw new TtlvError("BigInteger is not a multiple of 8 bytes, at least 8", 0);
  }
  // By way of hex, which engines parse in linear time; shifting word by word would be quadratic.
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${toHex(bytes)}`));
}

/** The shortest wire form of `value`: two's complement, sign-extended to a multiple of 8 bytes. */
export function bigIntegerFromBigint(value: bigint): Uint8Array {
  const magnitude = value < 0n ? ~value : value;
  const words = wordsOf(magnitude);
  const digits = BigInt.asUintN(words * 64, value)
    .toString(16)
    .padStart(words * 16, "0");
  const bytes = new Uint8Array(words * 8);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}

/** The number of 64-bit words that hold a sign bit and `magnitude`. */
function wordsOf(magnitude: bigint): number {
  const digits = magnitude.toString(16);
  const bits = 4 * (digits.length - 1) + (32 - Math.clz32(Number.parseInt(digits.charAt(0), 16)));
  return Math.floor(bits / 64) + 1;
}
