import { attributeItem, attributes, KmipError, type ObjectTypeName } from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import {
  checkDates,
  checkNames,
  checkStated,
  type Given,
  type GivenFor,
} from "../attributes/given-attributes.ts";
import { enumerationValue } from "../base/enumeration-value.ts";
import type { OperationContext } from "../ports/operation-context.ts";
import { creatorItems } from "../record/creator.ts";
import { dueSurely } from "../record/lifecycle.ts";
import type { Facts, ManagedObject } from "../record/record.ts";
import { plannedDates } from "../record/registers.ts";
import { checkApproved } from "./approved-key.ts";
import { sealObject } from "./material.ts";
import { digestItems, isDigest, sealDigests } from "./object-digest.ts";

/** An object that is about to be stored. */
export interface NewObject {
  readonly objectType: ObjectTypeName;
  /** The structure as registered or made; a key may have come without its value (KMIP 2.1, 4.27). */
  readonly material: Item;
  readonly given: Given;
  /** Attributes that the server derived from the object. */
  readonly described: readonly Item[];
  /** True when the server made the material. */
  readonly made: boolean;
}

/** The target of `sortGiven`, in an operation that makes a new object. */
export function givenFor(
  context: OperationContext,
  objectType: ObjectTypeName,
  made: boolean,
): GivenFor {
  const { nowUs, objects, region, version } = context;
  return {
    version,
    objectType,
    made,
    stamp: { us: nowUs, region },
    resolve: (reference) => objects.resolve(reference),
  };
}

/** Stores a new object with what the server sets for it (KMIP 2.1, 4), and returns its identifier. */
export async function storeNew(context: OperationContext, fresh: NewObject): Promise<string> {
  const { ids, instance, keyRing, nowSeconds, objects } = context;
  const { given, material } = fresh;
  if (context.settings.approvedOnly) checkApproved(fresh.objectType, fresh.described);
  const described = fixedItems(fresh, nowSeconds);
  checkStated(given, withStatedDigests(fresh, described));
  checkDates(given.registers);
  checkNames(given.registers);
  const uniqueIdentifier = ids.uuid();
  const objectType = enumerationValue("ObjectType", fresh.objectType);
  const binding = { instance, uniqueIdentifier, objectType };
  // The identifier and the sealed parts are made together, once, so that every retry sends the same bytes.
  const [sealed, digest] = await Promise.all([
    sealObject(keyRing, binding, material),
    sealDigests(keyRing, binding, digestItems(fresh.objectType, material)),
  ]);
  const object: ManagedObject = {
    ...binding,
    fixed: [...described, ...digest, ...creatorItems(context.fingerprint)],
    material: sealed,
    facts: factsOf(context, given),
    registers: given.registers,
    lastChange: nowSeconds,
  };
  await objects.create(object);
  return uniqueIdentifier;
}

/** Adds the Digests that the record does not keep in clear, if the request states one. */
function withStatedDigests(
  { given, material, objectType }: NewObject,
  described: readonly Item[],
): readonly Item[] {
  if (!given.stated.some(isDigest)) return described;
  return [...described, ...digestItems(objectType, material)];
}

function fixedItems({ described, made }: NewObject, nowSeconds: number): readonly Item[] {
  const items = [
    ...described,
    attributeItem("InitialDate", nowSeconds),
    ...(made
      ? [
          attributeItem("OriginalCreationDate", nowSeconds),
          attributeItem("RandomNumberGenerator", { rngAlgorithm: "Unspecified" }),
        ]
      : []),
  ];
  return items.toSorted((a, b) => a.tag - b.tag);
}

const noFacts: Facts = {};

/** An Activation Date that has come makes the object Active at once (KMIP 2.1, 4.57). */
function factsOf(context: OperationContext, given: Given): Facts {
  const { nowSeconds, region } = context;
  const facts = dueSurely(noFacts, plannedDates(given.registers), context, region);
  return given.fresh ? facts : { ...facts, served: { time: nowSeconds, region } };
}

/** Protection Storage Mask's bit for keys that software protects (KMIP 2.1, 12.2). */
export const softwareProtection = 0x01;

/** Refuses a request if the server satisfies none of its Protection Storage Masks (KMIP 2.1, 7.33). */
export function checkProtection(asked: { readonly masks: readonly number[] } | undefined): void {
  if (asked === undefined || asked.masks.length === 0) return;
  if (asked.masks.some((mask) => (mask & ~softwareProtection) === 0)) return;
  throw new KmipError("protectionStorageUnavailable", "objects are protected by software only");
}

/** Adds a usage mask if the request states none, since every key has one (KMIP 2.1, 4 and 4.17). */
export function withUsageMask(given: Given, mask: number, target: GivenFor): Given {
  const { tag } = attributes.CryptographicUsageMask;
  if (given.registers.some((register) => register.tag === tag)) return given;
  const value = attributeItem("CryptographicUsageMask", mask);
  const register = { tag, key: "", index: 0, origin: "", value, stamp: target.stamp };
  const registers = [...given.registers, register].toSorted((a, b) => a.tag - b.tag);
  return { ...given, registers };
}
