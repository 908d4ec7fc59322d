import {
  type Attribute,
  attributeByTag,
  attributeItem,
  attributes,
  attributeValue,
  attributeVisible,
  type IdentifierReference,
  KmipError,
  type ObjectTypeName,
  type Version,
  vendorKeyOf,
} from "@holdfast/kmip";
import { encode, encodedLength, type Item, ItemType } from "@holdfast/ttlv";
import type { Register, Stamp } from "../record/record.ts";
import { compareRegisters } from "../record/register-codec.ts";
import { registersMax } from "../record/registers.ts";
import { homeOf } from "./attribute-home.ts";

/** The new object, and the request's context, for which `sortGiven` sorts attributes. */
export interface GivenFor {
  readonly version: Version;
  readonly objectType: ObjectTypeName;
  /** True when the server generates the object, and so knows its creation date and random number generator. */
  readonly made: boolean;
  readonly stamp: Stamp;
  readonly resolve: (reference: IdentifierReference) => string;
}

/** A request's attributes of a new object, sorted. */
export interface Given {
  readonly registers: readonly Register[];
  /** The request's values of attributes that the server sets itself, to be compared with the server's. */
  readonly stated: readonly Item[];
  /** False when the client says that the object was served already (KMIP 2.1, 4.24). */
  readonly fresh: boolean;
}

/** Sorts the attributes of a new object by their homes; refuses those that a client cannot set. */
export function sortGiven(given: readonly Attribute[], target: GivenFor): Given {
  const kept: Item[] = [];
  const stated: Item[] = [];
  const single = new Set<number>();
  let fresh = true;
  for (const { item } of given) {
    checkMay(item, target);
    if (attributeByTag(item.tag)?.multi === false) {
      if (single.has(item.tag)) throw singleValued(item.tag);
      single.add(item.tag);
    }
    const { tag } = item;
    if (tag === attributes.Fresh.tag) fresh = attributeValue("Fresh", item);
    else if (isStated(tag, target.made)) stated.push(item);
    else kept.push(...normalised(item, target));
  }
  return { registers: registersOf(kept, target.stamp), stated, fresh };
}

/** The request's value of an attribute that the server sets itself. */
export function statedItem(given: Given, tag: number): Item | undefined {
  return given.stated.find((item) => item.tag === tag);
}

/** Refuses the request's values of attributes that the server sets, unless they equal the server's values. */
export function checkStated(given: Given, fixed: readonly Item[]): void {
  for (const item of given.stated) {
    const wire = encode(item);
    const own = fixed.filter(({ tag }) => tag === item.tag);
    if (own.some((candidate) => Buffer.compare(encode(candidate), wire) === 0)) continue;
    const { name, atCreation } = attributeByTag(item.tag) ?? { name: "", atCreation: false };
    throw new KmipError(
      atCreation === true ? "invalidAttributeValue" : "attributeReadOnly",
      `${name} differs from what the server computes`,
    );
  }
}

function checkMay(item: Item, { version, objectType }: GivenFor): void {
  const row = attributeByTag(item.tag);
  if (row === undefined || !attributeVisible(item.tag, version, objectType)) {
    throw new KmipError("invalidAttribute", `${row?.name ?? "?"} does not apply to ${objectType}`);
  }
  const home = homeOf(item.tag);
  const serversOwn = item.tag === attributes.VendorAttribute.tag && isServerVendor(item);
  if (serversOwn || (row.setBy === "server" && home !== "fixed")) {
    throw new KmipError("attributeReadOnly", `only the server sets ${row.name}`);
  }
}

/** Vendor `y` marks the 1.x attributes that the server makes (KMIP 2.1, 4.60). */
function isServerVendor(item: Item): boolean {
  return vendorKeyOf(item).startsWith("y\0");
}

/** The client sets creation date and generator of a registered object; the server knows all else in `fixed`. */
function isStated(tag: number, made: boolean): boolean {
  if (homeOf(tag) !== "fixed") return false;
  const { OriginalCreationDate, RandomNumberGenerator } = attributes;
  return made || (tag !== OriginalCreationDate.tag && tag !== RandomNumberGenerator.tag);
}

function singleValued(tag: number): KmipError {
  const name = attributeByTag(tag)?.name ?? "the attribute";
  return new KmipError("attributeSingleValued", `${name} has one value only`);
}

function negativeTotal(): KmipError {
  return new KmipError("invalidAttributeValue", "Usage Limits Total must not be negative");
}

