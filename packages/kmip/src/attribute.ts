import type { Item } from "@holdfast/ttlv";

/**
 * One attribute value in its 2.x form: an item under the attribute's own tag (Vendor Attribute for custom ones),
 * whatever the version on the wire. `index` is what a 1.x request said, absent otherwise.
 */
export interface Attribute {
  readonly item: Item;
  readonly index?: number;
}

/**
 * A reference to an attribute: its tag and, for Vendor Attribute, `vendorIdentification` NUL `attributeName`; else an
 * empty key. A name that no version knows has tag 0 and the name as key. `index` comes from 1.x requests only.
 */
export interface AttributeReference {
  readonly tag: number;
  readonly key: string;
  readonly index?: number;
}

/** What a request gives for a new object: attributes, and in 1.x names of Template objects to take more from. */
export interface AttributeSet {
  readonly attributes: readonly Attribute[];
  /** 1.x only: values of Name items in the Template-Attribute. */
  readonly templateNames: readonly string[];
}
