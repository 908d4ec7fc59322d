import { type Item, ItemType } from "@holdfast/ttlv";
import {
  type EnumerationName,
  enumerations,
  type MaskName,
  masks,
  type ValueRow,
} from "./enums.ts";
import { KmipError } from "./faults.ts";
import { labelOf } from "./tag-lookup.ts";
import { type Version, within } from "./version.ts";

/** How a value is encoded and decoded, by version. Faults are `KmipError`s. */
export interface ValueType<Value> {
  readonly itemType: ItemType | "any";
  readonly decode: (item: Item, version: Version) => Value;
  /** Undefined if the value is not sent under this tag (one of several alternatives). */
  readonly encode: (tag: number, value: Value, version: Version) => Item | undefined;
}

/** A value type with values of any type, for tables of different ones. */
// biome-ignore lint/suspicious/noExplicitAny: what the name says
export type AnyValueType = ValueType<any>;

function wrongType(item: Item, wanted: string): KmipError {
  return new KmipError("invalidMessage", `${labelOf(item.tag)} must be of type ${wanted}`);
}

/** Seconds since the epoch as a number; refuses 64-bit values beyond the safe integers. */
function seconds(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new KmipError("invalidField", "date out of range");
  return number;
}

export const text: ValueType<string> = {
  itemType: ItemType.TextString,
  decode: (item) => {
    if (item.type !== ItemType.TextString) throw wrongType(item, "Text String");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.TextString, value }),
};

export const bytes: ValueType<Uint8Array> = {
  itemType: ItemType.ByteString,
  decode: (item) => {
    if (item.type !== ItemType.ByteString) throw wrongType(item, "Byte String");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.ByteString, value }),
};

export const integer: ValueType<number> = {
  itemType: ItemType.Integer,
  decode: (item) => {
    if (item.type !== ItemType.Integer) throw wrongType(item, "Integer");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.Integer, value }),
};

export const longInteger: ValueType<bigint> = {
  itemType: ItemType.LongInteger,
  decode: (item) => {
    if (item.type !== ItemType.LongInteger) throw wrongType(item, "Long Integer");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.LongInteger, value }),
};

export const bigInteger: ValueType<Uint8Array> = {
  itemType: ItemType.BigInteger,
  decode: (item) => {
    if (item.type !== ItemType.BigInteger) throw wrongType(item, "Big Integer");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.BigInteger, value }),
};

export const boolean: ValueType<boolean> = {
  itemType: ItemType.Boolean,
  decode: (item) => {
    if (item.type !== ItemType.Boolean) throw wrongType(item, "Boolean");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.Boolean, value }),
};

/** Seconds since the epoch. */
export const dateTime: ValueType<number> = {
  itemType: ItemType.DateTime,
  decode: (item) => {
    if (item.type !== ItemType.DateTime) throw wrongType(item, "Date-Time");
    return seconds(item.value);
  },
  encode: (tag, value) => ({ tag, type: ItemType.DateTime, value: BigInt(value) }),
};

/** Seconds. */
export const interval: ValueType<number> = {
  itemType: ItemType.Interval,
  decode: (item) => {
    if (item.type !== ItemType.Interval) throw wrongType(item, "Interval");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.Interval, value }),
};

/** Microseconds since the epoch (KMIP 2.0 and later). */
export const dateTimeExtended: ValueType<bigint> = {
  itemType: ItemType.DateTimeExtended,
  decode: (item) => {
    if (item.type !== ItemType.DateTimeExtended) throw wrongType(item, "Date-Time Extended");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.DateTimeExtended, value }),
};

/** An enumeration's number, if any number is allowed. */
export const enumerationNumber: ValueType<number> = {
  itemType: ItemType.Enumeration,
  decode: (item) => {
    if (item.type !== ItemType.Enumeration) throw wrongType(item, "Enumeration");
    return item.value;
  },
  encode: (tag, value) => ({ tag, type: ItemType.Enumeration, value }),
};

/** Any item, unchanged: key material, custom attribute values, message extensions. */
export const anyItem: ValueType<Item> = {
  itemType: "any",
  decode: (item) => item,
  encode: (tag, value) => (value.tag === tag ? value : { ...value, tag }),
};

