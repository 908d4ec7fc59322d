import { type Item, ItemType } from "@holdfast/ttlv";
import type { Attribute } from "../attributes/attribute.ts";
import { attribute1, attributes2 } from "../attributes/attribute-forms.ts";
import { KmipError } from "../schema/faults.ts";
import { byVersion, type Infer, optional, required, struct } from "../schema/schema.ts";
import { keyWrappingData } from "../schema/structures.ts";
import {
  type AnyValueType,
  anyItem,
  bigInteger,
  bytes,
  type EnumerationText,
  enumeration,
  integer,
  type ValueType,
} from "../schema/value-type.ts";
import { atRest, type Version, within } from "../schema/version.ts";

const keyValueStructure = struct("Key Value", {
  keyMaterial: required("KeyMaterial", anyItem),
  attributes: byVersion<readonly Attribute[], "optional">(
    "optional",
    { tag: "Attribute", type: attribute1, many: true, until: "1.4" },
    { tag: "Attributes", type: attributes2, since: "2.0" },
  ),
});

/** KMIP 2.1, 3.1.2 Key Value: bytes when wrapped as a whole, otherwise Key Material and attributes. */
export type KeyValue = Uint8Array | Infer<typeof keyValueStructure.fields>;

const keyValue: ValueType<KeyValue> = {
  itemType: "any",
  decode: (item, version) => {
    if (item.type === ItemType.ByteString) return item.value;
    const { keyMaterial, attributes } = keyValueStructure.decode(item, version);
    return attributes === undefined || attributes.length === 0
      ? { keyMaterial }
      : { keyMaterial, attributes };
  },
  encode: (tag, value, version) =>
    value instanceof Uint8Array
      ? bytes.encode(tag, value, version)
      : keyValueStructure.encode(tag, value, version),
};

/** KMIP 2.1, 3.1.1 Key Block; from 1.2 on, a key may have no value. */
export const keyBlock = struct("Key Block", {
  keyFormatType: required("KeyFormatType", enumeration("KeyFormatType")),
  keyCompressionType: optional("KeyCompressionType", enumeration("KeyCompressionType")),
  keyValue: optional("KeyValue", keyValue),
  cryptographicAlgorithm: optional("CryptographicAlgorithm", enumeration("CryptographicAlgorithm")),
  cryptographicLength: optional("CryptographicLength", integer),
  keyWrappingData: optional("KeyWrappingData", keyWrappingData),
});
export type KeyBlock = Infer<typeof keyBlock.fields>;

const dsaDomain = {
  p: required("P", bigInteger),
  q: required("Q", bigInteger),
  g: required("G", bigInteger),
};
const dhDomain = {
  p: required("P", bigInteger),
  q: optional("Q", bigInteger),
  g: required("G", bigInteger),
  j: optional("J", bigInteger),
};
const x = { x: required("X", bigInteger) };
const y = { y: required("Y", bigInteger) };
const curve = { recommendedCurve: required("RecommendedCurve", enumeration("RecommendedCurve")) };
const ecPrivate = struct("Key Material", { ...curve, d: required("D", bigInteger) });
const ecPublic = struct("Key Material", { ...curve, qString: required("QString", bytes) });
const symmetric = struct("Key Material", { key: required("Key", bytes) });

