import {
  type Attribute,
  type AttributeReference,
  isVersion1,
  KmipError,
  referenceOf,
} from "@holdfast/kmip";
import { attributeAnswer } from "../attribute-answer.ts";
import { existing, indexMeant, withDeleted } from "../attribute-change.ts";
import type { OperationContext } from "../context.ts";
import type { Handler } from "../handlers.ts";
import type { ManagedObject } from "../record.ts";

/** Deletes one value, or with a 2.x reference all of an attribute's (KMIP 2.1, 6.1.13; KMIP 1.4, 4.16). */
export const deleteAttribute: Handler<"DeleteAttribute"> = async (context, request) => {
  const { version } = context;
  const current = request.currentAttribute?.item;
  const reference = current === undefined ? request.reference : referenceOf(current);
  if (reference === undefined) {
    throw new KmipError("invalidMessage", "the request names no attribute to delete");
  }
  let deleted: Attribute | undefined;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = existing(object, reference, version);
    if (current === undefined && !isVersion1(version)) {
      return withoutAll(object, reference, values, context);
    }
    const index = indexMeant(values, { current, index: request.attributeIndex ?? 0 }, context);
    deleted = values.find((value) => value.index === index);
    return withDeleted(object, reference, index, context).object;
  });
  return attributeAnswer(uniqueIdentifier, deleted, version);
};

function withoutAll(
  object: ManagedObject,
  reference: AttributeReference,
  values: readonly Attribute[],
  context: OperationContext,
): ManagedObject {
  return values.reduce(
    (left, { index }) => withDeleted(left, reference, index ?? 0, context).object,
    object,
  );
}
