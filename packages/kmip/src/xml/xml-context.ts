import { attributeByName, isCustomName } from "../attributes/attribute-lookup.ts";
import { tags } from "../schema/tags.ts";

export interface Sibling {
  readonly tag: number;
  readonly text: string | undefined;
}

/**
 * The tag that determines the enumeration or mask of a child's value. This is its own tag, except
 * for the Attribute Value of a 1.x Attribute: that uses the tag that its Attribute Name names.
 */
export function valueTag(tag: number, siblings: readonly Sibling[]): number {
  if (tag !== tags.AttributeValue.tag) return tag;
  if (siblings.some((one) => one.tag === tags.VendorIdentification.tag)) return tag;
  const name = siblings.find((one) => one.tag === tags.AttributeName.tag)?.text;
  if (name === undefined || isCustomName(name)) return tag;
  return attributeByName(name)?.tag ?? tag;
}
