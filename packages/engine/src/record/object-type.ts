import { enumerations, type ObjectTypeName } from "@holdfast/kmip";
import { enumerationValue } from "../base/enumeration-value.ts";

const names: ReadonlyMap<number, ObjectTypeName> = new Map(
  (Object.keys(enumerations.ObjectType) as ObjectTypeName[]).map((name) => [
    enumerationValue("ObjectType", name),
    name,
  ]),
);

/** The name of a record's Object Type (KMIP 2.1, 11.34). */
export function objectTypeName(value: number): ObjectTypeName {
  const name = knownObjectTypeName(value);
  if (name === undefined) throw new Error(`object type ${value} is not in the table`);
  return name;
}

/** The same; undefined if another region's record has a type that this release does not know. */
export function knownObjectTypeName(value: number): ObjectTypeName | undefined {
  return names.get(value);
}
