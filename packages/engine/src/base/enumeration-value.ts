import { type EnumerationName, enumerations } from "@holdfast/kmip";

/** The number of an enumeration's value (KMIP 2.1, 11), in any version. */
export function enumerationValue<Name extends EnumerationName>(
  name: Name,
  value: keyof (typeof enumerations)[Name] & string,
): number {
  const row = enumerations[name][value] as number | { readonly value: number };
  return typeof row === "number" ? row : row.value;
}
