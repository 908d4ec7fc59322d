import { isIP } from "node:net";
import { z } from "zod";
import { type Address, parseAddress } from "../base/address.ts";

/** One row of the configuration: its valid values, its default, and its purpose. */
export interface Setting<Value> {
  readonly kind: "setting";
  readonly schema: z.ZodType<Value>;
  /** Completes "must be …". */
  readonly expects: string;
  /** As printed in the reference; absent = required, "" = none. */
  readonly default?: string;
  readonly unit?: string;
  readonly doc: string;
  /** Never echo its value. */
  readonly secret?: boolean;
  /** Its texts are paths relative to the configuration file's folder, unless they are PEM text themselves. */
  readonly path?: boolean;
  /** The node itself makes, replaces or removes this file, so no other setting may name it. */
  readonly written?: boolean;
  /** Its files hold nothing secret. */
  readonly isPublic?: boolean;
}

/** Settings under one name. */
export interface Group<Rows extends SettingRows> {
  readonly kind: "group";
  readonly doc: string;
  readonly rows: Rows;
}

/** A group that may be left out as a whole; then it is undefined. */
export interface OptionalGroup<Rows extends SettingRows> extends Group<Rows> {
  readonly optional: true;
}

/** A list of groups. */
export interface List<Rows extends SettingRows> {
  readonly kind: "list";
  readonly doc: string;
  readonly rows: Rows;
}

/** A table of settings. */
export interface SettingRows {
  readonly [name: string]:
    | Setting<unknown>
    | Group<SettingRows>
    | OptionalGroup<SettingRows>
    | List<SettingRows>;
}

/** The values that a table of settings describes. */
export type Values<Rows> = {
  readonly [Name in keyof Rows]: Rows[Name] extends Setting<infer Value>
    ? Value
    : Rows[Name] extends Group<infer Inner>
      ? Values<Inner> | (Rows[Name] extends { readonly optional: true } ? undefined : never)
      : Rows[Name] extends List<infer Inner>
        ? readonly Values<Inner>[]
        : never;
};

/** Makes a group row. */
export function group<Rows extends SettingRows>(doc: string, rows: Rows): Group<Rows> {
  return { kind: "group", doc, rows };
}

/** Makes a group row that may be left out. */
export function optionalGroup<Rows extends SettingRows>(
  doc: string,
  rows: Rows,
): OptionalGroup<Rows> {
  return { ...group(doc, rows), optional: true };
}

/** Makes a row that holds a list of groups; empty when left out. */
export function list<Rows extends SettingRows>(doc: string, rows: Rows): List<Rows> {
  return { kind: "list", doc, rows };
}

/** A text that matches a pattern. */
export function text(
  doc: string,
  expects: string,
  pattern: RegExp,
  whenLeftOut?: string,
): Setting<string> {
  const schema = z.string().regex(pattern);
  if (whenLeftOut === undefined) return { kind: "setting", schema, expects, doc };
  const row = { schema: schema.default(whenLeftOut), default: whenLeftOut };
  return { kind: "setting", ...row, expects, doc };
}

/** A name of a region, a node and the like. */
export function shortName(doc: string): Setting<string> {
  const expects = "1 to 32 lower-case letters, digits or hyphens";
  return text(doc, expects, /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);
}

/** A secret text that matches a pattern: never echoed. */
export function secretText(doc: string, expects: string, check: (value: string) => boolean) {
  const schema = z.string().refine(check);
  return { kind: "setting", schema, expects, doc, secret: true } satisfies Setting<string>;
}

/** A file, relative to the configuration file. */
export function file(doc: string): Setting<string> {
  const expects = "the path of a file";
  return { kind: "setting", schema: z.string().min(1), expects, doc, path: true };
}

/** The same, for a file that the node makes, replaces or removes. */
export function writtenFile(doc: string): Setting<string> {
  return { ...file(doc), written: true };
}

/** One file or a list of files. */
export function files(doc: string): Setting<readonly string[]> {
  const one = z.string().min(1);
  const schema = z.union([one.transform((path) => [path]), z.array(one).min(1)]);
  const expects = "the path of a file, or a list of them";
  return { kind: "setting", schema, expects, doc, path: true };
}

