import {
  type AttributeName,
  type AttributeValue,
  attributes,
  attributeValue,
  inKeyFormat,
  isVersion1,
  type KeyBlock,
  KmipError,
  objectItem,
  tags,
  within,
} from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";
import {
  type Given,
  type GivenFor,
  sortGiven,
  statedItem,
} from "../attributes/given-attributes.ts";
import { describeObject } from "../material/key-format.ts";
import { generateKey, generateSecret } from "../material/key-generation.ts";
import { checkProtection, givenFor, storeNew, withUsageMask } from "../material/new-object.ts";
import { withTemplates } from "../material/template.ts";
import type { Handler, OperationContext } from "../ports/operation-context.ts";

/** Makes a symmetric key, or from 1.4 Secret Data (KMIP 2.1, 6.1.8). */
export const create: Handler<"Create"> = async (context, request) => {
  const { objectType } = request;
  const secret = objectType === "SecretData" && within(context.version, "1.4");
  if (!secret && objectType !== "SymmetricKey") {
    throw new KmipError("invalidObjectType", `${objectType} cannot be created`);
  }
  checkProtection(request.protectionStorageMasks);
  const target = givenFor(context, objectType, true);
  const given = sortGiven(await withTemplates(context, request.attributes), target);
  const uniqueIdentifier = secret
    ? await createSecret(context, given)
    : await createKey(context, given, target);
  return { objectType, uniqueIdentifier };
};

function createKey(context: OperationContext, given: Given, target: GivenFor): Promise<string> {
  const asked = statedValue(given, "CryptographicAlgorithm");
  if (asked === undefined && isVersion1(context.version)) {
    // KMIP 1.4, Table 165. From 2.0 the server chooses.
    throw new KmipError("invalidField", "Cryptographic Algorithm must be given");
  }
  const { algorithm, bytes, length, usage } = generateKey(
    context.ids,
    asked,
    statedValue(given, "CryptographicLength"),
  );
  const raw: KeyBlock = {
    keyFormatType: "Raw",
    keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) },
    cryptographicAlgorithm: algorithm,
    cryptographicLength: length,
  };
  const keyBlock = inKeyFormat(raw, statedValue(given, "KeyFormatType") ?? "Raw");
  if (keyBlock === undefined) throw formatNotSupported();
  const material = objectItem("SymmetricKey", { keyBlock });
  return storeNew(context, {
    objectType: "SymmetricKey",
    material,
    given: withUsageMask(given, usage, target),
    described: describeObject("SymmetricKey", material, {}),
    made: true,
  }).finally(() => bytes.fill(0));
}

/** In OASIS's test cases, created Secret Data is a Password with Key Format Type Opaque. */
const secretFormat = "Opaque";

function createSecret(context: OperationContext, given: Given): Promise<string> {
  const stated = {
    algorithm: statedValue(given, "CryptographicAlgorithm"),
    length: statedValue(given, "CryptographicLength"),
  };
  const keyFormatType = statedValue(given, "KeyFormatType") ?? secretFormat;
  if (keyFormatType !== "Opaque" && keyFormatType !== "Raw") throw formatNotSupported();
  const bytes = generateSecret(context.ids, stated.length);
  const keyMaterial = byteString(tags.KeyMaterial.tag, bytes);
  const material = objectItem("SecretData", {
    secretDataType: "Password",
    keyBlock: { keyFormatType, keyValue: { keyMaterial } },
  });
  return storeNew(context, {
    objectType: "SecretData",
    material,
    given,
    described: describeObject("SecretData", material, stated),
    made: true,
  }).finally(() => bytes.fill(0));
}

function statedValue<N extends AttributeName>(
  given: Given,
  name: N,
): AttributeValue<N> | undefined {
  const item = statedItem(given, attributes[name].tag);
  return item === undefined ? undefined : attributeValue(name, item);
}

function formatNotSupported(): KmipError {
  return new KmipError("keyFormatTypeNotSupported", "the key cannot be made in this format");
}
