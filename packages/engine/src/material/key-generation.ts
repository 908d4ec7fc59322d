import { type AttributeValue, KmipError } from "@holdfast/kmip";
import type { Ids } from "../base/ids.ts";

type Algorithm = AttributeValue<"CryptographicAlgorithm">;

/** How keys of an algorithm are made. */
interface Generation {
  /** Bits unless the request states a length. */
  readonly length: number;
  /** Lengths in bits that can be made, with the bytes of such a key; any multiple of 8 if absent. */
  readonly bytesOf?: Readonly<Record<number, number>>;
  /** Cryptographic Usage Mask unless the request states one. */
  readonly usage: number;
}

const usages = { encryptDecrypt: 0x0c, mac: 0x180 };
const hmac = (length: number): Generation => ({ length, usage: usages.mac });

/** The symmetric keys that Create makes. A 3DES key's parity bits are not counted in its length. */
const generations: Readonly<Partial<Record<Algorithm, Generation>>> = {
  AES: { length: 256, bytesOf: { 128: 16, 192: 24, 256: 32 }, usage: usages.encryptDecrypt },
  DES3: { length: 168, bytesOf: { 112: 16, 168: 24 }, usage: usages.encryptDecrypt },
  /** Supported only because the profile Symmetric Key Foundry has optional test cases with it. */
  SKIPJACK: { length: 80, bytesOf: { 80: 10 }, usage: usages.encryptDecrypt },
  HMAC_SHA1: hmac(160),
  HMAC_SHA224: hmac(224),
  HMAC_SHA256: hmac(256),
  HMAC_SHA384: hmac(384),
  HMAC_SHA512: hmac(512),
  HMAC_MD5: hmac(128),
  HMAC_SHA3_224: hmac(224),
  HMAC_SHA3_256: hmac(256),
  HMAC_SHA3_384: hmac(384),
  HMAC_SHA3_512: hmac(512),
};

/** Bounds, in bits, of keys without a list of lengths, and of secrets. */
const freeLengths = { min: 64, max: 65_536 };
const secretLengths = { min: 8, max: 65_536, usual: 256 };

/** What a client gets if its request leaves the choice to the server (KMIP 2.1, 7.11). */
export const symmetricDefaults = {
  algorithm: "AES",
  length: 256,
  usage: usages.encryptDecrypt,
} as const;

/** A key that was made. */
export interface GeneratedKey {
  readonly algorithm: Algorithm;
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly usage: number;
}

/** Makes a symmetric key (KMIP 2.1, 6.1.8). */
export function generateKey(
  ids: Ids,
  algorithm: Algorithm = symmetricDefaults.algorithm,
  length?: number,
): GeneratedKey {
  const row = generations[algorithm];
  if (row === undefined) throw unsupported(`the server makes no ${algorithm} keys`);
  const bits = length ?? row.length;
  const bytes = ids.randomBytes(byteLength(row, bits, algorithm));
  if (algorithm === "DES3") setOddParity(bytes);
  return { algorithm, length: bits, bytes, usage: row.usage };
}

/** Makes the bytes of Secret Data (KMIP 1.4, 4.1). */
export function generateSecret(ids: Ids, length: number = secretLengths.usual): Uint8Array {
  checkFree(length, secretLengths, "Secret Data");
  return ids.randomBytes(length / 8);
}

function byteLength({ bytesOf }: Generation, bits: number, algorithm: string): number {
  if (bytesOf === undefined) {
    checkFree(bits, freeLengths, algorithm);
    return bits / 8;
  }
  const bytes = bytesOf[bits];
  if (bytes !== undefined) return bytes;
  throw unsupported(`${algorithm} keys have ${Object.keys(bytesOf).join(", ")} bits`);
}

function checkFree(bits: number, { min, max }: { min: number; max: number }, what: string): void {
  if (bits % 8 === 0 && bits >= min && bits <= max) return;
  throw unsupported(`${what} has ${min} to ${max} bits, a multiple of 8`);
}

/** Each byte of a DES key has an odd number of ones. */
function setOddParity(bytes: Uint8Array): void {
  for (const [at, byte] of bytes.entries()) {
    let ones = byte >> 1;
    ones ^= ones >> 4;
    ones ^= ones >> 2;
    ones ^= ones >> 1;
    bytes[at] = (byte & 0xfe) | (~ones & 1);
  }
}

function unsupported(message: string): KmipError {
  return new KmipError("invalidAttributeValue", message);
}
