import { attributes, tags } from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";

/** The greatest Date-Time, assumed for a date that an object does not have (KMIP 2.1, 6.1.28). */
export const noDate = 0x7fff_ffff_ffff_ffffn;

/** Whether one value of an object matches the value in a filter (KMIP 2.1, 6.1.28). */
export function valueMatches(wanted: Item, value: Item): boolean {
  switch (wanted.tag) {
    case attributes.CryptographicUsageMask.tag:
      return contains(wanted, value);
    case attributes.UsageLimits.tag:
      return fieldsMatch(wanted, value, atLeast);
    default:
      return equalOrPart(wanted, value);
  }
}

/** Whether an object's date (`noDate` if it has none) is within the limits, both included. */
export function dateMatches(least: bigint, most: bigint, value: Item | undefined): boolean {
  const date = value?.type === ItemType.DateTime ? value.value : noDate;
  return least <= date && date <= most;
}

/** All wanted bits must be set; others may be set too. */
function contains(wanted: Item, value: Item): boolean {
  if (wanted.type !== ItemType.Integer || value.type !== ItemType.Integer) return false;
  return (wanted.value & ~value.value) === 0;
}

/** Whether two items are equal; a structure must have at least the fields that the filter has. */
function equalOrPart(wanted: Item, value: Item): boolean {
  return wanted.type === ItemType.Structure
    ? fieldsMatch(wanted, value, equalOrPart)
    : equal(wanted, value);
}

type Compare = (wanted: Item, value: Item) => boolean;

function fieldsMatch(wanted: Item, value: Item, compare: Compare): boolean {
  if (wanted.type !== ItemType.Structure || value.type !== ItemType.Structure) return false;
  return wanted.value.every((field) =>
    value.value.some((candidate) => candidate.tag === field.tag && compare(field, candidate)),
  );
}

/** A field of Usage Limits: the amounts may be larger than wanted, the unit must be equal. */
function atLeast(wanted: Item, value: Item): boolean {
  const { UsageLimitsCount, UsageLimitsTotal } = tags;
  const amount = wanted.tag === UsageLimitsCount.tag || wanted.tag === UsageLimitsTotal.tag;
  if (!amount) return equal(wanted, value);
  if (wanted.type !== ItemType.LongInteger || value.type !== ItemType.LongInteger) return false;
  return wanted.value <= value.value;
}

function equal(wanted: Item, value: Item): boolean {
  if (wanted.type === ItemType.ByteString && value.type === ItemType.ByteString) {
    return Buffer.compare(wanted.value, value.value) === 0;
  }
  if (wanted.type === ItemType.BigInteger && value.type === ItemType.BigInteger) {
    return isSameNumber(wanted.value, value.value);
  }
  return wanted.type === value.type && wanted.value === value.value;
}

/** Whether two Big Integers are the same number: the longer one may be sign-extended. Converts neither, which takes long. */
function isSameNumber(one: Uint8Array, other: Uint8Array): boolean {
  const [short, long] = one.length < other.length ? [one, other] : [other, one];
  const more = long.length - short.length;
  if (Buffer.compare(long.subarray(more), short) !== 0) return false;
  const sign = (short[0] ?? 0) >= 0x80 ? 0xff : 0;
  return long.subarray(0, more).every((byte) => byte === sign);
}
