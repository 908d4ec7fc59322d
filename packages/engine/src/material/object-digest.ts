import { hash } from "node:crypto";
import {
  type AttributeValue,
  attributeItem,
  attributes,
  attributeValue,
  inKeyFormat,
  type KeyBlock,
  keyBlockOf,
  type ObjectTypeName,
  objectValue,
} from "@holdfast/kmip";
import { encode, type Item, ItemType } from "@holdfast/ttlv";
import { KeyRingUnavailable, SealBroken } from "../base/errors.ts";
import type { KeyRing } from "../ports/keys.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import { knownObjectTypeName, objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";
import { materialItem, readMaterial } from "../record/record-codec.ts";
import { recordTags } from "../record/record-tags.ts";
import type { SealBinding } from "../record/sealed.ts";
import { openObject } from "./material.ts";

type KeyFormatType = AttributeValue<"KeyFormatType">;

/** OASIS's test cases give certificates the Key Format Type Raw, where KMIP 2.1, Table 81 says X.509. */
export const certificateFormat = "Raw";

/** Bytes of SHA-256. */
const digestBytes = 32;
const noBytes = new Uint8Array();

/** Types whose material is not secret. Their Digest is kept in clear. */
const publicTypes: ReadonlySet<ObjectTypeName> = new Set([
  "Certificate",
  "CertificateRequest",
  "PublicKey",
]);

/**
 * The Digest attributes of an object: SHA-256 of its Key Material, Certificate Value or Opaque Data Value; none for a
 * wrapped key, a key without its value and a Template (KMIP 2.1, 4.21).
 */
export function digestItems(type: ObjectTypeName, object: Item): readonly Item[] {
  const notKey = digestsOfNoKey[type];
  if (notKey !== undefined) return notKey(object);
  const block = keyBlockOf(object);
  return block === undefined ? [] : keyDigests(type, block);
}

/** Digests of objects that are not keys. */
const digestsOfNoKey: Readonly<Partial<Record<ObjectTypeName, (object: Item) => readonly Item[]>>> =
  {
    Template: () => [],
    Certificate: (object) => [
      digestItem(objectValue("Certificate", object).certificateValue, certificateFormat),
    ],
    CertificateRequest: (object) => [
      digestItem(objectValue("CertificateRequest", object).certificateRequestValue),
    ],
    OpaqueObject: (object) => [digestItem(objectValue("OpaqueObject", object).opaqueDataValue)],
  };

/** Whether the Digest of this type is never stored or shown in clear: it would help to guess a weak secret. */
export function isDigestSecret(type: ObjectTypeName): boolean {
  return !publicTypes.has(type);
}

/** The item that keeps an object's Digest Values, sealed so that they do not help to guess a weak secret. */
export async function sealDigests(
  keyRing: Pick<KeyRing, "seal">,
  binding: SealBinding,
  digests: readonly Item[],
): Promise<readonly Item[]> {
  if (!isDigestSecret(objectTypeName(binding.objectType)) || digests.length === 0) return [];
  const values = digests.map((item) => attributeValue("Digest", item).digestValue ?? noBytes);
  const plaintext = Buffer.concat(values);
  try {
    const sealed = await keyRing.seal({ ...binding, part: "digest" }, plaintext);
    return [materialItem(sealed, recordTags.SealedDigest)];
  } finally {
    plaintext.fill(0);
  }
}

/** The item that keeps an object's sealed Digest Values, if it has one. */
export function sealedDigestOf({ fixed }: Pick<ManagedObject, "fixed">): Item | undefined {
  return fixed.find(({ tag }) => tag === recordTags.SealedDigest);
}

/** An object with the sealed parts of another copy of it. */
export function withSealedParts(object: ManagedObject, other: ManagedObject): ManagedObject {
  const digest = sealedDigestOf(other);
  const fixed = object.fixed.map((item) =>
    digest !== undefined && item.tag === recordTags.SealedDigest ? digest : item,
  );
  return { ...object, fixed, material: other.material };
}

/** A record's fixed attributes without its sealed Digest, which only the keys of its own instance open. */
export function withoutSealedDigest(fixed: readonly Item[]): readonly Item[] {
  return fixed.filter(({ tag }) => tag !== recordTags.SealedDigest);
}

/**
 * The object with the Digest attributes that its record keeps sealed. An object that was restored into another instance
 * has no sealed ones: they are computed from its material, until it is destroyed. Throws what `KeyRing.open` throws.
 */
export async function withDigests(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
): Promise<ManagedObject> {
  const type = knownObjectTypeName(object.objectType);
  if (type === undefined || !isDigestSecret(type)) return object;
  const digests = await openedDigests(keyRing, object, type);
  return { ...object, fixed: [...digests, ...object.fixed] };
}

async function openedDigests(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
  type: ObjectTypeName,
): Promise<readonly Item[]> {
  const { facts, fixed, instance, material, objectType, uniqueIdentifier } = object;
  const sealed = sealedDigestOf(object);
  if (sealed !== undefined) {
    const binding = { instance, uniqueIdentifier, objectType, part: "digest" } as const;
    const values = await keyRing.open(binding, readMaterial(sealed));
    const format = fixed.find(({ tag }) => tag === attributes.KeyFormatType.tag);
    const own = format && attributeValue("KeyFormatType", format);
    return Array.from({ length: values.length / digestBytes }, (_, index) => {
      const value = values.subarray(index * digestBytes, (index + 1) * digestBytes);
      // As `digestItems` made them.
      return type === "OpaqueObject"
        ? digestAttribute(value)
        : digestAttribute(value, index === 0 ? own : "Raw");
    });
  }
  if (material === undefined || isDestroyed(facts)) return [];
  return digestItems(type, await openObject(keyRing, object));
}

/** The same, but without the Digest while the server cannot open it (KMIP 2.1, 4.21). */
export async function withDigestsIfOpen(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
): Promise<ManagedObject> {
  try {
    return await withDigests(keyRing, object);
  } catch (error) {
    if (error instanceof KeyRingUnavailable || error instanceof SealBroken) return object;
    throw error;
  }
}

/** Whether an attribute is the Digest. */
export function isDigest({ tag }: { readonly tag: number }): boolean {
  return tag === attributes.Digest.tag;
}

/**
 * Digests of an unwrapped key: in its own format, and in the default format if the server can make that
 * (KMIP 2.1, 4.21 and 4.26).
 */
function keyDigests(type: ObjectTypeName, block: KeyBlock): readonly Item[] {
  const raw = type === "SymmetricKey" ? inKeyFormat(block, "Raw") : undefined;
  const forms = raw === undefined || raw === block ? [block] : [block, raw];
  return forms.flatMap(({ keyFormatType, keyValue: value, keyWrappingData: wrapping }) => {
    if (value === undefined || value instanceof Uint8Array || wrapping !== undefined) return [];
    const { keyMaterial } = value;
    const bytes =
      keyMaterial.type === ItemType.ByteString ? keyMaterial.value : encode(keyMaterial);
    return [digestItem(bytes, keyFormatType)];
  });
}

function digestItem(bytes: Uint8Array, keyFormatType?: KeyFormatType): Item {
  return digestAttribute(hash("sha256", bytes, "buffer"), keyFormatType);
}

function digestAttribute(digestValue: Uint8Array, keyFormatType?: KeyFormatType): Item {
  return attributeItem("Digest", {
    hashingAlgorithm: "SHA_256",
    digestValue,
    ...(keyFormatType === undefined ? {} : { keyFormatType }),
  });
}
