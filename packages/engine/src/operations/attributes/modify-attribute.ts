import { isVersion1, KmipError, referenceOf } from "@holdfast/kmip";
import { writtenAnswer } from "../../attributes/attribute-answer.ts";
import { withModified } from "../../attributes/attribute-change.ts";
import { currentIndex, valueAtIndex, valuesToChange } from "../../attributes/attribute-choice.ts";
import type { Handler } from "../../ports/operation-context.ts";

/** Replaces a value that the object has (KMIP 2.1, 6.1.34; by index in KMIP 1.4, 4.15). */
export const modifyAttribute: Handler<"ModifyAttribute"> = async (context, request) => {
  const { version } = context;
  const { item, index: said = 0 } = request.newAttribute;
  const reference = referenceOf(item);
  const current = request.currentAttribute?.item;
  const other = current === undefined ? reference : referenceOf(current);
  if (other.tag !== reference.tag || other.key !== reference.key) {
    throw new KmipError("invalidField", "Current and New Attribute are not the same attribute");
  }
  let index = 0;
  const changed = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = valuesToChange(object, reference, "modify", version);
    index = isVersion1(version)
      ? valueAtIndex(values, said)
      : currentIndex(values, current, context);
    return withModified(object, item, index, context).object;
  });
  return writtenAnswer(changed, item, index, version);
};
