import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { AttributeValue, KeyBlock, ObjectTypeName } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";

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

/** Algorithm and length from the Key Material of a Public or Private Key in a DER format (KMIP 2.1, 3.1). */
export function keyInBlock(type: ObjectTypeName, block: KeyBlock): AsymmetricKey | undefined {
  const { keyFormatType, keyValue: value, keyWrappingData: wrapping } = block;
  if (value === undefined || value instanceof Uint8Array || wrapping !== undefined)
    return undefined;
  const { keyMaterial } = value;
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
