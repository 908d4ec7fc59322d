import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "./faults.ts";
import { isKnownTag, labelOf } from "./tag-lookup.ts";
import { type TagName, type TagRow, tags } from "./tags.ts";
import type { ValueType } from "./value-type.ts";
import { atRest, ordinal, type Version, versions, within } from "./version.ts";

/** Versions that have a field; none given means all. */
export interface Span {
  readonly since?: Version;
  readonly until?: Version;
}

/** A field's form on the wire in some versions: its tag, whether it repeats, and its value type. */
interface Form extends Span {
  readonly tag: number;
  readonly many: boolean;
  /** Required in the versions of this form, even if the field is optional. */
  readonly required?: true;
  // biome-ignore lint/suspicious/noExplicitAny: forms of different value types share one list
  readonly type: ValueType<any>;
}

type Presence = "required" | "optional";

/** A field of a structure; `_value` exists only for the type. */
export interface Field<Value, P extends Presence> {
  readonly presence: P;
  readonly forms: readonly Form[];
  readonly _value?: Value;
}

// biome-ignore lint/suspicious/noExplicitAny: any value
export type Fields = Readonly<Record<string, Field<any, Presence>>>;

type ValueOf<F> = F extends Field<infer Value, Presence> ? Value : never;

/** The object that a structure with these fields decodes to. */
export type Infer<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Field<unknown, "required"> ? K : never]: ValueOf<F[K]>;
} & {
  readonly [K in keyof F as F[K] extends Field<unknown, "required"> ? never : K]?: ValueOf<F[K]>;
};

function form<Value>(tagName: TagName, type: ValueType<Value>, many: boolean, span: Span): Form {
  const row: TagRow = tags[tagName];
  const since = span.since ?? row.since;
  const until = span.until ?? row.until;
  return {
    tag: row.tag,
    many,
    type,
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  };
}

/** A field that is required in the versions that have it. */
export function required<Value>(
  tag: TagName,
  type: ValueType<Value>,
  span: Span = {},
): Field<Value, "required"> {
  return { presence: "required", forms: [form(tag, type, false, span)] };
}

/** A field that may be absent. */
export function optional<Value>(
  tag: TagName,
  type: ValueType<Value>,
  span: Span = {},
): Field<Value, "optional"> {
  return { presence: "optional", forms: [form(tag, type, false, span)] };
}

/** A field that may be repeated; an empty list if it is absent. */
export function many<Value>(
  tag: TagName,
  type: ValueType<Value>,
  span: Span = {},
): Field<readonly Value[], "required"> {
  return { presence: "required", forms: [form(tag, type, true, span)] };
}

/** A field that is required and may be repeated. */
export function some<Value>(
  tag: TagName,
  type: ValueType<Value>,
  span: Span = {},
): Field<readonly Value[], "required"> {
  return { presence: "required", forms: [{ ...form(tag, type, true, span), required: true }] };
}

interface FormSpec<Value> extends Span {
  readonly tag: TagName;
  /** The item may be repeated: the field's value is a list with one element for each item. */
  readonly many?: boolean;
  /** Required in these versions, although the field is optional. */
  readonly required?: true;
  readonly type: ValueType<Value>;
}

/**
 * A field whose form differs by version (1.x Template-Attribute, 2.x Attributes) but decodes to the
 * same value. A `many` form has one item for each element, the other form one for the whole list.
 */
export function byVersion<Value, P extends Presence>(
  presence: P,
  // biome-ignore lint/suspicious/noExplicitAny: a `many` form's type is of one element
  ...forms: readonly FormSpec<any>[]
): Field<Value, P> {
  return {
    presence,
    forms: forms.map((spec) => ({
      ...form(spec.tag, spec.type, spec.many === true, spec),
      ...(spec.required === true ? { required: true } : {}),
    })),
  };
}

interface Planned extends Omit<Form, "required"> {
  readonly key: string;
  readonly required: boolean;
}

interface Plan {
  readonly fields: readonly Planned[];
  /** Keys whose value is a list; it is empty without items, or if the version lacks the field. */
  readonly lists: readonly string[];
  readonly byTag: ReadonlyMap<number, Planned>;
}

