import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "./faults.ts";
import { type EnumerationText, enumeration, type ValueType } from "./value-type.ts";
import { isVersion1 } from "./version.ts";

/**
 * How a request names an object (KMIP 2.1, 4.58): by its identifier; from 2.0 on also by a value of
 * the Unique Identifier enumeration (such as ID Placeholder) or a position in the batch.
 */
export type IdentifierReference =
  | string
  | { readonly special: EnumerationText<"UniqueIdentifier"> }
  | { readonly position: number };

const special = enumeration("UniqueIdentifier");

/** Unique Identifier in requests. */
export const identifierReference: ValueType<IdentifierReference> = {
  itemType: "any",
  decode: (item, version) => {
    if (item.type === ItemType.TextString) return item.value;
    if (!isVersion1(version) && item.type === ItemType.Enumeration) {
      return { special: special.decode(item, version) };
    }
    if (!isVersion1(version) && item.type === ItemType.Integer) return { position: item.value };
    throw new KmipError("invalidMessage", "Unique Identifier must be a Text String");
  },
  encode: (tag, value, version): Item => {
    if (typeof value === "string") return { tag, type: ItemType.TextString, value };
    if ("position" in value) return { tag, type: ItemType.Integer, value: value.position };
    return special.encode(tag, value.special, version) as Item;
  },
};
