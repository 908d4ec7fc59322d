import { type AttributeReference, attributeByTag, KmipError, type Request } from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import { withAdded, withModified } from "../attribute-change.ts";
import { attributeValues } from "../attribute-view.ts";
import type { Handler } from "../handlers.ts";

type Adjustment = Request<"AdjustAttribute">["adjustmentType"];

/** Increments, decrements or negates an attribute's one value (KMIP 2.1, 6.1.3). */
export const adjustAttribute: Handler<"AdjustAttribute"> = async (context, request) => {
  const { adjustmentType, adjustmentValue, reference } = request;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const values = attributeValues(object, reference, context.version);
    if (values.length > 1) {
      throw new KmipError("attributeMultiValued", "the attribute has several values");
    }
    const [only] = values;
    const item = adjusted(only?.item ?? zero(reference), adjustmentType, adjustmentValue);
    return only === undefined
      ? withAdded(object, item, context).object
      : withModified(object, item, only.index ?? 0, context).object;
  });
  return { uniqueIdentifier };
};

/** What an attribute without a value counts as: 0, or false. */
function zero({ tag }: AttributeReference): Item {
  switch (attributeByTag(tag)?.type.itemType) {
    case ItemType.Integer:
      return { tag, type: ItemType.Integer, value: 0 };
    case ItemType.LongInteger:
      return { tag, type: ItemType.LongInteger, value: 0n };
    case ItemType.Interval:
      return { tag, type: ItemType.Interval, value: 0 };
    case ItemType.Boolean:
      return { tag, type: ItemType.Boolean, value: false };
    case undefined:
      throw new KmipError("unsupportedAttribute", "no such attribute");
    default:
      throw wrongType();
  }
}

function wrongType(): KmipError {
  return new KmipError("invalidDataType", "the attribute's type cannot be adjusted so");
}

function adjusted(item: Item, how: Adjustment, by: Item | undefined): Item {
  if (how === "Negate") return negated(item);
  if (how !== "Increment" && how !== "Decrement") {
    throw new KmipError("invalidField", "the Adjustment Type is not known");
  }
  const sign = how === "Increment" ? 1n : -1n;
  switch (item.type) {
    case ItemType.Integer:
      return inRange({ ...item, value: Number(BigInt(item.value) + sign * amount(item, by)) });
    case ItemType.Interval:
      return inRange({ ...item, value: Number(BigInt(item.value) + sign * amount(item, by)) });
    case ItemType.LongInteger:
      return inRange({ ...item, value: item.value + sign * amount(item, by) });
    case ItemType.DateTime:
      return inRange({ ...item, value: item.value + sign * amount(item, by) });
    default:
      throw wrongType();
  }
}

/** By how much: a value of the attribute's type (an Interval for a date), 1 when none is given. */
function amount(item: Item, by: Item | undefined): bigint {
  if (by === undefined) return 1n;
  const wanted = item.type === ItemType.DateTime ? ItemType.Interval : item.type;
  if (by.type !== wanted && by.type !== item.type) throw wrongType();
  if (typeof by.value !== "number" && typeof by.value !== "bigint") throw wrongType();
  return BigInt(by.value);
}

function negated(item: Item): Item {
  switch (item.type) {
    case ItemType.Boolean:
      return { ...item, value: !item.value };
    case ItemType.Integer:
      return inRange({ ...item, value: -item.value });
    case ItemType.LongInteger:
      return inRange({ ...item, value: -item.value });
    default:
      throw wrongType();
  }
}

const limits: Readonly<Partial<Record<ItemType, readonly [bigint, bigint]>>> = {
  [ItemType.Integer]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ItemType.Interval]: [0n, 2n ** 32n - 1n],
  [ItemType.LongInteger]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ItemType.DateTime]: [-(2n ** 63n), 2n ** 63n - 1n],
};

function inRange<Of extends Extract<Item, { value: number | bigint }>>(item: Of): Of {
  const [least, most] = limits[item.type] ?? [0n, 0n];
  const value = BigInt(item.value);
  if (value < least || value > most) {
    throw new KmipError("numericRange", "the adjusted value is out of range");
  }
  return item;
}
