import type { Attribute } from "@holdfast/kmip";
import { isVersion1, type Version } from "@holdfast/kmip";

/** What an attribute operation answers: 1.x the attribute with its index, 2.x the identifier alone (KMIP 1.4, 4.14). */
export function attributeAnswer(
  uniqueIdentifier: string,
  attribute: Attribute | undefined,
  version: Version,
): { readonly uniqueIdentifier: string; readonly attribute?: Attribute } {
  return isVersion1(version) && attribute !== undefined
    ? { uniqueIdentifier, attribute }
    : { uniqueIdentifier };
}
