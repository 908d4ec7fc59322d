import type { Attribute } from "@holdfast/kmip";
import { allAttributes, attributeValues } from "../attribute-view.ts";
import type { Handler } from "../handlers.ts";

/** Attributes by reference, or all of them; one that the object lacks is left out (KMIP 2.1, 6.1.20). */
export const getAttributes: Handler<"GetAttributes"> = async (context, request) => {
  const { object } = await context.objects.load(request.uniqueIdentifier);
  const { uniqueIdentifier } = object;
  const { references } = request;
  if (references.length === 0) {
    return { uniqueIdentifier, attributes: allAttributes(object, context.version) };
  }
  const attributes: Attribute[] = [];
  const seen = new Set<string>();
  for (const reference of references) {
    const name = `${reference.tag} ${reference.key}`;
    if (seen.has(name)) continue;
    seen.add(name);
    attributes.push(...attributeValues(object, reference, context.version));
  }
  return { uniqueIdentifier, attributes };
};
