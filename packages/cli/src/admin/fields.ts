import type { z } from "zod";

/** How a field of the contract is given on a command line. */
export type FieldKind =
  | "text"
  | "number"
  | "time"
  | "switch"
  | "choice"
  | "list"
  | "pairs"
  | "json";

/** A field of a query or body, as an option. */
export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly choices: readonly string[];
  readonly required: boolean;
  readonly description: string;
}

interface Shape {
  readonly kind: FieldKind;
  readonly choices?: readonly string[];
}

const kinds: Readonly<Record<string, (schema: z.core.$ZodType) => Shape>> = {
  string: (schema) => ({ kind: formatOf(schema) === "datetime" ? "time" : "text" }),
  number: () => ({ kind: "number" }),
  boolean: () => ({ kind: "switch" }),
  enum: (schema) => choiceOf(valuesOf(schema)),
  record: () => ({ kind: "pairs" }),
  array: listOf,
};

/** The fields of an object schema of the contract; any other schema has none. */
export function fieldsOf(schema: z.core.$ZodType | undefined): readonly Field[] {
  const shape = schema === undefined ? undefined : shapeOf(schema);
  return Object.entries(shape ?? {}).map(([name, field]) => {
    const { inner, required } = bare(field);
    const { kind, choices = [] } = kinds[typeOf(inner)]?.(inner) ?? { kind: "json" as const };
    const again = kind === "list" ? "give the option again for each" : "";
    const description = [describe(field), again, rangeOf(inner), usualOf(field)]
      .filter((part) => part !== "")
      .join("; ");
    return { name, kind, choices, required, description };
  });
}

/** `createdAfter` as `--created-after`. */
export function optionOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `pem-out` and `createdAfter` as commander keeps them. */
export function camel(option: string): string {
  return option.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

interface Definition {
  readonly type: string;
  readonly innerType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly element?: z.core.$ZodType;
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  readonly entries?: Readonly<Record<string, string>>;
  readonly format?: string;
  readonly defaultValue?: unknown;
}

function definition(schema: z.core.$ZodType): Definition {
  return schema._zod.def as unknown as Definition;
}

function typeOf(schema: z.core.$ZodType): string {
  return definition(schema).type;
}

function shapeOf(schema: z.core.$ZodType): Definition["shape"] {
  return definition(schema).shape;
}

function formatOf(schema: z.core.$ZodType): string | undefined {
  return definition(schema).format;
}

function valuesOf(schema: z.core.$ZodType): readonly string[] {
  return Object.values(definition(schema).entries ?? {});
}

/** An enumeration of the texts `true` and `false` is a switch. */
function choiceOf(values: readonly string[]): Shape {
  const isSwitch = values.length === 2 && values.includes("true") && values.includes("false");
  return isSwitch ? { kind: "switch" } : { kind: "choice", choices: values };
}

function listOf(schema: z.core.$ZodType): Shape {
  const { element } = definition(schema);
  if (element === undefined) return { kind: "json" };
  if (typeOf(element) === "enum") return { kind: "list", choices: valuesOf(element) };
  return { kind: typeOf(element) === "string" ? "list" : "json" };
}

/** The schema without its optional, default and pipe wrappers, and whether a value is required. */
function bare(schema: z.core.$ZodType): {
  readonly inner: z.core.$ZodType;
  readonly required: boolean;
} {
  let inner = schema;
  let required = true;
  for (;;) {
    const { type, innerType, in: input } = definition(inner);
    if (type === "optional" || type === "default" || type === "prefault") required = false;
    const next = innerType ?? (type === "pipe" ? input : undefined);
    if (next === undefined) return { inner, required };
    inner = next;
  }
}

type Limits = Partial<Record<"minValue" | "maxValue" | "minLength" | "maxLength", number | null>>;

/** The range of a number or of a text's length; the latter only if its minimum is above 1. */
function rangeOf(schema: z.core.$ZodType): string {
  const { minValue, maxValue, minLength, maxLength } = schema as unknown as Limits;
  if (typeof minValue === "number" && typeof maxValue === "number") {
    return maxValue < Number.MAX_SAFE_INTEGER ? `${minValue} to ${maxValue}` : "";
  }
  const isText = typeof minLength === "number" && typeof maxLength === "number";
  return isText && minLength > 1 ? `${minLength} to ${maxLength} characters` : "";
}

/** The default value of a field, as text. */
function usualOf(schema: z.core.$ZodType): string {
  const { type, defaultValue } = definition(schema);
  const plain = typeof defaultValue === "number" || typeof defaultValue === "string";
  return type === "default" && plain ? `${defaultValue} unless given` : "";
}

/** The description is on the field, or on a schema that it wraps. */
function describe(schema: z.core.$ZodType): string {
  let at: z.core.$ZodType | undefined = schema;
  while (at !== undefined) {
    const { description } = at as { readonly description?: string };
    if (description !== undefined) return description;
    at = definition(at).innerType;
  }
  return "";
}