/** A value outside the tables, in the extension range 8xxxxxxx. */
export type ExtensionText = `0x8${string}`;
export type EnumerationText<Name extends EnumerationName> =
  | (keyof (typeof enumerations)[Name] & string)
  | ExtensionText;

interface Values {
  readonly byText: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

const numberOf = (row: ValueRow): number => (typeof row === "number" ? row : row.value);

/** The values of a table that a version has; all of them without a version. */
export function valuesOf(
  rows: Readonly<Record<string, ValueRow>>,
  version?: Version,
): ReadonlyMap<string, number> {
  const byText = new Map<string, number>();
  for (const [name, row] of Object.entries(rows)) {
    const known =
      typeof row === "number" || version === undefined || within(version, row.since, row.until);
    if (known) byText.set(name, numberOf(row));
  }
  return byText;
}

function valuesBothWays(rows: Readonly<Record<string, ValueRow>>, version: Version): Values {
  const byText = valuesOf(rows, version);
  return { byText, byNumber: new Map([...byText].map(([name, value]) => [value, name])) };
}

function perVersion<Compiled>(make: (version: Version) => Compiled): (v: Version) => Compiled {
  const made = new Map<Version, Compiled>();
  return (version) => {
    let compiled = made.get(version);
    if (compiled === undefined) {
      compiled = make(version);
      made.set(version, compiled);
    }
    return compiled;
  };
}

/** The enumeration with this name in the tables; a value that the version lacks is a fault. */
export function enumeration<Name extends EnumerationName>(
  name: Name,
): ValueType<EnumerationText<Name>> {
  const compiled = perVersion((version) => valuesBothWays(enumerations[name], version));
  return {
    itemType: ItemType.Enumeration,
    decode: (item, version) => {
      if (item.type !== ItemType.Enumeration) throw wrongType(item, "Enumeration");
      const known = compiled(version).byNumber.get(item.value);
      if (known !== undefined) return known as EnumerationText<Name>;
      if (item.value >= 0x80000000) return `0x${item.value.toString(16)}` as ExtensionText;
      throw new KmipError(
        "unknownEnumeration",
        `${name} 0x${item.value.toString(16)} is not known in KMIP ${version}`,
      );
    },
    encode: (tag, value, version) => {
      const number = compiled(version).byText.get(value) ?? Number(value);
      if (Number.isNaN(number)) {
        throw new KmipError("generalFailure", `${name} ${value} does not exist in ${version}`);
      }
      return { tag, type: ItemType.Enumeration, value: number };
    },
  };
}

/**
 * An enumeration of which a request may name values that the version lacks. These are decoded as
 * `0x` and their number, and the operation must not answer them.
 */
export function openEnumeration<Name extends EnumerationName>(
  name: Name,
): ValueType<EnumerationText<Name> | `0x${string}`> {
  const known = enumeration(name);
  const compiled = perVersion((version) => valuesBothWays(enumerations[name], version));
  return {
    ...known,
    decode: (item, version) => {
      const unknown =
        item.type === ItemType.Enumeration && !compiled(version).byNumber.has(item.value);
      return unknown ? `0x${item.value.toString(16)}` : known.decode(item, version);
    },
    encode: (tag, value, version) => known.encode(tag, value as EnumerationText<Name>, version),
  };
}

/** Bits of a version and older ones: 2.0 reserves some of 1.x, but OASIS's cases still use them. */
function bitsOf(rows: Readonly<Record<string, ValueRow>>, version: Version): number {
  return Object.values(rows).reduce<number>((bits, row) => {
    if (typeof row === "number") return bits | row;
    return within(version, row.since) ? bits | row.value : bits;
  }, 0);
}

/** The bit mask with this name in the tables, as a number. Unknown bits cause Invalid Field. */
export function mask(name: MaskName): ValueType<number> {
  const compiled = perVersion((version) => bitsOf(masks[name], version));
  return {
    itemType: ItemType.Integer,
    decode: (item, version) => {
      if (item.type !== ItemType.Integer) throw wrongType(item, "Integer");
      if ((item.value & ~compiled(version)) !== 0) {
        throw new KmipError("invalidField", `${name} has bits that ${version} does not know`);
      }
      return item.value;
    },
    encode: (tag, value, version) => ({
      tag,
      type: ItemType.Integer,
      value: value & compiled(version),
    }),
  };
}
