import {
  attributeItem,
  attributes,
  attributeValue,
  KmipError,
  keyBlockOf,
  objectTypeOf,
} from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import { type Given, sortGiven, statedItem } from "../given-attributes.ts";
import type { Handler } from "../handlers.ts";
import { describeObject, type StatedKey } from "../key-format.ts";
import { checkProtection, givenFor, storeNew } from "../new-object.ts";
import { withTemplates } from "../template.ts";

/** Keeps an object that the client made, as it came (KMIP 2.1, 6.1.43). */
export const register: Handler<"Register"> = async (context, request) => {
  const { object } = request;
  if (object === undefined) throw new KmipError("missingField", "the object is missing");
  const objectType = objectTypeOf(object);
  if (objectType === undefined || objectType !== request.objectType) {
    throw new KmipError("invalidObjectType", "the object is not of the Object Type that is said");
  }
  checkProtection(request.protectionStorageMasks);
  const target = givenFor(context, objectType, false);
  const expanded = await withTemplates(context, request.attributes);
  const wrapping = wrappingLink(object);
  const given = sortGiven(wrapping === undefined ? expanded : [...expanded, wrapping], target);
  const uniqueIdentifier = await storeNew(context, {
    objectType,
    material: hasValue(object) ? object : undefined,
    given,
    described: describeObject(objectType, object, statedKey(given)),
    made: false,
  });
  return { uniqueIdentifier };
};

function statedKey(given: Given): StatedKey {
  const algorithm = statedItem(given, attributes.CryptographicAlgorithm.tag);
  const length = statedItem(given, attributes.CryptographicLength.tag);
  return {
    algorithm: algorithm && attributeValue("CryptographicAlgorithm", algorithm),
    length: length && attributeValue("CryptographicLength", length),
  };
}

/** A key may come without its value, which is then elsewhere (KMIP 2.1, 4.27). */
function hasValue(object: Item): boolean {
  const block = keyBlockOf(object);
  return block === undefined || block.keyValue !== undefined;
}

/** A wrapped object is linked to the key that wraps it (KMIP 2.1, 6.1.43). */
function wrappingLink(object: Item): { readonly item: Item } | undefined {
  const wrapping = keyBlockOf(object)?.keyWrappingData;
  const identifier = wrapping?.encryptionKeyInformation?.uniqueIdentifier;
  if (identifier === undefined) return undefined;
  const link = { type: "WrappingKeyLink", linkedObjectIdentifier: identifier } as const;
  return { item: attributeItem("Link", link) };
}
