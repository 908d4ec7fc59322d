import {
  type Attribute,
  type AttributeReference,
  attributeByTag,
  isVersion1,
  KmipError,
  type Request,
  referenceOf,
} from "@holdfast/kmip";
import { attributeAnswer } from "../../attributes/attribute-answer.ts";
import { withDeleted } from "../../attributes/attribute-change.ts";
import { currentIndex, valueAtIndex, valuesToChange } from "../../attributes/attribute-choice.ts";
import type { Handler, OperationContext } from "../../ports/operation-context.ts";

/** Deletes one value or, with a 2.x reference, all values of an attribute (KMIP 2.1, 6.1.13; KMIP 1.4, 4.16). */
export const deleteAttribute: Handler<"DeleteAttribute"> = async (context, request) => {
  const { version } = context;
  const current = request.currentAttribute?.item;
  const reference = current === undefined ? request.reference : referenceOf(current);
  if (reference === undefined) {
    throw new KmipError("invalidMessage", "the request names no attribute to delete");
  }
  let deleted: Attribute | undefined;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = valuesToChange(object, reference, "delete", version);
    const indexes = indexesOf(request, reference, values, context);
    deleted = values.find(({ index }) => index === indexes[0]);
    context.requireRoom(attributeAnswer(object.uniqueIdentifier, deleted, version));
    return indexes.reduce((left, index) => withDeleted(left, reference, index, context), object);
  });
  return attributeAnswer(uniqueIdentifier, deleted, version);
};

/** The indexes of the values that a request selects. */
function indexesOf(
  { attributeIndex, currentAttribute }: Request<"DeleteAttribute">,
  reference: AttributeReference,
  values: readonly Attribute[],
  context: OperationContext,
): readonly number[] {
  if (isVersion1(context.version)) {
    if (context.version === "1.0") checkIndex(attributeIndex, reference, values);
    return [valueAtIndex(values, attributeIndex ?? 0)];
  }
  if (currentAttribute !== undefined) return [currentIndex(values, currentAttribute.item, context)];
  return values.flatMap(({ index }) => index ?? []);
}

/** 1.0 requires an index if there are several values, and none for a single-valued attribute (KMIP 1.0, 11.16). */
function checkIndex(
  index: number | undefined,
  { tag }: AttributeReference,
  values: readonly Attribute[],
): void {
  if (index === undefined && values.length > 1) {
    throw new KmipError("invalidField", "the attribute has several values: say which");
  }
  if (index !== undefined && attributeByTag(tag)?.multi !== true) {
    throw new KmipError("attributeInstanceNotFound", "the attribute has no Attribute Index");
  }
}
