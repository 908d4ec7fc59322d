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

/** The values of an attribute that a client may change so; throws when it may not, or when the attribute has none. */
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

/** The 1.x value of an Attribute Index (KMIP 1.4, 4.15 and 4.16). */
export function valueAtIndex(values: readonly Attribute[], index: number): number {
  if (values.some((value) => value.index === index)) return index;
  throw notFound("the attribute has no value with this Attribute Index");
}

/** The index of a 2.x Current Attribute, or of the only value when none is said (KMIP 2.1, 6.1.34). */
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

/** References as identifiers, Usage Limits without what is left of them. */
function comparable(item: Item, context: OperationContext): Item {
  const { Link, UsageLimits } = attributes;
  return item.type === ItemType.Structure && (item.tag === Link.tag || item.tag === UsageLimits.tag)
    ? kept(item, context)
    : item;
}

function notFound(message: string): KmipError {
  return new KmipError("attributeInstanceNotFound", message);
}
