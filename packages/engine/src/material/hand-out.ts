import {
  inKeyFormat,
  type KeyBlock,
  KmipError,
  keyBlockOf,
  type ObjectTypeName,
  type Request,
  tags,
  withKeyBlock,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";

type Asked = Request<"Get">;
type KeyFormatType = NonNullable<Asked["keyFormatType"]>;

/** The object's structure in the form that a Get asks for; throws if that is not possible (KMIP 2.1, 6.1.19.1). */
export function handOut(object: ManagedObject, kept: Item, asked: Asked): Item {
  const { keyCompressionType, keyFormatType, keyWrapType, keyWrappingSpecification } = asked;
  if (flag(object, tags.Extractable.tag) === false) {
    throw new KmipError("keyNotExtractable", "the object is not extractable");
  }
  if (keyWrappingSpecification !== undefined) {
    throw new KmipError(
      "featureNotSupported",
      "the server does not wrap the objects that it returns",
    );
  }
  const sensitive = flag(object, tags.Sensitive.tag) === true;
  const plain =
    keyCompressionType === undefined && keyFormatType === undefined && keyWrapType === undefined;
  if (plain && !sensitive) return kept;
  const type = objectTypeName(object.objectType);
  const block = keyBlockOf(kept);
  if (sensitive && block?.keyWrappingData === undefined) {
    throw new KmipError("keySensitive", "a sensitive object is not handed out unwrapped");
  }
  if (block === undefined) return withoutKeyBlock(type, kept, asked);
  checkWrapType(block, keyWrapType);
  checkCompression(type, block, keyCompressionType);
  if (keyFormatType === undefined || keyFormatType === block.keyFormatType) return kept;
  return withKeyBlock(kept, converted(type, block, keyFormatType));
}

/** The Boolean that a register holds, if any. */
function flag({ registers }: ManagedObject, tag: number): boolean | undefined {
  for (const { tag: own, value } of registers) {
    if (own === tag && value?.type === ItemType.Boolean) return value.value;
  }
  return undefined;
}

/** The formats in which a client may ask for objects without a Key Block (KMIP 2.1, Table 81). */
const formats: Readonly<Partial<Record<ObjectTypeName, readonly KeyFormatType[]>>> = {
  Certificate: ["X_509", "Raw"],
  CertificateRequest: ["PKCS_10"],
  OpaqueObject: ["Opaque"],
};

function withoutKeyBlock(type: ObjectTypeName, kept: Item, asked: Asked): Item {
  const { keyCompressionType, keyFormatType } = asked;
  if (keyCompressionType !== undefined) throw compressionNotSupported();
  if (keyFormatType !== undefined && formats[type]?.includes(keyFormatType) !== true) {
    throw formatNotSupported();
  }
  return kept;
}

/** A key that was registered wrapped is returned wrapped: the server does not unwrap (KMIP 2.1, 11.29). */
function checkWrapType({ keyWrappingData }: KeyBlock, asked: Asked["keyWrapType"]): void {
  if (asked === undefined || asked === "AsRegistered") return;
  if (asked === "NotWrapped" && keyWrappingData === undefined) return;
  throw new KmipError("keyWrapTypeNotSupported", "the key cannot be given in this Key Wrap Type");
}

/** Points are returned as they were registered; the default is uncompressed (KMIP 2.1, 3.1). */
function checkCompression(
  type: ObjectTypeName,
  { keyCompressionType }: KeyBlock,
  asked: Asked["keyCompressionType"],
): void {
  const own = keyCompressionType ?? "ECPublicKeyTypeUncompressed";
  if (asked === undefined || (type === "PublicKey" && asked === own)) return;
  throw compressionNotSupported();
}

function converted(type: ObjectTypeName, block: KeyBlock, format: KeyFormatType): KeyBlock {
  const symmetric = type === "SymmetricKey" ? inKeyFormat(block, format) : undefined;
  if (symmetric !== undefined) return symmetric;
  // The bytes of a secret are the same in both formats.
  const either = [block.keyFormatType, format].every((one) => one === "Raw" || one === "Opaque");
  if (type === "SecretData" && either) return { ...block, keyFormatType: format };
  throw formatNotSupported();
}

function formatNotSupported(): KmipError {
  return new KmipError("keyFormatTypeNotSupported", "the object cannot be given in this format");
}

function compressionNotSupported(): KmipError {
  return new KmipError(
    "keyCompressionTypeNotSupported",
    "the object cannot be given in this Key Compression Type",
  );
}