/** A value in the form that is stored, and the values that follow from it. */
export function normalised(item: Item, { resolve }: Pick<GivenFor, "resolve">): readonly Item[] {
  switch (item.tag) {
    case attributes.Link.tag: {
      const { type, linkedObjectIdentifier } = attributeValue("Link", item);
      if (typeof linkedObjectIdentifier === "string") return [item];
      const identifier = resolve(linkedObjectIdentifier);
      return [attributeItem("Link", { type, linkedObjectIdentifier: identifier })];
    }
    case attributes.UsageLimits.tag: {
      const { total, unit } = attributeValue("UsageLimits", item);
      if (total < 0n) throw negativeTotal();
      return [attributeItem("UsageLimits", { total, unit })];
    }
    case attributes.ApplicationSpecificInformation.tag: {
      const { data } = attributeValue("ApplicationSpecificInformation", item);
      if (data !== undefined) return [item];
      throw new KmipError(
        "applicationNamespaceNotSupported",
        "the server makes no Application Data for this namespace",
      );
    }
    case attributes.Sensitive.tag: {
      const sensitive = attributeValue("Sensitive", item);
      return sensitive ? [item, attributeItem("AlwaysSensitive", true)] : [item];
    }
    case attributes.Extractable.tag: {
      const extractable = attributeValue("Extractable", item);
      return extractable ? [item] : [item, attributeItem("NeverExtractable", true)];
    }
    default:
      return [item];
  }
}

/** One register per value, in order; a repeated value is kept once. */
function registersOf(items: readonly Item[], stamp: Stamp): readonly Register[] {
  const registers: Register[] = [];
  const indexes = new Map<string, number>();
  const seen = new Set<string>();
  for (const item of items) {
    const { tag } = item;
    const key = tag === attributes.VendorAttribute.tag ? vendorKeyOf(item) : "";
    const wire = Buffer.from(encode(item)).toString("latin1");
    if (seen.has(wire)) continue;
    seen.add(wire);
    const name = `${tag} ${key}`;
    const index = indexes.get(name) ?? 0;
    indexes.set(name, index + 1);
    registers.push({ tag, key, index, origin: "", value: item, stamp });
  }
  if (registers.length > registersMax) {
    throw new KmipError("tooManyAttributes", `an object has at most ${registersMax} attributes`);
  }
  checkSize(registers);
  return registers.toSorted(compareRegisters);
}

/** Most bytes that the attributes of one object may take, so that every read can carry its record. */
const attributeBytesMax = 1 << 20;

/** Refuses attributes larger than an object may hold; a deleted value counts the length of its name. */
export function checkSize(registers: readonly Register[]): void {
  let bytes = 0;
  for (const { key, value } of registers) {
    bytes += value === undefined ? key.length : encodedLength(value);
  }
  if (bytes <= attributeBytesMax) return;
  throw new KmipError(
    "tooManyAttributes",
    `an object's attributes take at most ${attributeBytesMax} bytes together`,
  );
}

/** Refuses Names that differ only in their type: a Name is found by its value (KMIP 2.1, 4.32). */
export function checkNames(registers: readonly Register[]): void {
  const seen = new Set<string>();
  for (const { tag, value } of registers) {
    if (tag !== attributes.Name.tag || value === undefined) continue;
    const name = attributeValue("Name", value).value;
    if (seen.has(name)) throw new KmipError("nonUniqueName", "the object has this Name twice");
    seen.add(name);
  }
}

/** The date that changed, and when the object became Active, if it did. */
interface DateChange {
  readonly tag: number;
  readonly activated: number | undefined;
}

const { ActivationDate, DeactivationDate, ProcessStartDate, ProtectStopDate } = attributes;
/** Pairs of dates whose second must not be before the first (KMIP 2.1, 4.40 and 4.41). */
const orderedDates = [
  [ActivationDate, ProcessStartDate],
  [ProtectStopDate, DeactivationDate],
] as const;

/** Refuses dates that contradict each other; after a change, only those that contradict the changed date. */
export function checkDates(registers: readonly Register[], change?: DateChange): void {
  const date = (tag: number): bigint | undefined => {
    const activated = tag === ActivationDate.tag ? change?.activated : undefined;
    if (activated !== undefined) return BigInt(activated);
    const value = registers.find((register) => register.tag === tag)?.value;
    return value?.type === ItemType.DateTime ? value.value : undefined;
  };
  for (const [early, late] of orderedDates) {
    if (change !== undefined && change.tag !== early.tag && change.tag !== late.tag) continue;
    inOrder(date(early.tag), date(late.tag), late.name, early.name);
  }
}

function inOrder(
  first: bigint | undefined,
  second: bigint | undefined,
  late: string,
  early: string,
): void {
  if (first === undefined || second === undefined || first <= second) return;
  throw new KmipError("invalidAttributeValue", `${late} must not be before ${early}`);
}
