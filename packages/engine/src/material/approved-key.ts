import {
  type AttributeValue,
  attributes,
  attributeValue,
  KmipError,
  type ObjectTypeName,
} from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";

type Algorithm = AttributeValue<"CryptographicAlgorithm">;

/**
 * The algorithms of keys that NIST approves, with the least length in bits: FIPS 197, 198-1 and 186-5, SP 800-56A, and SP
 * 800-131A for lengths. 3DES may decrypt only, since 2024, and DSA only verify, so there are no new keys for them.
 */
const approved: Readonly<Partial<Record<Algorithm, number>>> = {
  AES: 128,
  HMAC_SHA1: 112,
  HMAC_SHA224: 112,
  HMAC_SHA256: 112,
  HMAC_SHA384: 112,
  HMAC_SHA512: 112,
  HMAC_SHA3_224: 112,
  HMAC_SHA3_256: 112,
  HMAC_SHA3_384: 112,
  HMAC_SHA3_512: 112,
  RSA: 2048,
  DH: 2048,
  EC: 224,
  ECDSA: 224,
  ECDH: 224,
  Ed25519: 256,
  Ed448: 448,
};

/** Types of keys. A certificate is not a key, although it has the algorithm of one. */
const keys: ReadonlySet<ObjectTypeName> = new Set([
  "SymmetricKey",
  "PublicKey",
  "PrivateKey",
  "SplitKey",
]);

/** Refuses a new key whose algorithm or length is not approved; `described` are the attributes that the server sets. */
export function checkApproved(type: ObjectTypeName, described: readonly Item[]): void {
  if (!keys.has(type)) return;
  const algorithm = valueIn(described, "CryptographicAlgorithm");
  const length = valueIn(described, "CryptographicLength");
  if (algorithm === undefined) return;
  const least = approved[algorithm];
  if (least === undefined) throw refusal(`${algorithm} keys are not approved`);
  if (length !== undefined && length < least) {
    throw refusal(`${algorithm} keys of less than ${least} bits are not approved`);
  }
}

function valueIn<Name extends "CryptographicAlgorithm" | "CryptographicLength">(
  items: readonly Item[],
  name: Name,
): AttributeValue<Name> | undefined {
  const item = items.find(({ tag }) => tag === attributes[name].tag);
  return item && attributeValue(name, item);
}

function refusal(what: string): KmipError {
  return new KmipError("invalidAttributeValue", `${what}, and this server runs in FIPS mode`);
}
