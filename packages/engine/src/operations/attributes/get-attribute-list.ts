import { type AttributeReference, referenceOf } from "@holdfast/kmip";
import { allAttributes } from "../../attributes/attribute-view.ts";
import { withDigestsIfOpen } from "../../material/object-digest.ts";
import type { Handler } from "../../ports/operation-context.ts";

/** The names of an object's attributes, each once (KMIP 2.1, 6.1.21). */
export const getAttributeList: Handler<"GetAttributeList"> = async (context, request) => {
  const stored = await context.objects.load(request.uniqueIdentifier);
  const object = await withDigestsIfOpen(context.keyRing, stored.object);
  const references = new Map<string, AttributeReference>();
  for (const { item } of allAttributes(object, context.version)) {
    const reference = referenceOf(item);
    references.set(`${reference.tag} ${reference.key}`, reference);
  }
  return { uniqueIdentifier: object.uniqueIdentifier, references: [...references.values()] };
};
