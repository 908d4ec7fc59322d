import { isVersion1, type Version, within } from "../schema/version.ts";
import type { AttributeRow, ObjectTypeName } from "./attribute-row.ts";
import { type AttributeName, attributes } from "./attributes.ts";

const entries = Object.entries(attributes) as readonly (readonly [AttributeName, AttributeRow])[];

const rowsByTag: ReadonlyMap<number, AttributeRow> = new Map(
  entries.map(([, row]) => [row.tag, row]),
);
const namesByTag: ReadonlyMap<number, AttributeName> = new Map(
  entries.map(([name, row]) => [row.tag, name]),
);
const rowsByName: ReadonlyMap<string, AttributeRow> = new Map(
  entries
    .filter(([, row]) => row.tag !== attributes.VendorAttribute.tag)
    .map(([, row]) => [row.name, row]),
);

/** The row of an attribute's own tag. */
export function attributeByTag(tag: number): AttributeRow | undefined {
  return rowsByTag.get(tag);
}

/** The name of an attribute in the table, by its own tag. */
export function attributeNameOf(tag: number): AttributeName | undefined {
  return namesByTag.get(tag);
}

/** The row of a 1.x name; for custom ones, `x-…` and `y-…`, Vendor Attribute's (KMIP 1.4, 3.39). */
export function attributeByName(name: string): AttributeRow | undefined {
  return isCustomName(name) ? attributes.VendorAttribute : rowsByName.get(name);
}

/** Whether a 1.x name is that of a Custom Attribute. */
export function isCustomName(name: string): boolean {
  return /^[xy]-./s.test(name);
}

/** Whether a version has an attribute, and has it for `objectType` if that is given. */
export function attributeVisible(
  tag: number,
  version: Version,
  objectType?: ObjectTypeName | (string & {}),
): boolean {
  const row = rowsByTag.get(tag);
  if (row === undefined || !within(version, row.since, row.until)) return false;
  if (objectType === undefined) return true;
  const types: readonly string[] | "all" =
    (isVersion1(version) ? row.objectTypes1 : undefined) ?? row.objectTypes;
  return types === "all" || types.includes(objectType);
}