/** Key Material of the transparent formats (KMIP 2.1, 3.1.5; KMIP 1.4, 2.1.7). */
const transparent: Readonly<Record<string, AnyValueType>> = {
  TransparentSymmetricKey: symmetric,
  TransparentDSAPrivateKey: struct("Key Material", { ...dsaDomain, ...x }),
  TransparentDSAPublicKey: struct("Key Material", { ...dsaDomain, ...y }),
  TransparentRSAPrivateKey: struct("Key Material", {
    modulus: required("Modulus", bigInteger),
    privateExponent: optional("PrivateExponent", bigInteger),
    publicExponent: optional("PublicExponent", bigInteger),
    p: optional("P", bigInteger),
    q: optional("Q", bigInteger),
    primeExponentP: optional("PrimeExponentP", bigInteger),
    primeExponentQ: optional("PrimeExponentQ", bigInteger),
    crtCoefficient: optional("CRTCoefficient", bigInteger),
  }),
  TransparentRSAPublicKey: struct("Key Material", {
    modulus: required("Modulus", bigInteger),
    publicExponent: required("PublicExponent", bigInteger),
  }),
  TransparentDHPrivateKey: struct("Key Material", { ...dhDomain, ...x }),
  TransparentDHPublicKey: struct("Key Material", { ...dhDomain, ...y }),
  TransparentECDSAPrivateKey: ecPrivate,
  TransparentECDSAPublicKey: ecPublic,
  TransparentECDHPrivateKey: ecPrivate,
  TransparentECDHPublicKey: ecPublic,
  TransparentECMQVPrivateKey: ecPrivate,
  TransparentECMQVPublicKey: ecPublic,
  TransparentECPrivateKey: ecPrivate,
  TransparentECPublicKey: ecPublic,
};

function checkMaterial(format: string, material: Item, version: Version): void {
  if (format.startsWith("0x")) return;
  if (!Object.hasOwn(transparent, format)) bytes.decode(material, version);
  else transparent[format]?.decode(material, version);
}

/** Refuses a Key Block whose parts do not fit each other (KMIP 2.1, 3.1.1). */
export function checkKeyBlock(block: KeyBlock, version: Version): void {
  const { keyFormatType, keyValue: value, cryptographicAlgorithm, cryptographicLength } = block;
  if ((cryptographicAlgorithm === undefined) !== (cryptographicLength === undefined)) {
    throw new KmipError(
      "missingField",
      "a Key Block has either both or none of Cryptographic Algorithm and Cryptographic Length",
    );
  }
  const wrapped = block.keyWrappingData !== undefined;
  if (value === undefined) {
    if (within(version, "1.2") && !wrapped) return;
    throw new KmipError("missingField", "Key Value is missing in Key Block");
  }
  // PKCS#12 is encrypted with its own password.
  if (wrapped || keyFormatType === "PKCS_12") return;
  if (value instanceof Uint8Array) {
    throw new KmipError("missingField", "Key Wrapping Data is missing beside a wrapped Key Value");
  }
  checkMaterial(keyFormatType, value.keyMaterial, version);
}

/** The bytes of an unwrapped key in the Raw or Transparent Symmetric Key format, otherwise undefined. */
export function plainKeyOf(block: KeyBlock): Uint8Array | undefined {
  const { keyFormatType, keyValue: value, keyWrappingData: wrapping } = block;
  if (value === undefined || value instanceof Uint8Array || wrapping !== undefined) return;
  const { keyMaterial } = value;
  if (keyFormatType === "TransparentSymmetricKey") return symmetric.decode(keyMaterial, atRest).key;
  return keyFormatType === "Raw" && keyMaterial.type === ItemType.ByteString
    ? keyMaterial.value
    : undefined;
}

/** The Key Block with its plain key as Raw or Transparent Symmetric Key (KMIP 2.1, 3.1.5.1). */
export function inKeyFormat(
  block: KeyBlock,
  format: EnumerationText<"KeyFormatType">,
): KeyBlock | undefined {
  if (block.keyFormatType === format) return block;
  const key = plainKeyOf(block);
  const { keyValue: value } = block;
  if (key === undefined || value === undefined || value instanceof Uint8Array) return undefined;
  if (format !== "Raw" && format !== "TransparentSymmetricKey") return undefined;
  const { tag } = value.keyMaterial;
  const keyMaterial =
    format === "Raw" ? bytes.encode(tag, key, atRest) : symmetric.encode(tag, { key }, atRest);
  return keyMaterial && { ...block, keyFormatType: format, keyValue: { ...value, keyMaterial } };
}
