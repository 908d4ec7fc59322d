import { isVersion1, KmipError, referenceOf } from "@holdfast/kmip";
import { attributeAnswer } from "../attribute-answer.ts";
import { existing, indexMeant, withModified } from "../attribute-change.ts";
import type { Handler } from "../handlers.ts";

/** Replaces a value that the object has (KMIP 2.1, 6.1.34; by index in KMIP 1.4, 4.15). */
export const modifyAttribute: Handler<"ModifyAttribute"> = async (context, request) => {
  const { version } = context;
  const { item, index: said } = request.newAttribute;
  const reference = referenceOf(item);
  const current = request.currentAttribute?.item;
  if (current !== undefined && current.tag !== item.tag) {
    throw new KmipError("invalidField", "Current and New Attribute are not the same attribute");
  }
  let index = 0;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = existing(
      object,
      current === undefined ? reference : referenceOf(current),
      version,
    );
    index = indexMeant(
      values,
      { current, index: isVersion1(version) ? (said ?? 0) : said },
      context,
    );
    return withModified(object, item, index, context).object;
  });
  return attributeAnswer(uniqueIdentifier, { item, index }, version);
};
