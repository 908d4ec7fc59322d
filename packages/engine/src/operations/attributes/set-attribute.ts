import { KmipError, referenceOf } from "@holdfast/kmip";
import { withAdded, withModified } from "../../attributes/attribute-change.ts";
import { attributeValues } from "../../attributes/attribute-view.ts";
import type { Handler } from "../../ports/operation-context.ts";

/** Gives an attribute its one value, new or changed (KMIP 2.1, 6.1.51). */
export const setAttribute: Handler<"SetAttribute"> = async (context, request) => {
  const { item } = request.newAttribute;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = attributeValues(object, referenceOf(item), context.version);
    if (values.length > 1) {
      throw new KmipError("attributeMultiValued", "the attribute has several values");
    }
    const [only] = values;
    return only === undefined
      ? withAdded(object, item, context).object
      : withModified(object, item, only.index ?? 0, context).object;
  });
  return { uniqueIdentifier };
};