/** A list of texts, empty when left out. */
export function texts(
  doc: string,
  expects: string,
  check: (value: string) => boolean = (value) => value !== "",
): Setting<readonly string[]> {
  const schema = z.array(z.string().refine(check)).default([]);
  return { kind: "setting", schema, expects, default: "[]", doc };
}

/** A list of PEM files or PEM texts, empty when left out. */
export function pems(doc: string): Setting<readonly string[]> {
  return { ...texts(doc, "a list of PEM files or PEM texts"), path: true };
}

/** A whole number with bounds and a unit; without a default it must be given, unless the row is made `optional`. */
export function integer(
  doc: string,
  bounds: { readonly min: number; readonly max: number; readonly default?: number },
  unit?: string,
): Setting<number> {
  const { min, max } = bounds;
  const schema = z.number().int().min(min).max(max);
  return {
    kind: "setting",
    schema: bounds.default === undefined ? schema : schema.default(bounds.default),
    expects: `a whole number from ${min} to ${max}${unit === undefined ? "" : ` (${unit})`}`,
    ...(bounds.default === undefined ? {} : { default: String(bounds.default) }),
    ...(unit === undefined ? {} : { unit }),
    doc,
  };
}

/** True or false. */
export function flag(doc: string, whenLeftOut: boolean): Setting<boolean> {
  const schema = z.boolean().default(whenLeftOut);
  return { kind: "setting", schema, expects: "true or false", default: String(whenLeftOut), doc };
}

/** One of a few words. */
export function choice<const Words extends readonly [string, ...string[]]>(
  doc: string,
  words: Words,
  whenLeftOut: Words[number],
): Setting<Words[number]> {
  const schema = z.enum(words as unknown as [Words[number], ...Words[number][]]);
  return {
    kind: "setting",
    schema: schema.default(whenLeftOut as never) as z.ZodType<Words[number]>,
    expects: words.length === 1 ? `"${words[0]}"` : `one of ${words.join(", ")}`,
    default: whenLeftOut,
    doc,
  };
}

const address = z.string().transform((value, context): Address => {
  const parsed = parseAddress(value);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "not an address" });
  return z.NEVER;
});

/** Where a listener binds: an IP address and a port. */
export function listenAddress(doc: string, whenLeftOut: string): Setting<Address> {
  return {
    kind: "setting",
    schema: address.refine(({ host }) => isIP(host) !== 0).prefault(whenLeftOut),
    expects: "an IP address and a port, such as 127.0.0.1:5696 or [::1]:5696",
    default: whenLeftOut,
    doc,
  };
}

/** Where another server is found: a name or an IP address, and a port. */
export function remoteAddress(doc: string): Setting<Address> {
  return {
    kind: "setting",
    schema: address,
    expects: "a host and a port, such as 127.0.0.1:6379",
    doc,
  };
}

/** A list of other servers. */
export function remoteAddresses(doc: string): Setting<readonly Address[]> {
  return {
    kind: "setting",
    schema: z.array(address).default([]),
    expects: "a list of hosts with ports, such as [10.0.0.1:26379]",
    default: "[]",
    doc,
  };
}

/** A list of other servers, one at least. */
export function someAddresses(doc: string): Setting<readonly Address[]> {
  return {
    kind: "setting",
    schema: z.array(address).min(1),
    expects: "a list of one or more hosts with ports, such as [10.0.1.1:9443]",
    doc,
  };
}

/** Makes a row that may be left out. */
export function optional<Value>(row: Setting<Value>): Setting<Value | undefined> {
  return { ...row, schema: row.schema.optional(), default: "" };
}

/** The schema of a whole table: unknown names are errors, a group that is left out gets its defaults. */
export function schemaOf<Rows extends SettingRows>(rows: Rows): z.ZodType<Values<Rows>> {
  const shape = Object.fromEntries(
    Object.entries(rows).map(([name, row]) => [name, rowSchema(row)]),
  );
  return z.preprocess((value) => value ?? {}, z.strictObject(shape)) as unknown as z.ZodType<
    Values<Rows>
  >;
}

function rowSchema(row: SettingRows[string]): z.ZodType {
  if (row.kind === "setting") return row.schema;
  if (row.kind === "group") {
    const schema = schemaOf(row.rows);
    return "optional" in row ? schema.optional() : schema;
  }
  return z.preprocess((value) => value ?? [], z.array(schemaOf(row.rows)));
}
