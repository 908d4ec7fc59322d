import {
  type Attribute,
  attributeItem,
  attributes,
  attributeValue,
  type KeyBlock,
  KmipError,
  keyBlockOf,
  objectTypeOf,
  objectValue,
  type Version,
  within,
} from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import { type Given, sortGiven, statedItem } from "../attributes/given-attributes.ts";
import { describeObject, type StatedKey } from "../material/key-format.ts";
import { checkProtection, givenFor, storeNew } from "../material/new-object.ts";
import { withTemplates } from "../material/template.ts";
import type { Handler } from "../ports/operation-context.ts";

/** Stores an object that the client made, unchanged (KMIP 2.1, 6.1.43). */
export const register: Handler<"Register"> = async (context, request) => {
  const { object } = request;
  if (object === undefined) throw new KmipError("missingField", "the object is missing");
  const objectType = objectTypeOf(object);
  if (objectType === undefined || objectType !== request.objectType) {
    throw new KmipError("invalidObjectType", "the object is not of the given Object Type");
  }
  checkProtection(request.protectionStorageMasks);
  const target = givenFor(context, objectType, false);
  const expanded = await withTemplates(context, request.attributes);
  const given = sortGiven([...expanded, ...implied(object, context.version)], target);
  const uniqueIdentifier = await storeNew(context, {
    objectType,
    material: object,
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

/** Attributes that follow from the object itself. */
function implied(object: Item, version: Version): readonly Attribute[] {
  return objectTypeOf(object) === "Template"
    ? ownNames(object, version)
    : wrappingLink(keyBlockOf(object));
}

/** A wrapped object is linked to the key that wraps it (KMIP 2.1, 6.1.43). */
function wrappingLink(block: KeyBlock | undefined): readonly Attribute[] {
  const identifier = block?.keyWrappingData?.encryptionKeyInformation?.uniqueIdentifier;
  if (identifier === undefined) return [];
  const link = { type: "WrappingKeyLink", linkedObjectIdentifier: identifier } as const;
  return [{ item: attributeItem("Link", link) }];
}

/** A Template's name may be inside it in 1.0 and 1.1; from 1.2 it must not (KMIP 1.2, 11.4). */
function ownNames(template: Item, version: Version): readonly Attribute[] {
  const names = objectValue("Template", template).attributes.filter(
    ({ item }) => item.tag === attributes.Name.tag,
  );
  if (names.length > 0 && within(version, "1.2")) {
    throw new KmipError("invalidField", "a Template's Name belongs beside it, not in it");
  }
  return names;
}
