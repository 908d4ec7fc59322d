import { ItemType } from "@holdfast/ttlv";
import type { Attribute, AttributeReference, AttributeSet } from "./attribute.ts";
import { KmipError } from "./faults.ts";
import type { ValueType } from "./value-type.ts";

function unfinished<Value>(): ValueType<Value> {
  const fail = (): never => {
    throw new KmipError("generalFailure", "not there yet");
  };
  return { itemType: ItemType.Structure, decode: fail, encode: fail };
}

/** 1.x Attribute: name, index, value (KMIP 1.4, 2.1.1). */
export const attribute1: ValueType<Attribute> = unfinished();
/** 1.x Template-Attribute (KMIP 1.4, 2.1.8). */
export const templateAttribute: ValueType<AttributeSet> = unfinished();
/** 2.x Attributes as a list (KMIP 2.1, 7.2). */
export const attributes2: ValueType<readonly Attribute[]> = unfinished();
/** 2.x Attributes as an attribute set without templates. */
export const attributeSet2: ValueType<AttributeSet> = unfinished();
/** 2.x New Attribute or Current Attribute: a structure of one attribute. */
export const oneAttribute2: ValueType<Attribute> = unfinished();
/** 1.x Attribute Name. */
export const attributeName1: ValueType<AttributeReference> = unfinished();
/** 2.x Attribute Reference: an enumeration (the tag) or vendor identification and name (KMIP 2.1, 7.3). */
export const attributeReference2: ValueType<AttributeReference> = unfinished();
