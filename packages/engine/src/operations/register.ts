import {
  type Attribute,
  attributeItem,
  attributes,
  attributeValue,
  type IdentifierReference,
  isVersion1,
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
import { healing } from "../material/healing.ts";
import { describeObject, type StatedKey } from "../material/key-format.ts";
import { openObject } from "../material/material.ts";
import { checkProtection, givenFor, storeNew } from "../material/new-object.ts";
import { withTemplates } from "../material/template.ts";
import type { Handler, OperationContext } from "../ports/operation-context.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import { objectTypeName } from "../record/object-type.ts";
import type { ManagedObject } from "../record/record.ts";

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
  if (keyBlockOf(object)?.keyFormatType === "PKCS_12") await checkPassword(context, given);
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

/** A PKCS#12 container is linked to the password that protects it (KMIP 1.4, 11.4; KMIP 2.1, 6.1.43). */
async function checkPassword(context: OperationContext, { registers }: Given): Promise<void> {
  const links = registers.flatMap(({ tag, value }) =>
    value !== undefined && tag === attributes.Link.tag ? [attributeValue("Link", value)] : [],
  );
  const [only, ...others] = links.filter(({ type }) => type === "PKCS_12PasswordLink");
  if (only === undefined || others.length > 0) {
    throw new KmipError("badPassword", "PKCS#12 needs one PKCS#12 Password Link");
  }
  if (await isPassword(context, only.linkedObjectIdentifier)) return;
  throw new KmipError("badPassword", "the PKCS#12 Password Link must name a password");
}

async function isPassword(
  context: OperationContext,
  reference: IdentifierReference,
): Promise<boolean> {
  try {
    const found = await context.objects.load(reference);
    const { objectType, facts } = found.object;
    if (objectTypeName(objectType) !== "SecretData" || isDestroyed(facts)) return false;
    const open = (object: ManagedObject) => openObject(context.keyRing, object);
    const { result } = await healing(context, found, open);
    return objectValue("SecretData", result).secretDataType === "Password";
  } catch (error) {
    if (error instanceof KmipError && error.fault === "objectNotFound") return false;
    throw error;
  }
}

/** Attributes that follow from the object itself. */
function implied(object: Item, version: Version): readonly Attribute[] {
  return objectTypeOf(object) === "Template"
    ? ownNames(object, version)
    : wrappingLink(keyBlockOf(object), version);
}

/** A wrapped object is linked to the key that wraps it (KMIP 2.1, 6.1.43); 1.x has no such Link. */
function wrappingLink(block: KeyBlock | undefined, version: Version): readonly Attribute[] {
  const identifier = block?.keyWrappingData?.encryptionKeyInformation?.uniqueIdentifier;
  if (identifier === undefined || isVersion1(version)) return [];
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
