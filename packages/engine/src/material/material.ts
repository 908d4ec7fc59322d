import { KmipError } from "@holdfast/kmip";
import { decode, encode, type Item } from "@holdfast/ttlv";
import type { KeyRing } from "../ports/keys.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { storedLimits } from "../record/record-codec.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";

/** Seals a managed object's structure, as it was registered or made. */
export async function sealObject(
  keyRing: KeyRing,
  binding: SealBinding,
  object: Item,
): Promise<SealedMaterial> {
  const plaintext = encode(object);
  try {
    return await keyRing.seal(binding, plaintext);
  } finally {
    plaintext.fill(0);
  }
}

/** The managed object's structure in clear; not a promise when the instance's key is in memory. */
export function openObject(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
): Item | Promise<Item> {
  const { material } = object;
  if (isDestroyed(object.facts)) {
    throw new KmipError("objectDestroyed", "the object was destroyed");
  }
  if (material === undefined) {
    throw new KmipError("keyValueNotPresent", "the key was registered without its value");
  }
  const opened = openMaterial(keyRing, object, material);
  return opened instanceof Promise
    ? opened.then((bytes) => decode(bytes, storedLimits))
    : decode(opened, storedLimits);
}

/** An object's material in clear, in any State. */
export function openMaterial(
  keyRing: Pick<KeyRing, "open">,
  { instance, uniqueIdentifier, objectType }: ManagedObject,
  material: SealedMaterial,
): Uint8Array | Promise<Uint8Array> {
  return keyRing.open({ instance, uniqueIdentifier, objectType }, material);
}
