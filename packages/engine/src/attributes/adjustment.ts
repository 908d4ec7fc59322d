import { attributeByTag, KmipError, type Request } from "@holdfast/kmip";
import {
  bigIntegerFromBigint,
  bigIntegerToBigint,
  type DateTime,
  type DateTimeExtended,
  type Integer,
  type Interval,
  type Item,
  ItemType,
  type LongInteger,
} from "@holdfast/ttlv";

type Adjustment = Request<"AdjustAttribute">["adjustmentType"];

/** The value assumed for an attribute that has none: 0, or False (KMIP 2.1, 6.1.3). */
export function unset(tag: number): Item {
  const type = attributeByTag(tag)?.type.itemType;
  if (type === ItemType.Integer || type === ItemType.Interval) return { tag, type, value: 0 };
  if (type === ItemType.LongInteger) return { tag, type, value: 0n };
  if (type === ItemType.Boolean) return { tag, type, value: false };
  throw wrongType();
}

/** The item after an adjustment. The amount defaults to 1 (KMIP 2.1, 11.1). */
export function adjusted(item: Item, how: Adjustment, by: Item | undefined): Item {
  switch (how) {
    case "Increment":
      return withNumber(item, numberOf(item) + amount(item, by));
    case "Decrement":
      return withNumber(item, numberOf(item) - amount(item, by));
    case "Negate":
      return negated(item);
    default:
      throw new KmipError("invalidField", "the Adjustment Type is not known");
  }
}

const negatable: ReadonlySet<ItemType> = new Set([
  ItemType.Integer,
  ItemType.LongInteger,
  ItemType.BigInteger,
]);

function negated(item: Item): Item {
  if (item.type === ItemType.Boolean) return { ...item, value: !item.value };
  if (negatable.has(item.type)) return withNumber(item, -numberOf(item));
  throw wrongType();
}

/** The amount of the adjustment: a value of the attribute's own type, or seconds for a date. */
function amount(item: Item, by: Item | undefined): bigint {
  if (by === undefined) return 1n;
  const isSeconds = item.type === ItemType.DateTime && by.type === ItemType.Interval;
  if (by.type !== item.type && !isSeconds) throw wrongType();
  return numberOf(by);
}

/** Items that hold a number, and items that hold a bigint. */
type Small = Integer | Interval;
type Large = LongInteger | DateTime | DateTimeExtended;

function isSmall(item: Item): item is Small {
  return item.type === ItemType.Integer || item.type === ItemType.Interval;
}

function isLarge(item: Item): item is Large {
  const { type } = item;
  if (type === ItemType.LongInteger || type === ItemType.DateTime) return true;
  return type === ItemType.DateTimeExtended;
}

function numberOf(item: Item): bigint {
  if (isSmall(item)) return BigInt(item.value);
  if (isLarge(item)) return item.value;
  if (item.type === ItemType.BigInteger) return bigIntegerToBigint(item.value);
  throw wrongType();
}

function withNumber(item: Item, number: bigint): Item {
  if (isSmall(item)) return { ...item, value: Number(inRange(item.type, number)) };
  if (isLarge(item)) return { ...item, value: inRange(item.type, number) };
  if (item.type === ItemType.BigInteger) return { ...item, value: bigIntegerFromBigint(number) };
  throw wrongType();
}

const long = [-(2n ** 63n), 2n ** 63n - 1n] as const;
/** Dates are stored as a JavaScript number of seconds. */
const dates = [BigInt(Number.MIN_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER)] as const;
const ranges = {
  [ItemType.Integer]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ItemType.Interval]: [0n, 2n ** 32n - 1n],
  [ItemType.LongInteger]: long,
  [ItemType.DateTime]: dates,
  [ItemType.DateTimeExtended]: long,
} as const;

function inRange(type: keyof typeof ranges, number: bigint): bigint {
  const [least, most] = ranges[type];
  if (number >= least && number <= most) return number;
  throw new KmipError("numericRange", "the adjusted value is out of range");
}

function wrongType(): KmipError {
  return new KmipError("invalidDataType", "the attribute's type does not support this adjustment");
}
