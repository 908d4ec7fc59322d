import { hash, timingSafeEqual } from "node:crypto";
import {
  attributeByTag,
  attributes,
  attributeValue,
  attributeVisible,
  KmipError,
  keyBlockOf,
  type ObjectTypeName,
  objectTypeOf,
  operations,
  plainKeyOf,
  tags,
  vendorKeyOf,
} from "@holdfast/kmip";
import {
  byteString,
  decode,
  encode,
  enumeration,
  type Item,
  ItemType,
  structure,
} from "@holdfast/ttlv";
import { homeOf } from "../attributes/attribute-home.ts";
import { allAttributes } from "../attributes/attribute-view.ts";
import { checkDates, sortGiven } from "../attributes/given-attributes.ts";
import { enumerationValue } from "../base/enumeration-value.ts";
import type { KeyRing } from "../ports/keys.ts";
import { type DatedNow, dueSurely, revokeEvent, type State } from "../record/lifecycle.ts";
import type { Facts, ManagedObject, Register, Revocation } from "../record/record.ts";
import { checkRecordSize } from "../record/record-size.ts";
import { compareRegisters } from "../record/register-codec.ts";
import { plannedDates } from "../record/registers.ts";
import { checkApproved } from "./approved-key.ts";
import { describeObject } from "./key-format.ts";
import { openObject, sealObject } from "./material.ts";
import { digestItems, sealDigests } from "./object-digest.ts";

/** An object as another key manager shows it; `attributes` and `value` in TTLV. */
export interface ForeignObject {
  readonly uniqueIdentifier: string;
  readonly objectType: ObjectTypeName;
  readonly state: Exclude<State, "Destroyed" | "DestroyedCompromised">;
  /** The structure Attributes of KMIP 2.1. */
  readonly attributes: Uint8Array;
  /** The managed object of KMIP 2.1. */
  readonly value: Uint8Array;
}

/** Where and when an object is imported. */
export interface ImportAt extends DatedNow {
  readonly instance: string;
  readonly region: string;
  /** See `OperationContext.nowUs`. */
  readonly nowUs: number;
  /** See `EngineSettings.approvedOnly`. */
  readonly approvedOnly: boolean;
}

/** An object that can be imported: everything but its seals. */
export interface ImportedObject {
  /** Without material, and without its sealed Digest. */
  readonly object: ManagedObject;
  /** In clear. */
  readonly material: Item;
  /** Names of the given attributes that the object does not have, or has with another value. */
  readonly left: readonly string[];
}

const version = "2.1";
/** The clock of another key manager may be ahead by so much, in seconds. */
const aheadMax = 86_400;
/** SHA-256 of a shorter key would help to guess it. */
const shownBitsMin = 112;
const a = attributes;

/** Attributes that say which object it is: they must agree with the rest of the request. */
const naming: ReadonlySet<number> = new Set([
  a.UniqueIdentifier.tag,
  a.ObjectType.tag,
  a.State.tag,
]);
/** What this object says of its past, which no client of a server can set (KMIP 2.1, 6.1.25). */
const past: ReadonlySet<number> = new Set([
  a.InitialDate.tag,
  a.LastChangeDate.tag,
  a.CompromiseDate.tag,
  a.CompromiseOccurrenceDate.tag,
  a.RevocationReason.tag,
]);
const flags: ReadonlySet<number> = new Set([a.AlwaysSensitive.tag, a.NeverExtractable.tag]);

/**
 * An object of another key manager, with its identifier, its State and its attributes (KMIP 2.1, 6.1.25 Import). Throws a
 * `KmipError` whose message says why it cannot come, and what `dueSurely` throws. No message has material.
 */
export function importedObject(foreign: ForeignObject, at: ImportAt): ImportedObject {
  const { items, unknown } = attributesIn(foreign);
  const { given, material } = requestOf(foreign, items);
  requireWhole(material);
  requireAgreeing(foreign, given);
  const stamp = { us: at.nowUs, region: at.region };
  const { objectType } = foreign;
  const target = { version, objectType, made: false, stamp, resolve: noReference } as const;
  const kept = given.filter(isKept).map((item) => ({ item }));
  const sorted = sortGiven(kept, target);
  checkDates(sorted.registers);
  const described = describeObject(objectType, material, {
    algorithm: valueIn(given, "CryptographicAlgorithm"),
    length: valueIn(given, "CryptographicLength"),
  });
  if (at.approvedOnly) checkApproved(objectType, described);
  const registers = withFlags(
    sorted.registers,
    given.filter(({ tag }) => flags.has(tag)),
    stamp,
  );
  const initial = initialDateIn(given, at.nowSeconds);
  const object: ManagedObject = {
    uniqueIdentifier: foreign.uniqueIdentifier,
    instance: at.instance,
    objectType: enumerationValue("ObjectType", objectType),
    fixed: [...described, initial].toSorted((one, other) => one.tag - other.tag),
    material: undefined,
    facts: dueSurely(factsOf(foreign, given, at), plannedDates(registers), at, at.region),
    registers,
    lastChange: Math.min(dateIn(given, a.LastChangeDate.tag) ?? at.nowSeconds, at.nowSeconds),
  };
  const left = missingIn(object, given, digestItems(objectType, material));
  return { object, material, left: [...new Set([...unknown, ...left])] };
}

