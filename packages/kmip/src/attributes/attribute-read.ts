import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { type Fields, type StructType, struct } from "../schema/schema.ts";
import { atRest, type Version } from "../schema/version.ts";
import { attributeByTag, attributeVisible } from "./attribute-lookup.ts";
import type { AttributeRow } from "./attribute-row.ts";
import { attributes } from "./attributes.ts";

/** Checks an attribute's item by its row and version; returns it with fields in table order. */
export type Reader = (row: AttributeRow, item: Item, version: Version) => Item;

type AnyType = AttributeRow["type"];

function canonical(type: AnyType, item: Item, version: Version): Item {
  return type.encode(item.tag, type.decode(item, version), atRest) ?? item;
}

/** Reads a value to store: it must be complete. */
export const readAttribute: Reader = (row, item, version) => canonical(row.type, item, version);

function partial(row: AttributeRow): AnyType {
  const { type } = row;
  if (!("fields" in type)) return type;
  const whole = (type as StructType<Fields>).fields;
  const fields = Object.entries(whole).map(([key, field]) => [
    key,
    { ...field, presence: "optional" as const },
  ]);
  return struct(row.name, Object.fromEntries(fields) as Fields);
}

const partials: ReadonlyMap<number, AnyType> = new Map(
  Object.values(attributes).map((row) => [row.tag, partial(row)]),
);

function isDate(row: AttributeRow, item: Item): boolean {
  return row.type.itemType === ItemType.DateTime && item.type === ItemType.DateTime;
}

/** Reads a value to search for: structures may lack fields; the greatest date means "no date". */
export const readFilter: Reader = (row, item, version) =>
  isDate(row, item) ? item : canonical(partials.get(row.tag) ?? row.type, item, version);

/** A value to search for, in a version. Refuses what that cannot express: less finds more. */
export function filterInVersion(item: Item, version: Version): Item {
  const row = attributeByTag(item.tag);
  if (row === undefined || !attributeVisible(item.tag, version)) {
    const name = row?.name ?? "an attribute";
    throw new KmipError("invalidAttribute", `${name} is not known in KMIP ${version}`);
  }
  if (isDate(row, item)) return item;
  const type = partials.get(row.tag) ?? row.type;
  return type.encode(item.tag, type.decode(item, version), version) ?? item;
}
