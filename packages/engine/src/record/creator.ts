import { byteString, type Item, ItemType } from "@holdfast/ttlv";
import type { ManagedObject } from "./record.ts";
import { recordTags } from "./record-tags.ts";

const fingerprintForm = /^[0-9a-f]{64}$/;

/** The item with the fingerprint of an object's creator; none if that is not a SHA-256. Its tag is above all others. */
export function creatorItems(fingerprint: string): readonly Item[] {
  if (!fingerprintForm.test(fingerprint)) return [];
  return [byteString(recordTags.Creator, Buffer.from(fingerprint, "hex"))];
}

/** Fingerprint of the certificate that made an object; undefined if the record does not have it. */
export function creatorOf({ fixed }: Pick<ManagedObject, "fixed">): string | undefined {
  const item = fixed.at(-1);
  if (item?.tag !== recordTags.Creator || item.type !== ItemType.ByteString) return undefined;
  return Buffer.from(item.value).toString("hex");
}

/** The term under which all objects that a certificate made are found. */
export function creatorTerm(fingerprint: string): string {
  return `c${Buffer.from(fingerprint, "hex").toString("base64url").slice(0, 10)}`;
}