/** Seals an imported object for its instance: once, so that every try to store it sends the same bytes. */
export async function sealImported(
  keyRing: KeyRing,
  { object, material }: ImportedObject,
): Promise<ManagedObject> {
  const { instance, uniqueIdentifier, objectType, fixed } = object;
  const type = objectTypeOf(material);
  const binding = { instance, uniqueIdentifier, objectType };
  const digests = type === undefined ? [] : digestItems(type, material);
  const [sealed, digest] = await Promise.all([
    sealObject(keyRing, binding, material),
    sealDigests(keyRing, binding, digests),
  ]);
  const after = { ...object, fixed: [...fixed, ...digest], material: sealed };
  checkRecordSize({ after });
  return after;
}

/**
 * Whether an object that is stored has the type and the material of an imported one, compared in constant time. Throws what
 * `KeyRing.open` throws.
 */
export async function holdsSame(
  keyRing: Pick<KeyRing, "open">,
  stored: ManagedObject,
  { object, material }: ImportedObject,
): Promise<boolean> {
  if (stored.objectType !== object.objectType || stored.material === undefined) return false;
  const own = await openObject(keyRing, stored);
  return timingSafeEqual(contentHash(own), contentHash(material));
}

/** SHA-256 of an imported symmetric key, in hex; undefined for a short key and for any other object. */
export function shownDigest({ material }: ImportedObject): string | undefined {
  const block = objectTypeOf(material) === "SymmetricKey" ? keyBlockOf(material) : undefined;
  const key = block && plainKeyOf(block);
  return key === undefined || key.length * 8 < shownBitsMin ? undefined : hash("sha256", key);
}

/** SHA-256 of a symmetric key's bytes, in any format; of any other object as it is encoded. */
function contentHash(object: Item): Buffer {
  const block = objectTypeOf(object) === "SymmetricKey" ? keyBlockOf(object) : undefined;
  const key = block && plainKeyOf(block);
  const bytes = encode(key === undefined ? object : byteString(tags.KeyMaterial.tag, key));
  try {
    return hash("sha256", bytes, "buffer");
  } finally {
    bytes.fill(0);
  }
}

/** The attributes that this server knows for the object's type, and the names of the others. */
function attributesIn(foreign: ForeignObject): {
  readonly items: readonly Item[];
  readonly unknown: readonly string[];
} {
  const root = decode(foreign.attributes);
  if (root.tag !== tags.Attributes.tag || root.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", "attributes: must be the structure Attributes");
  }
  const isKnown = ({ tag }: Item) => attributeVisible(tag, version, foreign.objectType);
  const unknown = root.value.filter((item) => !isKnown(item)).map(nameOf);
  return { items: root.value.filter(isKnown), unknown };
}

/** The attributes and the object as the codec of Register reads them, which checks both. */
function requestOf(
  { objectType, value }: ForeignObject,
  items: readonly Item[],
): { readonly given: readonly Item[]; readonly material: Item } {
  const type = enumerationValue("ObjectType", objectType);
  const payload = structure(tags.RequestPayload.tag, [
    enumeration(tags.ObjectType.tag, type),
    structure(tags.Attributes.tag, items),
    decode(value),
  ]);
  const { attributes: set, object } = operations.Register.request.decode(payload, version);
  if (object === undefined || objectTypeOf(object) !== objectType) {
    throw new KmipError("invalidObjectType", `value: must be an object of type ${objectType}`);
  }
  return { given: set.attributes.map(({ item }) => item), material: object };
}

/** Refuses what only another server could open. */
function requireWhole(material: Item): void {
  const block = keyBlockOf(material);
  if (block === undefined) return;
  if (block.keyWrappingData !== undefined) {
    throw new KmipError("invalidField", "the key is wrapped: get it unwrapped from its source");
  }
  if (block.keyValue === undefined) {
    throw new KmipError("invalidField", "the source has no value of this key: nothing can come");
  }
}

function requireAgreeing(foreign: ForeignObject, given: readonly Item[]): void {
  const { uniqueIdentifier, objectType, state } = foreign;
  const says = {
    UniqueIdentifier: [valueIn(given, "UniqueIdentifier"), uniqueIdentifier],
    ObjectType: [valueIn(given, "ObjectType"), objectType],
    State: [valueIn(given, "State"), state],
  } as const;
  for (const [name, [own, asked]] of Object.entries(says)) {
    if (own === undefined || own === asked) continue;
    throw new KmipError("invalidAttributeValue", `attributes: ${name} is not that of the request`);
  }
}

