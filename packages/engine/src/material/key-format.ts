import {
  type AttributeValue,
  attributeItem,
  attributes,
  attributeValue,
  type KeyBlock,
  KmipError,
  keyBlockOf,
  type ObjectTypeName,
  objectValue,
  plainKeyOf,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { keyInBlock } from "./asymmetric-key.ts";
import { certificateItems } from "./certificate.ts";
import { certificateFormat, digestItems, isDigestSecret } from "./object-digest.ts";

/** What the request states about a key, in addition to its Key Block. */
export interface StatedKey {
  readonly algorithm?: AttributeValue<"CryptographicAlgorithm"> | undefined;
  readonly length?: number | undefined;
}

/**
 * The attributes that the server derives from a new object and never changes: algorithm, length, Key Format Type,
 * Key Value Present, Digest if the material is not secret, and those of a certificate (KMIP 2.1, 4.7 to 4.28). Algorithm
 * and length are the stated ones where the object itself does not tell them.
 */
export function describeObject(
  type: ObjectTypeName,
  object: Item,
  stated: StatedKey,
): readonly Item[] {
  const described = (describers[type] ?? describeKey)(type, object, stated);
  return isDigestSecret(type) ? described : [...described, ...digestItems(type, object)];
}

type Describe = (type: ObjectTypeName, object: Item, stated: StatedKey) => readonly Item[];

/** Objects that are not keys. */
const describers: Readonly<Partial<Record<ObjectTypeName, Describe>>> = {
  Template: () => [],
  Certificate: (_type, object, stated) => describeCertificate(object, stated),
  CertificateRequest: (_type, _object, stated) => [
    ...numberItems(stated),
    attributeItem("KeyFormatType", "PKCS_10"),
  ],
  OpaqueObject: (_type, object) => {
    const { opaqueDataType } = objectValue("OpaqueObject", object);
    return [
      attributeItem("OpaqueDataType", opaqueDataType),
      attributeItem("KeyFormatType", "Opaque"),
    ];
  },
};

function describeCertificate(object: Item, stated: StatedKey): readonly Item[] {
  const { certificateType, certificateValue } = objectValue("Certificate", object);
  const found =
    certificateType === "X_509"
      ? certificateItems(certificateValue)
      : [attributeItem("CertificateLength", certificateValue.length)];
  const told = found.filter((item) => !saysOnlyCurve(item, stated));
  const tags = new Set(told.map(({ tag }) => tag));
  return [
    attributeItem("CertificateType", certificateType),
    attributeItem("KeyFormatType", certificateFormat),
    ...told,
    ...numberItems(stated).filter(({ tag }) => !tags.has(tag)),
  ];
}

const onCurve: ReadonlySet<StatedKey["algorithm"]> = new Set(["ECDSA", "ECDH", "ECMQV", "EC"]);

/** A certificate tells that its key is on a curve, and not by which of these algorithms it is used. */
function saysOnlyCurve(item: Item, { algorithm }: StatedKey): boolean {
  if (item.tag !== attributes.CryptographicAlgorithm.tag) return false;
  return onCurve.has(algorithm) && onCurve.has(attributeValue("CryptographicAlgorithm", item));
}

function numberItems({ algorithm, length }: StatedKey): readonly Item[] {
  return [
    ...(algorithm === undefined ? [] : [attributeItem("CryptographicAlgorithm", algorithm)]),
    ...(length === undefined ? [] : [attributeItem("CryptographicLength", length)]),
  ];
}

function describeKey(type: ObjectTypeName, object: Item, stated: StatedKey): readonly Item[] {
  const block = keyBlockOf(object);
  if (block === undefined) throw new Error(`${type} has no Key Block`);
  const { algorithm, length } = keyNumbers(type, block, stated);
  if (isKey.has(type) && (algorithm === undefined || length === undefined)) {
    throw new KmipError("missingField", "Cryptographic Algorithm and Length must be given");
  }
  checkLength(block, algorithm, length);
  return [
    ...numberItems({ algorithm, length }),
    attributeItem("KeyFormatType", block.keyFormatType),
    ...(block.keyValue === undefined ? [attributeItem("KeyValuePresent", false)] : []),
  ];
}

/** Types that must have algorithm and length (KMIP 2.1, 6.1.43); the parts of a split key need not. */
const isKey: ReadonlySet<ObjectTypeName> = new Set(["SymmetricKey", "PublicKey", "PrivateKey"]);

/** From the Key Block or the request; if neither states it, from the key itself (KMIP 2.1, 3.1). */
function keyNumbers(type: ObjectTypeName, block: KeyBlock, stated: StatedKey): StatedKey {
  const algorithm = agreed(block.cryptographicAlgorithm, stated.algorithm);
  const length = agreed(block.cryptographicLength, stated.length);
  if (algorithm !== undefined && length !== undefined) return { algorithm, length };
  const found: StatedKey | undefined =
    type === "SecretData" ? { length: lengthOf(block) } : keyInBlock(type, block);
  return {
    algorithm: algorithm ?? found?.algorithm,
    length: length ?? found?.length,
  };
}

/** Key Block and attributes must state the same value (KMIP 2.1, 6.1.43). */
function agreed<Value>(inBlock: Value | undefined, stated: Value | undefined): Value | undefined {
  if (inBlock !== undefined && stated !== undefined && inBlock !== stated) {
    throw new KmipError("invalidAttributeValue", "an attribute does not agree with the Key Block");
  }
  return inBlock ?? stated;
}

function lengthOf({ keyValue: value, keyWrappingData: wrapping }: KeyBlock): number | undefined {
  if (value === undefined || wrapping !== undefined) return undefined;
  if (value instanceof Uint8Array || value.keyMaterial.type !== ItemType.ByteString) {
    return undefined;
  }
  return value.keyMaterial.value.length * 8;
}

/** Checks only AES keys: with other algorithms, the length may or may not count parity bits. */
function checkLength(
  block: KeyBlock,
  algorithm: StatedKey["algorithm"],
  length: number | undefined,
): void {
  const key = algorithm === "AES" ? plainKeyOf(block) : undefined;
  if (key !== undefined && key.length * 8 !== length) {
    throw new KmipError("invalidAttributeValue", "Cryptographic Length is not that of the key");
  }
}
