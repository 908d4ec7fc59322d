import { type Attribute, isVersion1, referenceOf, type Version } from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import type { ManagedObject } from "../record/record.ts";
import { attributeValues } from "./attribute-view.ts";

/**
 * The response of an attribute operation: in 1.x the identifier and the attribute with its index, in 2.x only the
 * identifier (KMIP 1.4, 4.14).
 */
export function attributeAnswer(
  uniqueIdentifier: string,
  attribute: Attribute | undefined,
  version: Version,
): { readonly uniqueIdentifier: string; readonly attribute?: Attribute } {
  return isVersion1(version) && attribute !== undefined
    ? { uniqueIdentifier, attribute }
    : { uniqueIdentifier };
}

/** The same after a write: with the value as the object has it now. */
export function writtenAnswer(
  object: ManagedObject,
  item: Item,
  index: number,
  version: Version,
): ReturnType<typeof attributeAnswer> {
  const values = attributeValues(object, referenceOf(item), version);
  const attribute = values.find((value) => value.index === index);
  return attributeAnswer(object.uniqueIdentifier, attribute, version);
}
