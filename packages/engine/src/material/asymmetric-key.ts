import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { AttributeValue, KeyBlock, ObjectTypeName } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";

/** What an asymmetric key says of itself. */
export interface AsymmetricKey {
  readonly algorithm: AttributeValue<"CryptographicAlgorithm">;
  /** Bits; undefined where the platform does not say. */
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
 * Bytes of a key's DER that are looked into; RSA of 16384 bits takes 9,300. Node turns the exponent of an RSA key into
 * a bigint byte by byte, which takes minutes where somebody made it a megabyte long.
 */
export const keyDerBytesMax = 16_384;

/** Algorithm and length of a key that the platform read; undefined for kinds that KMIP has no word for. */
export function asymmetricKey(key: KeyObject | undefined): AsymmetricKey | undefined {
  const type = key?.asymmetricKeyType ?? "";
  const algorithm = algorithms[type];
  if (algorithm === undefined) return undefined;
  const { modulusLength, namedCurve } = key?.asymmetricKeyDetails ?? {};
  // Names of curves say their length: prime256v1, secp521r1, brainpoolP384r1.
  const curve = /\d{3}/.exec(namedCurve ?? "")?.[0];
  const length = modulusLength ?? fixedLengths[type] ?? (curve && Number(curve));
  return { algorithm, length: length === "" ? undefined : length };
}

/** What the Key Material of a Public or Private Key in a DER format says (KMIP 2.1, 3.1). */
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
    // Not in that format, or encrypted: then the request must say what it is.
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
