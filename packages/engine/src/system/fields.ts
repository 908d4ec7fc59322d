import {
  boolean,
  byteString,
  type Item,
  ItemType,
  longInteger,
  structure,
  textString,
} from "@holdfast/ttlv";
import type { z } from "zod";
import { ItemReader, RecordError, safe, typed } from "../record/record-items.ts";
import { recordTags as tags } from "../record/record-tags.ts";

/** How a value of a system record is written as an item and read again. */
export interface Field<Value> {
  /** The item's own tag; a field without one is kept under its name. */
  readonly tag?: number | undefined;
  readonly item: (tag: number, value: Value) => Item;
  /** Undefined for an item that is not such a value; throws if the whole record is then not valid. */
  readonly read: (item: Item) => Value | undefined;
}

/** A field of the fixed part that a record may lack. */
export interface Optional<Value> extends Field<Value> {
  readonly optional: true;
}

/** A field that has a value even if nobody wrote one. */
export interface Defaulted<Value> extends Field<Value> {
  readonly otherwise: Value;
}

/** A field with one value per key, such as a region: each has its own last writer. */
export interface Keyed<Value> extends Field<Value> {
  readonly keyed: true;
}

/** A field with a value of any type. */
export interface AnyField {
  readonly tag?: number | undefined;
  readonly item: (tag: number, value: never) => Item;
  readonly read: (item: Item) => unknown;
  readonly optional?: true;
  readonly otherwise?: unknown;
  readonly keyed?: true;
}

/** A text, which must match `form` if that is given. */
export function text(of: { readonly tag?: number; readonly form?: RegExp } = {}): Field<string> {
  const { tag, form } = of;
  const read = (item: Item) => {
    const value = textOf(item);
    return form === undefined || form.test(value ?? "") ? value : undefined;
  };
  return { tag, item: textString, read };
}

/** One of these texts. */
export function oneOf<const Values extends readonly string[]>(
  values: Values,
): Field<Values[number]> {
  return { item: textString, read: (item) => values.find((value) => value === textOf(item)) };
}

/** One or more of these texts, none of which has a space; kept with spaces between them, so that one is as `oneOf`. */
export function someOf<const Values extends readonly string[]>(
  values: Values,
): Field<readonly Values[number][]> {
  const known = (text: string): text is Values[number] => values.includes(text);
  return {
    item: (tag, some) => textString(tag, some.join(" ")),
    read: (item) => {
      const words = textOf(item)?.split(" ") ?? [];
      return words.every(known) && words.length > 0 ? words : undefined;
    },
  };
}

/** Words, kept with spaces between them. A value of another type is an empty list, so that an unreadable limit allows nothing. */
export const words: Field<readonly string[]> = {
  item: (tag, some) => textString(tag, some.join(" ")),
  read: (item) => (textOf(item) ?? "").split(" ").filter((word) => word !== ""),
};

/** A safe integer, kept as decimal text. */
export const number: Field<number> = {
  item: (tag, value) => textString(tag, String(value)),
  read: (item) => {
    const value = textOf(item) ?? "";
    return /^-?\d{1,16}$/.test(value) && Number.isSafeInteger(Number(value))
      ? Number(value)
      : undefined;
  },
};

/** A value of a schema, kept as JSON text. */
export function json<Value>(schema: z.ZodType<Value>): Field<Value> {
  return {
    item: (tag, value) => textString(tag, JSON.stringify(schema.parse(value))),
    read: (item) => {
      try {
        return schema.safeParse(JSON.parse(textOf(item) ?? "")).data;
      } catch {
        return undefined;
      }
    },
  };
}

/** A whole number up to a limit, kept as a LongInteger; a record with a higher one is not valid. */
export function long(tag: number, max = Number.MAX_SAFE_INTEGER): Field<number> {
  return {
    tag,
    item: (itemTag, value) => longInteger(itemTag, BigInt(value)),
    read: (item) => {
      const value = safe(typed(item, ItemType.LongInteger));
      if (value > max) throw new RecordError(`tag ${tag}: ${value} is above ${max}`);
      return value;
    },
  };
}

export function bytes(tag: number): Field<Uint8Array> {
  return { tag, item: byteString, read: (item) => typed(item, ItemType.ByteString) };
}

export function flag(tag: number): Field<boolean> {
  return { tag, item: boolean, read: (item) => typed(item, ItemType.Boolean) };
}

/** A KEK as one region's root of trust wrapped it. `blob` contains its own scheme and root key version. */
export interface Wrap {
  readonly rootOfTrust: string;
  readonly rootKeyVersion: string;
  readonly blob: Uint8Array;
}

/** See `Wrap`. */
export const wrap: Field<Wrap> = {
  tag: tags.KekWrap,
  item: (tag, { rootOfTrust, rootKeyVersion, blob }) =>
    structure(tag, [
      textString(tags.RootOfTrust, rootOfTrust),
      textString(tags.RootKeyVersion, rootKeyVersion),
      byteString(tags.WrapBlob, blob),
    ]),
  read: (item) => {
    try {
      const reader = new ItemReader(typed(item, ItemType.Structure));
      const rootOfTrust = typed(reader.item(tags.RootOfTrust), ItemType.TextString);
      const rootKeyVersion = typed(reader.item(tags.RootKeyVersion), ItemType.TextString);
      const blob = typed(reader.item(tags.WrapBlob), ItemType.ByteString);
      reader.end();
      return { rootOfTrust, rootKeyVersion, blob };
    } catch {
      return undefined;
    }
  },
};

export function optional<Value>(field: Field<Value>): Optional<Value> {
  return { ...field, optional: true };
}

export function defaulted<Value>(field: Field<Value>, otherwise: Value): Defaulted<Value> {
  return { ...field, otherwise };
}

export function keyed<Value>(field: Field<Value>): Keyed<Value> {
  return { ...field, keyed: true };
}

function textOf(item: Item): string | undefined {
  return item.type === ItemType.TextString ? item.value : undefined;
}
