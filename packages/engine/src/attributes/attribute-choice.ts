import {
  type Attribute,
  type AttributeReference,
  attributes,
  KmipError,
  type Version,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import type { OperationContext } from "../ports/operation-context.ts";
import type { ManagedObject } from "../record/record.ts";
import { kept, sameItem } from "./attribute-change.ts";
import { type AttributeAction, requireAllowed } from "./attribute-rules.ts";
import { attributeValues } from "./attribute-view.ts";

/** The values of an attribute; throws if a client may not change it by `action`, or if it has no value. */
export function valuesToChange(
  object: ManagedObject,
  reference: AttributeReference,
  action: AttributeAction,
  version: Version,
): readonly Attribute[] {
  requireAllowed(object, reference, action, version);
  const values = attributeValues(object, reference, version);
  if (values.length === 0) {
    throw new KmipError("attributeNotFound", "the object does not have the attribute");
  }
  return values;
}

/** The index, if the attribute has a value with this 1.x Attribute Index; else throws (KMIP 1.4, 4.15 and 4.16). */
export function valueAtIndex(values: readonly Attribute[], index: number): number {
  if (values.some((value) => value.index === index)) return index;
  throw notFound("the attribute has no value with this Attribute Index");
}

/** The index of a 2.x Current Attribute or, if the request has none, of the only value (KMIP 2.1, 6.1.34). */
export function currentIndex(
  values: readonly Attribute[],
  current: Item | undefined,
  context: OperationContext,
): number {
  if (current === undefined) {
    const [only, ...others] = values;
    if (only?.index === undefined || others.length > 0) {
      throw notFound("the attribute has several values");
    }
    return only.index;
  }
  const wanted = comparable(current, context);
  const found = values.find(({ item }) => sameItem(comparable(item, context), wanted));
  if (found?.index === undefined) throw notFound("the attribute has no such value");
  return found.index;
}

/** The item as it is compared: a Link with its object's identifier, Usage Limits without their Count. */
function comparable(item: Item, context: OperationContext): Item {
  const { Link, UsageLimits } = attributes;
  return item.type === ItemType.Structure && (item.tag === Link.tag || item.tag === UsageLimits.tag)
    ? kept(item, context)
    : item;
}

function notFound(message: string): KmipError {
  return new KmipError("attributeInstanceNotFound", message);
}
