import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { tags } from "../schema/tags.ts";
import { atRest, type Version } from "../schema/version.ts";
import { attributeByTag, attributeVisible } from "./attribute-lookup.ts";
import type { AttributeRow } from "./attribute-row.ts";
import { type AttributeName, type AttributeValue, attributes } from "./attributes.ts";

/**
 * One attribute value in its 2.x form: an item under the attribute's own tag (Vendor Attribute for
 * custom ones), whatever the version on the wire is. `index` exists in 1.x only.
 */
export interface Attribute {
  readonly item: Item;
  readonly index?: number;
}

/**
 * A reference to an attribute: its tag and a key. The key of a Vendor Attribute is
 * `vendorIdentification` NUL `attributeName`; other keys are empty. A name that the version does
 * not know has tag 0 and the name as key. `index` comes from 1.x requests only.
 */
export interface AttributeReference {
  readonly tag: number;
  readonly key: string;
  readonly index?: number;
}

/** A new object's attributes in a request, and in 1.x the names of Template objects with more. */
export interface AttributeSet {
  readonly attributes: readonly Attribute[];
  /** 1.x only: values of Name items in the Template-Attribute. */
  readonly templateNames: readonly string[];
}

function encoded(row: AttributeRow, value: unknown, version: Version): Item {
  const item = row.type.encode(row.tag, value, version);
  if (item === undefined) throw new KmipError("generalFailure", `${row.name} does not encode`);
  return item;
}

/** An attribute as an item, from its typed value. */
export function attributeItem<N extends AttributeName>(name: N, value: AttributeValue<N>): Item {
  return encoded(attributes[name], value, atRest);
}

/** The typed value of an attribute's item, in any version. */
export function attributeValue<N extends AttributeName>(name: N, item: Item): AttributeValue<N> {
  return attributes[name].type.decode(item, atRest) as AttributeValue<N>;
}

/** A Vendor Attribute (KMIP 2.1, 4.60); the value's own tag does not matter. */
export function vendorAttribute(vendorIdentification: string, name: string, value: Item): Item {
  return attributeItem("VendorAttribute", { vendorIdentification, name, value });
}

/** `vendorIdentification` NUL `attributeName` of a Vendor Attribute. */
export function vendorKeyOf(item: Item): string {
  const part = (tag: number): string => {
    const found =
      item.type === ItemType.Structure ? item.value.find((child) => child.tag === tag) : undefined;
    return found?.type === ItemType.TextString ? found.value : "";
  };
  return `${part(tags.VendorIdentification.tag)}\0${part(tags.AttributeName.tag)}`;
}

/** The reference under which an attribute's item is found. */
export function referenceOf(item: Item): AttributeReference {
  const key = item.tag === attributes.VendorAttribute.tag ? vendorKeyOf(item) : "";
  return { tag: item.tag, key };
}

/**
 * Converts an attribute's item to a version, without the fields that the version lacks. Undefined
 * if the version lacks the attribute or a value in it: an answer omits it, and never changes it.
 */
export function inVersion(item: Item, version: Version): Item | undefined {
  const row = attributeByTag(item.tag);
  if (row === undefined || !attributeVisible(item.tag, version)) return undefined;
  try {
    return encoded(row, row.type.decode(item, atRest), version);
  } catch (error) {
    if (error instanceof KmipError) return undefined;
    throw error;
  }
}
