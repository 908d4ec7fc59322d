import type { Item } from "@holdfast/ttlv";
import type { KeyRing } from "../ports/keys.ts";
import type { ManagedObject } from "../record/record.ts";
import { materialItem, readMaterial } from "../record/record-codec.ts";
import { RecordError } from "../record/record-items.ts";
import { recordTags } from "../record/record-tags.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import { opens } from "./healing.ts";
import { sealedDigestOf } from "./object-digest.ts";

/** The part of a key ring that moves seals to another KEK. */
export interface Resealer extends Pick<KeyRing, "open"> {
  reseal(binding: SealBinding, sealed: SealedMaterial, kekId: string): Promise<SealedMaterial>;
  newerSeal(instance: string, one: SealedMaterial, other: SealedMaterial): SealedMaterial;
}

/** What is sealed in an object: its material and its Digest. */
interface Seals {
  readonly material: SealedMaterial | undefined;
  readonly digest: SealedMaterial | undefined;
}

/** An object's seals. */
function sealsOf(object: ManagedObject): Seals {
  const digest = sealedDigestOf(object);
  return { material: object.material, digest: digest && sealIn(digest) };
}

/** The seal in an item; undefined if it is none, since another region's record may hold anything. */
function sealIn(item: Item): SealedMaterial | undefined {
  try {
    return readMaterial(item);
  } catch (error) {
    if (error instanceof RecordError) return undefined;
    throw error;
  }
}

function withSeals(object: ManagedObject, { material, digest }: Seals): ManagedObject {
  const fixed = object.fixed.map((item) =>
    digest !== undefined && item.tag === recordTags.SealedDigest
      ? materialItem(digest, recordTags.SealedDigest)
      : item,
  );
  return { ...object, fixed, material };
}

/** The ids of the KEKs that an object's seals need. */
export function kekIdsOf(object: ManagedObject): ReadonlySet<string> {
  const { material, digest } = sealsOf(object);
  return new Set(
    [material, digest].flatMap((sealed) => (sealed === undefined ? [] : [sealed.kekId])),
  );
}

/** Whether two copies of an object were sealed under different KEKs, as while a rekey is under way. */
export function areUnderOtherKeks(one: ManagedObject, other: ManagedObject): boolean {
  const [a, b] = [sealsOf(one), sealsOf(other)];
  const differ = (part: keyof Seals): boolean =>
    a[part] !== undefined && b[part] !== undefined && a[part].kekId !== b[part].kekId;
  return differ("material") || differ("digest");
}

/** An object with all of its seals under one KEK; the same object if they are. Rejects as `KeyRing.open`. */
export async function resealed(
  keyRing: Resealer,
  object: ManagedObject,
  kekId: string,
): Promise<ManagedObject> {
  const { material, digest } = sealsOf(object);
  const moved = {
    material: material && (await keyRing.reseal(bindingOf(object), material, kekId)),
    digest: digest && (await keyRing.reseal(bindingOf(object, "digest"), digest, kekId)),
  };
  const same = moved.material === material && moved.digest === digest;
  return same ? object : withSeals(object, moved);
}

/**
 * `one` with the seals that two copies keep: of each part that of the newer KEK. Undefined unless every part opens to the
 * same plaintext in both. Rejects as `KeyRing.open`.
 */
async function withNewerSeals(
  keyRing: Resealer,
  one: ManagedObject,
  other: ManagedObject,
): Promise<ManagedObject | undefined> {
  const [ours, theirs] = [sealsOf(one), sealsOf(other)];
  const kept: { -readonly [Part in keyof Seals]: Seals[Part] } = { ...ours };
  for (const part of ["material", "digest"] as const) {
    const [a, b] = [ours[part], theirs[part]];
    if (a === undefined || b === undefined || isSameSeal(a, b)) continue;
    const binding = bindingOf(one, part);
    const plaintexts = [await keyRing.open(binding, a), await keyRing.open(binding, b)] as const;
    const alike = Buffer.compare(...plaintexts) === 0;
    for (const plaintext of plaintexts) plaintext.fill(0);
    if (!alike) return undefined;
    kept[part] = keyRing.newerSeal(one.instance, a, b);
  }
  return withSeals(one, kept);
}

/** What a key ring knows of the seals of two copies: see `Seals` of the regions. */
export function sealsBy(keyRing: Resealer) {
  return {
    opens: (object: ManagedObject) => opens(keyRing, object),
    newer: (own: ManagedObject, other: ManagedObject) => withNewerSeals(keyRing, own, other),
  };
}

/** Whether two seals have the same bytes. */
export function isSameSeal(a: SealedMaterial | undefined, b: SealedMaterial | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.kekId === b.kekId &&
    Buffer.compare(a.nonce, b.nonce) === 0 &&
    Buffer.compare(a.ciphertext, b.ciphertext) === 0
  );
}

function bindingOf(
  { instance, uniqueIdentifier, objectType }: ManagedObject,
  part: keyof Seals = "material",
): SealBinding {
  const binding = { instance, uniqueIdentifier, objectType };
  return part === "digest" ? { ...binding, part } : binding;
}
