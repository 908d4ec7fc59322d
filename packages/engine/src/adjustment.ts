import { attributeByTag, KmipError, type Request } from "@holdfast/kmip";
import { bigIntegerFromBigint, bigIntegerToBigint, type Item, ItemType } from "@holdfast/ttlv";

type Adjustment = Request<"AdjustAttribute">["adjustmentType"];

/** What an attribute without a value counts as: 0, or False (KMIP 2.1, 6.1.3). */
export function unset(tag: number): Item {
  switch (attributeByTag(tag)?.type.itemType) {
    case ItemType.Integer:
      return { tag, type: ItemType.Integer, value: 0 };
    case ItemType.LongInteger:
      return { tag, type: ItemType.LongInteger, value: 0n };
    case ItemType.Interval:
      return { tag, type: ItemType.Interval, value: 0 };
    case ItemType.Boolean:
      return { tag, type: ItemType.Boolean, value: false };
    default:
      throw wrongType();
  }
}

/** The item after an adjustment, by 1 unless said otherwise (KMIP 2.1, 11.1). */
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

function negated(item: Item): Item {
  switch (item.type) {
    case ItemType.Boolean:
      return { ...item, value: !item.value };
    case ItemType.Integer:
    case ItemType.LongInteger:
    case ItemType.BigInteger:
      return withNumber(item, -numberOf(item));
    default:
      throw wrongType();
  }
}

/** By how much: a value of the attribute's own type, or seconds for a date. */
function amount(item: Item, by: Item | undefined): bigint {
  if (by === undefined) return 1n;
  const isSeconds = item.type === ItemType.DateTime && by.type === ItemType.Interval;
  if (by.type !== item.type && !isSeconds) throw wrongType();
  return numberOf(by);
}

function numberOf(item: Item): bigint {
  switch (item.type) {
    case ItemType.Integer:
    case ItemType.Interval:
      return BigInt(item.value);
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return item.value;
    case ItemType.BigInteger:
      return bigIntegerToBigint(item.value);
    default:
      throw wrongType();
  }
}

function withNumber(item: Item, number: bigint): Item {
  switch (item.type) {
    case ItemType.Integer:
    case ItemType.Interval:
      return { ...item, value: Number(inRange(item.type, number)) };
    case ItemType.LongInteger:
    case ItemType.DateTime:
    case ItemType.DateTimeExtended:
      return { ...item, value: inRange(item.type, number) };
    case ItemType.BigInteger:
      return { ...item, value: bigIntegerFromBigint(number) };
    default:
      throw wrongType();
  }
}

const long = [-(2n ** 63n), 2n ** 63n - 1n] as const;
/** Dates are kept as numbers of seconds. */
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
  return new KmipError("invalidDataType", "the attribute's type cannot be adjusted so");
}