/** The forms of a field in a version; for values at rest, the newest ones. */
function formsIn(version: Version, forms: readonly Form[]): readonly Form[] {
  const newest = version === atRest ? forms.filter((one) => one.until === undefined) : [];
  return newest.length > 0 ? newest : forms.filter((one) => within(version, one.since, one.until));
}

function compile(fields: Fields, version: Version): Plan {
  const planned: Planned[] = [];
  const lists: string[] = [];
  for (const [key, field] of Object.entries(fields)) {
    const must = field.presence === "required";
    const forms = formsIn(version, field.forms);
    for (const one of forms) {
      planned.push({ ...one, key, required: one.required ?? (must && !one.many) });
    }
    const absent = must && forms.length === 0 && field.forms.some((one) => one.many);
    if (absent || forms.some((one) => one.many)) lists.push(key);
  }
  return { fields: planned, lists, byTag: new Map(planned.map((field) => [field.tag, field])) };
}

/** The fault of an item whose tag does not belong here, or is not known in the version. */
export function unexpected({ tag }: Item, version: Version, structure: string): KmipError {
  return isKnownTag(tag, version)
    ? new KmipError("invalidMessage", `${labelOf(tag)} does not belong in ${structure}`)
    : new KmipError("unknownTag", `${labelOf(tag)} is not known in KMIP ${version}`);
}

type Loose = Record<string, unknown>;

function decodeFields(item: Item, plan: Plan, version: Version, name: string, open: boolean) {
  if (item.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", `${name} must be a structure`);
  }
  const value: Loose = {};
  for (const key of plan.lists) value[key] = [];
  for (const child of item.value) {
    const field = plan.byTag.get(child.tag);
    if (field === undefined) {
      if (open) continue;
      throw unexpected(child, version, name);
    }
    const decoded = field.type.decode(child, version);
    if (field.many) (value[field.key] as unknown[]).push(decoded);
    else if (value[field.key] === undefined) value[field.key] = decoded;
    else throw new KmipError("invalidMessage", `${labelOf(field.tag)} occurs twice in ${name}`);
  }
  return value;
}

function checkRequired(value: Loose, plan: Plan, name: string): void {
  for (const field of plan.fields) {
    if (!field.required) continue;
    const part = value[field.key];
    if (part === undefined || (field.many && (part as readonly unknown[]).length === 0)) {
      throw new KmipError("missingField", `${labelOf(field.tag)} is missing in ${name}`);
    }
  }
}

function encodeMany(field: Planned, parts: readonly unknown[], version: Version, items: Item[]) {
  for (const part of parts) {
    const item = field.type.encode(field.tag, part, version);
    if (item !== undefined) items.push(item);
  }
}

function encodeFields(tag: number, value: Loose, plan: Plan, version: Version): Item {
  const items: Item[] = [];
  for (const field of plan.fields) {
    const part = value[field.key];
    if (part === undefined) continue;
    if (field.many) encodeMany(field, part as readonly unknown[], version, items);
    else {
      const item = field.type.encode(field.tag, part, version);
      if (item !== undefined) items.push(item);
    }
  }
  return { tag, type: ItemType.Structure, value: items };
}

/** A structure type, compiled once per version from its fields, which it writes in table order. */
export interface StructType<F extends Fields> extends ValueType<Infer<F>> {
  readonly fields: F;
}

/** Makes a structure type. `name` is for error messages; an `open` one skips unknown fields. */
export function struct<F extends Fields>(
  name: string,
  fields: F,
  options: { readonly open?: boolean } = {},
): StructType<F> {
  const open = options.open === true;
  const plans: (Plan | undefined)[] = versions.map(() => undefined);
  const planFor = (version: Version): Plan => {
    const at = ordinal(version);
    const plan = plans[at] ?? compile(fields, version);
    plans[at] = plan;
    return plan;
  };
  return {
    itemType: ItemType.Structure,
    fields,
    decode: (item, version) => {
      const plan = planFor(version);
      const value = decodeFields(item, plan, version, name, open);
      checkRequired(value, plan, name);
      return value as Infer<F>;
    },
    encode: (tag, value, version) => encodeFields(tag, value as Loose, planFor(version), version),
  };
}