/** Whether an attribute becomes a register as in Register. */
function isKept(item: Item): boolean {
  const { tag } = item;
  if (naming.has(tag) || past.has(tag) || flags.has(tag)) return false;
  if (tag === a.VendorAttribute.tag) return !vendorKeyOf(item).startsWith("y\0");
  if (tag === a.OriginalCreationDate.tag || tag === a.RandomNumberGenerator.tag) return true;
  return homeOf(tag) !== "fixed" && attributeByTag(tag)?.setBy !== "server";
}

function noReference(): never {
  throw new KmipError("invalidField", "attributes: a Link must name its object by its identifier");
}

/** Always Sensitive and Never Extractable as the source has them, in place of what follows from the present flags. */
function withFlags(
  registers: readonly Register[],
  given: readonly Item[],
  stamp: Register["stamp"],
): readonly Register[] {
  const others = registers.filter(({ tag }) => !given.some((item) => item.tag === tag));
  const own = given.map((value) => ({
    ...{ tag: value.tag, key: "", index: 0, origin: "" },
    ...{ value, stamp },
  }));
  return [...others, ...own].toSorted(compareRegisters);
}

/** What happened to the object at its source; where a date is not known, it counts from now. */
function factsOf({ state }: ForeignObject, given: readonly Item[], at: ImportAt): Facts {
  const { region, nowSeconds } = at;
  const happened = (tag: number) => ({ time: dateIn(given, tag) ?? nowSeconds, region });
  const hasPassed = (tag: number) => (dateIn(given, tag) ?? Number.POSITIVE_INFINITY) <= nowSeconds;
  const isFresh = valueIn(given, "Fresh") === true;
  const wasActive =
    state === "Active" || (state !== "PreActive" && hasPassed(a.ActivationDate.tag));
  const wasDeactivated =
    state === "Deactivated" || (state === "Compromised" && hasPassed(a.DeactivationDate.tag));
  const reason = revocationIn(given);
  const isCompromise = reason !== undefined && revokeEvent(reason.reasonCode) === "compromise";
  const occurred = dateIn(given, a.CompromiseOccurrenceDate.tag);
  return {
    // Its source has handed it out to make this copy.
    ...(!isFresh && { served: { time: nowSeconds, region } }),
    ...(wasActive && { activated: happened(a.ActivationDate.tag) }),
    ...(wasDeactivated && {
      deactivated: { ...happened(a.DeactivationDate.tag), ...(!isCompromise && reason) },
    }),
    ...(state === "Compromised" && {
      compromised: {
        ...happened(a.CompromiseDate.tag),
        ...(isCompromise && reason),
        ...(occurred !== undefined && { occurred }),
      },
    }),
  };
}

function revocationIn(given: readonly Item[]):
  | (Pick<Revocation, "message"> & {
      readonly reasonCode: number;
    })
  | undefined {
  const item = given.find(({ tag }) => tag === a.RevocationReason.tag);
  if (item?.type !== ItemType.Structure) return undefined;
  const code = item.value.find(({ tag }) => tag === tags.RevocationReasonCode.tag);
  const message = item.value.find(({ tag }) => tag === tags.RevocationMessage.tag);
  if (code?.type !== ItemType.Enumeration) return undefined;
  return {
    reasonCode: code.value,
    ...(message?.type === ItemType.TextString && { message: message.value }),
  };
}

/** Objects are counted by the month of this date, which a store keeps in four digits. */
function initialDateIn(given: readonly Item[], nowSeconds: number): Item {
  const { tag } = a.InitialDate;
  const seconds = dateIn(given, tag) ?? nowSeconds;
  if (seconds < 0 || seconds > nowSeconds + aheadMax) {
    throw new KmipError("invalidAttributeValue", "Initial Date is before 1970 or in the future");
  }
  return { tag, type: ItemType.DateTime, value: BigInt(seconds) };
}

/** Seconds since the epoch. */
function dateIn(given: readonly Item[], tag: number): number | undefined {
  const item = given.find((one) => one.tag === tag);
  if (item?.type !== ItemType.DateTime) return undefined;
  const seconds = Number(item.value);
  if (Number.isSafeInteger(seconds * 1_000)) return seconds;
  throw new KmipError("invalidAttributeValue", `${nameOf(item)} is too far from today`);
}

function valueIn<Name extends keyof typeof attributes>(given: readonly Item[], name: Name) {
  const item = given.find(({ tag }) => tag === attributes[name].tag);
  return item && attributeValue(name, item);
}

/** Names of the given attributes that the object does not show with this value. */
function missingIn(
  object: ManagedObject,
  given: readonly Item[],
  digests: readonly Item[],
): readonly string[] {
  const shown = [...allAttributes(object, version).map(({ item }) => item), ...digests];
  const known = new Set(shown.map(textOf));
  return given.filter((item) => !known.has(textOf(item))).map(nameOf);
}

function textOf(item: Item): string {
  return Buffer.from(encode(item)).toString("latin1");
}

function nameOf(item: Item): string {
  const { tag } = item;
  if (tag === a.VendorAttribute.tag) return vendorKeyOf(item).replace("\0", "-");
  return attributeByTag(tag)?.name ?? `0x${tag.toString(16)}`;
}
