import { hash } from "node:crypto";
import {
  type Attribute,
  type AttributeReference,
  attributeItem,
  attributes,
  attributeValue,
  attributeVisible,
  inVersion,
  isVersion1,
  type Version,
  vendorKeyOf,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { pendingDestruction, stateOf, stateValues } from "../record/lifecycle.ts";
import { knownObjectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";
import { type CurrentValue, currentValues, valuesOf } from "../record/registers.ts";
import { homeOf, leaseTimeSeconds } from "./attribute-home.ts";

const softwareProtection = 0x01;

function date(tag: number, seconds: number | undefined): Item | undefined {
  return seconds === undefined
    ? undefined
    : { tag, type: ItemType.DateTime, value: BigInt(seconds) };
}

/** SHA-256 of the Unique Identifier (KMIP 2.1, 4.56). */
function shortUniqueIdentifier(uniqueIdentifier: string): Uint8Array {
  return hash("sha256", uniqueIdentifier, "buffer");
}

type Derived = (object: ManagedObject) => Item | undefined;

const registerValue = (object: ManagedObject, tag: number): Item | undefined =>
  object.registers.find((register) => register.tag === tag && register.value !== undefined)?.value;

const a = attributes;

/** Attributes that are computed, by tag; a planned date shows until its fact hides it. */
const derived: ReadonlyMap<number, Derived> = new Map<number, Derived>([
  [
    a.UniqueIdentifier.tag,
    ({ uniqueIdentifier }) => attributeItem("UniqueIdentifier", uniqueIdentifier),
  ],
  [
    a.ShortUniqueIdentifier.tag,
    ({ uniqueIdentifier }) =>
      attributeItem("ShortUniqueIdentifier", shortUniqueIdentifier(uniqueIdentifier)),
  ],
  [
    a.ObjectType.tag,
    ({ objectType }) => ({
      tag: a.ObjectType.tag,
      type: ItemType.Enumeration,
      value: objectType,
    }),
  ],
  [a.LastChangeDate.tag, (object) => date(a.LastChangeDate.tag, object.lastChange)],
  [a.LeaseTime.tag, () => attributeItem("LeaseTime", leaseTimeSeconds)],
  [a.ProtectionStorageMask.tag, () => attributeItem("ProtectionStorageMask", softwareProtection)],
  [
    a.State.tag,
    ({ facts }) => ({
      tag: a.State.tag,
      type: ItemType.Enumeration,
      value: stateValues[stateOf(facts)],
    }),
  ],
  [a.Fresh.tag, ({ facts }) => attributeItem("Fresh", facts.served === undefined)],
  [
    a.ActivationDate.tag,
    (object) =>
      date(a.ActivationDate.tag, object.facts.activated?.time) ??
      registerValue(object, a.ActivationDate.tag),
  ],
  [
    a.DeactivationDate.tag,
    (object) =>
      date(a.DeactivationDate.tag, object.facts.deactivated?.time) ??
      registerValue(object, a.DeactivationDate.tag),
  ],
  [a.CompromiseDate.tag, ({ facts }) => date(a.CompromiseDate.tag, facts.compromised?.time)],
  [
    a.CompromiseOccurrenceDate.tag,
    ({ facts }) => date(a.CompromiseOccurrenceDate.tag, facts.compromised?.occurred),
  ],
  [
    a.DestroyDate.tag,
    ({ facts }) => date(a.DestroyDate.tag, (facts.destroyed ?? pendingDestruction(facts))?.time),
  ],
  [a.RevocationReason.tag, revocationReason],
  [a.UsageLimits.tag, usageLimits],
  [a.Sensitive.tag, flag("Sensitive", false)],
  [a.AlwaysSensitive.tag, flag("AlwaysSensitive", false)],
  [a.Extractable.tag, flag("Extractable", true)],
  [a.NeverExtractable.tag, flag("NeverExtractable", false)],
]);

/** A Boolean that always has a value (KMIP 2.1, 4.3, 4.23, 4.33 and 4.55). */
function flag(
  name: "Sensitive" | "AlwaysSensitive" | "Extractable" | "NeverExtractable",
  otherwise: boolean,
): Derived {
  return (object) => registerValue(object, a[name].tag) ?? attributeItem(name, otherwise);
}

/** The Usage Limits with their Count: the total, since no operation allocates usage (KMIP 2.1, 4.59). */
function usageLimits(object: ManagedObject): Item | undefined {
  const item = registerValue(object, a.UsageLimits.tag);
  if (item === undefined) return undefined;
  const { total, unit } = attributeValue("UsageLimits", item);
  return attributeItem("UsageLimits", { total, count: total, unit });
}

/** The Revocation Reason of the compromise; if it has no reason, that of the deactivation. */
function revocationReason({ facts }: ManagedObject): Item | undefined {
  const revocation =
    facts.compromised?.reasonCode === undefined ? facts.deactivated : facts.compromised;
  if (revocation?.reasonCode === undefined) return undefined;
  const { reasonCode, message } = revocation;
  return {
    tag: a.RevocationReason.tag,
    type: ItemType.Structure,
    value: [
      { tag: 0x420082, type: ItemType.Enumeration, value: reasonCode },
      ...(message === undefined
        ? []
        : [{ tag: 0x420080, type: ItemType.TextString, value: message } as const]),
    ],
  };
}

const customTag = a.VendorAttribute.tag;

/**
 * Whether the version can show an item. 1.x shows only Vendor Attributes of a client (`x-…`) or the server (`y-…`),
 * since it cannot name those of other vendors, and only values whose type it has. No version shows a Link of a type that
 * it lacks, so that its clients do not change what they cannot see.
 */
function named(item: Item, version: Version): boolean {
  if (item.tag === a.Link.tag) return inVersion(item, version) !== undefined;
  if (item.tag !== customTag || !isVersion1(version)) return true;
  return /^[xy]\0./s.test(vendorKeyOf(item)) && !isNew(item);
}

/** True for a type that 1.x does not have: Date-Time Extended came with 2.0. */
function isNew(item: Item): boolean {
  return item.type === ItemType.Structure
    ? item.value.some(isNew)
    : item.type === ItemType.DateTimeExtended;
}

/**
 * The values of one attribute as the version shows them, with their indexes; none if the object has none or the
 * version does not have the attribute.
 */
export function attributeValues(
  object: ManagedObject,
  reference: AttributeReference,
  version: Version,
): readonly Attribute[] {
  const { tag, key } = reference;
  if (!attributeVisible(tag, version)) return [];
  const compute = derived.get(tag);
  if (compute !== undefined) {
    const item = compute(object);
    return item !== undefined && applies(object, tag, version) ? [{ item, index: 0 }] : [];
  }
  if (homeOf(tag) === "fixed") {
    const fixed = object.fixed.filter((item) => item.tag === tag);
    if (fixed.length > 0) return fixed.map((item, index) => ({ item, index }));
  }
  const name = { tag, key: tag === customTag ? key : "" };
  return shown(currentValues(object.registers, name), version);
}

/** Every object shows these in every version, regardless of the table's object types. */
const shownAlways = new Set<number>([
  a.UniqueIdentifier.tag,
  a.ObjectType.tag,
  a.LeaseTime.tag,
  a.LastChangeDate.tag,
]);

/** Computed attributes exist only for the table's object types: an object of another type must not fail a search. */
function applies(object: ManagedObject, tag: number, version: Version): boolean {
  if (shownAlways.has(tag)) return true;
  const type = knownObjectTypeName(object.objectType);
  return type !== undefined && attributeVisible(tag, version, type);
}

const tableOrder: readonly number[] = Object.values(attributes).map((row) => row.tag);

/** All attributes of an object as the version shows them, in the order of the table. */
export function allAttributes(object: ManagedObject, version: Version): readonly Attribute[] {
  const all: Attribute[] = [];
  for (const tag of tableOrder) {
    if (tag !== customTag) {
      all.push(...attributeValues(object, { tag, key: "" }, version));
      continue;
    }
    all.push(...vendorAttributes(object, version));
  }
  return all;
}

/** The values of all Vendor Attributes that the version can name. */
export function vendorAttributes(object: ManagedObject, version: Version): readonly Attribute[] {
  const registers = object.registers.filter(({ tag }) => tag === customTag);
  return shown(valuesOf(registers), version);
}

function shown(values: readonly CurrentValue[], version: Version): readonly Attribute[] {
  return values
    .filter(({ value }) => named(value, version))
    .map(({ value, index }) => ({ item: value, index }));
}
