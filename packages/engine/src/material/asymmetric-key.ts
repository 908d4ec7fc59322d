import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import {
  type AttributeValue,
  enumerations,
  type KeyBlock,
  type ObjectTypeName,
  tags,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";

/** Algorithm and length of an asymmetric key. */
export interface AsymmetricKey {
  readonly algorithm: AttributeValue<"CryptographicAlgorithm">;
  /** Bits; undefined if the platform does not tell. */
  readonly length: number | undefined;
}

const algorithms: Readonly<Record<string, AsymmetricKey["algorithm"]>> = {
  rsa: "RSA",
  "rsa-pss": "RSA",
  dsa: "DSA",
  ec: "ECDSA",
  ed25519: "Ed25519",
  ed448: "Ed448",
};

const fixedLengths: Readonly<Record<string, number>> = { ed25519: 256, ed448: 456 };

/**
 * The largest DER of a key that is parsed, in bytes; RSA of 16384 bits takes 9,300. Node converts the exponent of an
 * RSA key to a bigint byte by byte, which takes minutes for an exponent of a megabyte.
 */
export const keyDerBytesMax = 16_384;

/** Algorithm and length of a key that the platform parsed; undefined for kinds that KMIP has no name for. */
export function asymmetricKey(key: KeyObject | undefined): AsymmetricKey | undefined {
  const type = key?.asymmetricKeyType ?? "";
  const algorithm = algorithms[type];
  if (algorithm === undefined) return undefined;
  const { modulusLength, namedCurve } = key?.asymmetricKeyDetails ?? {};
  // Names of curves contain their length: prime256v1, secp521r1, brainpoolP384r1.
  const curve = /\d{3}/.exec(namedCurve ?? "")?.[0];
  const length = modulusLength ?? fixedLengths[type] ?? (curve && Number(curve));
  return { algorithm, length: length === "" ? undefined : length };
}

/**
 * Algorithm and length from the Key Material of a Public or Private Key in a DER format or a transparent one (KMIP 2.1,
 * 3.1).
 */
export function keyInBlock(type: ObjectTypeName, block: KeyBlock): AsymmetricKey | undefined {
  const { keyFormatType, keyValue: value, keyWrappingData: wrapping } = block;
  if (value === undefined || value instanceof Uint8Array || wrapping !== undefined)
    return undefined;
  const { keyMaterial } = value;
  if (keyMaterial.type === ItemType.Structure) {
    return transparentKey(type, keyFormatType, keyMaterial.value);
  }
  if (keyMaterial.type !== ItemType.ByteString) return undefined;
  if (keyMaterial.value.length > keyDerBytesMax) return undefined;
  const der = Buffer.from(keyMaterial.value);
  try {
    if (type === "PublicKey") return asymmetricKey(publicKey(keyFormatType, der));
    return type === "PrivateKey" ? asymmetricKey(privateKey(keyFormatType, der)) : undefined;
  } catch {
    // Not in that format, or encrypted: then the request must state algorithm and length.
    return undefined;
  }
}

function publicKey(format: KeyBlock["keyFormatType"], key: Buffer): KeyObject | undefined {
  if (format === "X_509") return createPublicKey({ key, format: "der", type: "spki" });
  if (format === "PKCS_1") return createPublicKey({ key, format: "der", type: "pkcs1" });
  return undefined;
}

function privateKey(format: KeyBlock["keyFormatType"], key: Buffer): KeyObject | undefined {
  if (format === "PKCS_1") return createPrivateKey({ key, format: "der", type: "pkcs1" });
  if (format === "PKCS_8") return createPrivateKey({ key, format: "der", type: "pkcs8" });
  if (format === "ECPrivateKey") return createPrivateKey({ key, format: "der", type: "sec1" });
  return undefined;
}

/** The algorithm in the name of a transparent format. */
const transparentAlgorithms = ["RSA", "DSA", "DH", "ECDSA", "ECDH", "ECMQV", "EC"] as const;

/** Algorithm and length from the fields of a transparent key (KMIP 2.1, 3.1.5; KMIP 1.4, 2.1.7). */
function transparentKey(
  type: ObjectTypeName,
  format: string,
  fields: readonly Item[],
): AsymmetricKey | undefined {
  const name = /^Transparent(.+)(PublicKey|PrivateKey)$/.exec(format);
  const algorithm = transparentAlgorithms.find((one) => one === name?.[1]);
  if (algorithm === undefined || name?.[2] !== type) return undefined;
  const field = (tag: number) => fields.find((item) => item.tag === tag);
  const number = field(algorithm === "RSA" ? tags.Modulus.tag : tags.P.tag);
  const length = algorithm.startsWith("EC")
    ? curveLength(field(tags.RecommendedCurve.tag))
    : bitLength(number);
  return { algorithm, length };
}

/** Bits of a positive number; undefined for anything else. */
function bitLength(item: Item | undefined): number | undefined {
  if (item?.type !== ItemType.BigInteger) return undefined;
  const first = item.value.findIndex((byte) => byte !== 0);
  const top = item.value[first];
  return top === undefined
    ? undefined
    : (item.value.length - first - 1) * 8 + (32 - Math.clz32(top));
}

/** Bits of the keys on a Recommended Curve, whose name contains them: P_256, BRAINPOOLP384R1. */
function curveLength(item: Item | undefined): number | undefined {
  if (item?.type !== ItemType.Enumeration) return undefined;
  const curves: readonly (readonly [string, number | { readonly value: number }])[] =
    Object.entries(enumerations.RecommendedCurve);
  const found = curves.find(
    ([, row]) => (typeof row === "number" ? row : row.value) === item.value,
  );
  if (found === undefined) return undefined;
  const digits = /\d{3}/.exec(found[0])?.[0];
  // Keys on Curve25519 fill 256 bits.
  if (digits === undefined) return undefined;
  return found[0] === "CURVE25519" ? 256 : Number(digits);
}
