import { KmipError } from "@holdfast/kmip";
import { writtenAnswer } from "../../attributes/attribute-answer.ts";
import { withAdded } from "../../attributes/attribute-change.ts";
import type { Handler } from "../../ports/operation-context.ts";

/** Adds a value that the object does not have yet (KMIP 2.1, 6.1.2). */
export const addAttribute: Handler<"AddAttribute"> = async (context, request) => {
  const { item, index: said } = request.newAttribute;
  if (said !== undefined) {
    throw new KmipError("invalidField", "a new attribute must not have an Attribute Index");
  }
  let index = 0;
  const changed = await context.objects.change(request.uniqueIdentifier, (object) => {
    const added = withAdded(object, item, context);
    index = added.index;
    return added.object;
  });
  return writtenAnswer(changed, item, index, context.version);
};
