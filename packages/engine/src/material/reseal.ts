import { timingSafeEqual } from "node:crypto";
import type { Item } from "@holdfast/ttlv";
import { SealBroken, UnknownKek } from "../base/errors.ts";
import type { KeyRing } from "../ports/keys.ts";
import { isDestroyed, pendingDestruction } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { materialItem, readMaterial } from "../record/record-codec.ts";
import { RecordError } from "../record/record-items.ts";
import { recordTags } from "../record/record-tags.ts";
import type { SealBinding, SealedMaterial } from "../record/sealed.ts";
import { isWithheldKek } from "../system/wrapped-kek.ts";
import { opens } from "./healing.ts";
import { sealedDigestOf } from "./object-digest.ts";

/** The part of a key ring that moves seals to another KEK. */
export interface Resealer extends Pick<KeyRing, "open"> {
  reseal(binding: SealBinding, sealed: SealedMaterial, kekId: string): Promise<SealedMaterial>;
  newerSeal(instance: string, one: SealedMaterial, other: SealedMaterial): SealedMaterial;
  /** Lets `body` reseal what is withheld. */
  holding<Result>(body: () => Promise<Result>): Promise<Result>;
}

/** The part of a key ring that brings withheld material back. */
export interface Releaser extends Resealer {
  openAny: KeyRing["open"];
  /** The id of the KEK that seals for an instance. */
  sealingId(instance: string): Promise<string>;
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

/** The KEKs under which an object's parts belong: its material is withheld while its destruction is not final. */
export interface SealTargets {
  readonly kek: string;
  /** Undefined while the instance has none: then material stays where it is. */
  readonly withheld?: string | undefined;
}

/** The ids of the KEKs that an object's seals need. */
export function kekIdsOf(object: ManagedObject): ReadonlySet<string> {
  const { material, digest } = sealsOf(object);
  return new Set(
    [material, digest].flatMap((sealed) => (sealed === undefined ? [] : [sealed.kekId])),
  );
}

/** Whether an object's material is to be withheld and is not, or the opposite. */
export function isMisplaced(
  { facts, material }: ManagedObject,
  { withheld }: SealTargets,
): boolean {
  if (material === undefined) return false;
  if (pendingDestruction(facts) === undefined) return isWithheldKek(material.kekId);
  return withheld !== undefined && material.kekId !== withheld;
}

/** Whether two copies of an object were sealed under different KEKs, as while a rekey is under way. */
export function areUnderOtherKeks(one: ManagedObject, other: ManagedObject): boolean {
  const [a, b] = [sealsOf(one), sealsOf(other)];
  const differ = (part: keyof Seals): boolean =>
    a[part] !== undefined && b[part] !== undefined && a[part].kekId !== b[part].kekId;
  return differ("material") || differ("digest");
}

/**
 * An object with its seals under the KEKs where they belong; the same object if they are. Of a destroyed object whose
 * material is withheld, the Digest stays readable. Rejects as `KeyRing.open`.
 */
export async function resealed(
  keyRing: Resealer,
  object: ManagedObject,
  { kek, withheld }: SealTargets,
): Promise<ManagedObject> {
  const { material, digest } = sealsOf(object);
  const isPending = pendingDestruction(object.facts) !== undefined;
  // What is withheld already stays so while the instance has no KEK for it.
  const known = material !== undefined && isWithheldKek(material.kekId) ? material.kekId : kek;
  const target = isPending ? (withheld ?? known) : kek;
  const moved = {
    material: material && (await keyRing.reseal(bindingOf(object), material, target)),
    digest: digest && (await keyRing.reseal(bindingOf(object, "digest"), digest, kek)),
  };
  const same = moved.material === material && moved.digest === digest;
  return same ? object : withSeals(object, moved);
}

/** An object whose material opens for clients again: the same object if it is not withheld. Rejects as `KeyRing.open`. */
export async function released(keyRing: Releaser, object: ManagedObject): Promise<ManagedObject> {
  const { material, instance } = object;
  if (material === undefined || !isWithheldKek(material.kekId)) return object;
  return await keyRing.holding(async () => {
    const kek = await keyRing.sealingId(instance);
    return { ...object, material: await keyRing.reseal(bindingOf(object), material, kek) };
  });
}

/** Whether material that is not withheld any more is what it was. Rejects as `KeyRing.open`. */
async function isReleased(
  keyRing: Releaser,
  before: ManagedObject,
  after: ManagedObject,
): Promise<boolean> {
  const [a, b] = [before.material, after.material];
  if (a === undefined || b === undefined || isWithheldKek(b.kekId)) return false;
  const binding = bindingOf(before);
  return await keyRing.holding(() =>
    areAlike(
      () => keyRing.openAny(binding, a),
      () => keyRing.open(binding, b),
    ),
  );
}

/** Whether two plaintexts are the same; what was opened is zeroed, also if the other one does not open. */
async function areAlike(
  openOne: () => Uint8Array | Promise<Uint8Array>,
  openOther: () => Uint8Array | Promise<Uint8Array>,
): Promise<boolean> {
  const opened: Uint8Array[] = [];
  try {
    const one = await openOne();
    opened.push(one);
    const other = await openOther();
    opened.push(other);
    return one.length === other.length && timingSafeEqual(one, other);
  } finally {
    for (const plaintext of opened) plaintext.fill(0);
  }
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
    // Each region withholds its own material, and releases it: no other copy takes its place.
    if (a.kekId !== b.kekId && (isWithheldKek(a.kekId) || isWithheldKek(b.kekId))) continue;
    const binding = bindingOf(one, part);
    const alike = areAlike(
      () => keyRing.open(binding, a),
      () => keyRing.open(binding, b),
    );
    if (!(await alike)) return undefined;
    kept[part] = keyRing.newerSeal(one.instance, a, b);
  }
  return withSeals(one, kept);
}

/** As `opens`, and of what was restored and is not released yet too: another region's copy may have to take its place. */
async function opensHere(keyRing: Releaser, object: ManagedObject): Promise<boolean> {
  const { facts, material } = object;
  const isWithheld = material !== undefined && isWithheldKek(material.kekId);
  if (!isWithheld || isDestroyed(facts)) return await opens(keyRing, object);
  try {
    const open = async () => keyRing.openAny(bindingOf(object), material);
    (await keyRing.holding(open)).fill(0);
    return true;
  } catch (error) {
    if (error instanceof SealBroken || error instanceof UnknownKek) return false;
    throw error;
  }
}

/** What a key ring knows of the seals of two copies: see `Seals` of the regions. */
export function sealsBy(keyRing: Releaser) {
  return {
    opens: (object: ManagedObject) => opensHere(keyRing, object),
    newer: (own: ManagedObject, other: ManagedObject) => withNewerSeals(keyRing, own, other),
    releases: (before: ManagedObject, after: ManagedObject) => isReleased(keyRing, before, after),
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
