import { type Item, ItemType, textString } from "@holdfast/ttlv";
import { hashUuid, writeUuid } from "../base/uuid.ts";
import type { Fact, ManagedObject } from "../record/record.ts";
import { recordTags as tags } from "../record/record-tags.ts";
import { deleteValues, type Now, type RegisterName, setValue } from "../record/registers.ts";
import type { AnyField, Defaulted, Keyed, Optional } from "./fields.ts";
import { type KindName, recordKinds } from "./kinds.ts";
import { systemInstance } from "./partition.ts";

type Row<Kind extends KindName> = (typeof recordKinds)[Kind];
type Value<Of> = Of extends { readonly read: (item: Item) => infer Read }
  ? Exclude<Read, undefined>
  : never;

/** The part of a record that never changes. */
type Fixed<Kind extends KindName> = {
  readonly [Name in keyof Row<Kind>["fixed"]]: Row<Kind>["fixed"][Name] extends Optional<infer _>
    ? Value<Row<Kind>["fixed"][Name]> | undefined
    : Value<Row<Kind>["fixed"][Name]>;
};

type Fields<Kind extends KindName> = {
  readonly [Name in keyof Row<Kind>["fields"]]: Row<Kind>["fields"][Name] extends Keyed<infer _>
    ? /** Undefined for a key whose value is not valid. */
      Readonly<Record<string, Value<Row<Kind>["fields"][Name]> | undefined>>
    : Row<Kind>["fields"][Name] extends Defaulted<infer _>
      ? Value<Row<Kind>["fields"][Name]>
      : Value<Row<Kind>["fields"][Name]> | undefined;
};

/** The name of a claim and its values. */
type Claim<Kind extends KindName> =
  Row<Kind> extends { readonly claims: readonly (infer Name)[] }
    ? readonly [name: Name, ...values: string[]]
    : never;

/** A system record of a kind: all that it holds, typed. */
export type SystemRecord<Kind extends KindName = KindName> = {
  readonly [Each in Kind]: {
    readonly type: Each;
    readonly id: string;
    /** Where and when the record was deleted for ever; undefined if it was not. */
    readonly destroyed: Fact | undefined;
  } & Fixed<Each> &
    Fields<Each>;
}[Kind];

/** Fields to set; `undefined` deletes one. In a keyed field, only the keys that are named change. */
export type FieldChanges<Kind extends KindName> = {
  readonly [Name in keyof Row<Kind>["fields"]]?: Fields<Kind>[Name] | undefined;
} & {
  /** All that it claims from now on. */
  readonly claims?: readonly Claim<Kind>[];
};

/** What a new record holds. */
export type NewRecord<Kind extends KindName> = Fixed<Kind> & FieldChanges<Kind>;

/** The field with a record's claims, as a JSON list of texts. */
const claimsField = "claims";
const claimsMax = 8;

const kindNames = Object.keys(recordKinds) as KindName[];
const kindOfType = new Map<number, KindName>(
  kindNames.map((kind) => [recordKinds[kind].type, kind]),
);

/** The identifier of the one record of this kind about `name`: UUID version 8 (RFC 9562, 5.8) of its SHA-256. */
export function systemIdentifier(kind: KindName, name: string): string {
  return hashUuid(`${recordKinds[kind].type}\0${name}`);
}

/** An identifier that begins with the kind's type: even a record that cannot be read shows its kind. */
export function markedIdentifier(kind: KindName, uuid: string): string {
  return `${markOf(kind)}${uuid.slice(markOf(kind).length)}`;
}

/** Whether an identifier is a `markedIdentifier` of this kind. */
export function isMarked(kind: KindName, identifier: string): boolean {
  return identifier.startsWith(markOf(kind)) && writeUuid(identifier, new Uint8Array(16), 0);
}

function markOf(kind: KindName): string {
  return `${recordKinds[kind].type.toString(16)}-`;
}

/** The kind of a system record; undefined for any other record. */
export function kindOf({ instance, objectType }: ManagedObject): KindName | undefined {
  return instance === systemInstance ? kindOfType.get(objectType) : undefined;
}

/** A new record. Its fixed part has the same bytes in every region. */
export function makeRecord<Kind extends KindName>(
  kind: Kind,
  id: string,
  values: NewRecord<Kind>,
  now: Now,
): ManagedObject {
  const bare: ManagedObject = {
    uniqueIdentifier: id,
    instance: systemInstance,
    objectType: recordKinds[kind].type,
    fixed: fixedItems(recordKinds[kind].fixed, values),
    material: undefined,
    facts: {},
    registers: [],
    lastChange: 0,
  };
  return changeRecord(kind, bare, values, now);
}

/** A record with these fields set. */
export function changeRecord<Kind extends KindName>(
  kind: Kind,
  record: ManagedObject,
  changes: FieldChanges<Kind>,
  now: Now,
): ManagedObject {
  const given = changes as Readonly<Record<string, unknown>>;
  if (Object.keys(given).length === 0) return record;
  let { registers } = record;
  const set = (name: RegisterName, value: Item | undefined): void => {
    if (value === undefined) {
      registers = deleteValues(registers, name, now);
      return;
    }
    const made = setValue(registers, name, value, now);
    if (made === undefined) throw new RangeError("a system record has too many fields");
    registers = made.registers;
  };
  const put = (field: AnyField, name: RegisterName, value: unknown): void =>
    set(name, value === undefined ? undefined : field.item(name.tag, value as never));
  for (const [name, field] of Object.entries<AnyField>(recordKinds[kind].fields)) {
    if (!(name in given)) continue;
    const value = given[name];
    if (field.keyed !== true) put(field, registerOf(field, name), value);
    else {
      for (const [key, each] of Object.entries(value ?? {})) {
        put(field, registerOf(field, name, key), each);
      }
    }
  }
  if (changes.claims !== undefined) {
    const claims = JSON.stringify(changes.claims.map((claim) => claim.join(" ")));
    const name = { tag: tags.DocumentField, key: claimsField };
    set(name, textString(name.tag, claims));
  }
  const lastChange = Math.max(record.lastChange, secondsOf(now));
  return { ...record, registers, lastChange };
}

/** A record, deleted for ever; its fields stay. */
export function withDestroyed(record: ManagedObject, now: Now): ManagedObject {
  if (record.facts.destroyed !== undefined) return record;
  const destroyed = { time: secondsOf(now), region: now.region };
  const lastChange = Math.max(record.lastChange, destroyed.time);
  return { ...record, facts: { ...record.facts, destroyed }, lastChange };
}

/** What a record of this kind holds; undefined for a record of another kind, and for one that is not valid. */
export function readRecord<Kind extends KindName>(
  kind: Kind,
  record: ManagedObject,
): SystemRecord<Kind> | undefined {
  return kindOf(record) === kind
    ? (readAnyRecord(record) as SystemRecord<Kind> | undefined)
    : undefined;
}

/**
 * What a system record of any kind holds; undefined if it is not valid: a record that another release or a faulty
 * region sent must not close the keys of all instances.
 */
export function readAnyRecord(record: ManagedObject): SystemRecord | undefined {
  const kind = kindOf(record);
  if (kind === undefined) return undefined;
  const { uniqueIdentifier: id, facts } = record;
  try {
    const fixed = readFixed(recordKinds[kind].fixed, record.fixed);
    if (fixed === undefined) return undefined;
    const fields = readFields(recordKinds[kind].fields, record);
    return { type: kind, id, destroyed: facts.destroyed, ...fixed, ...fields } as SystemRecord;
  } catch {
    return undefined;
  }
}

/** What a live record claims. */
export function claimsOf({ registers, facts }: ManagedObject): readonly string[] {
  if (facts.destroyed !== undefined) return [];
  const said = registers.find(({ tag, key }) => tag === tags.DocumentField && key === claimsField);
  if (said?.value?.type !== ItemType.TextString) return [];
  try {
    const claims: unknown = JSON.parse(said.value.value);
    if (!Array.isArray(claims)) return [];
    return [...new Set(claims.filter((claim) => typeof claim === "string"))].slice(0, claimsMax);
  } catch {
    return [];
  }
}

type Rows = Readonly<Record<string, AnyField>>;

function isTagged(rows: Rows): boolean {
  return Object.values(rows).every(({ tag }) => tag !== undefined);
}

/** Items with tags of their own, in the order of the rows; else pairs of name and value, in the order of the names. */
function fixedItems(rows: Rows, values: Readonly<Record<string, unknown>>): Item[] {
  const all = Object.entries(rows);
  const given = isTagged(rows) ? all : all.toSorted(([one], [other]) => (one < other ? -1 : 1));
  return given.flatMap(([name, { tag, item }]) => {
    const value = values[name] as never;
    if (value === undefined) return [];
    if (tag !== undefined) return [item(tag, value)];
    return [textString(tags.DocumentName, name), item(tags.DocumentValue, value)];
  });
}

/** Undefined if one is missing or not valid. */
function readFixed(rows: Rows, items: readonly Item[]): Record<string, unknown> | undefined {
  const found = isTagged(rows) ? taggedItems(rows, items) : pairsOf(items);
  if (found === undefined) return undefined;
  const values: Record<string, unknown> = {};
  for (const [name, { read, optional }] of Object.entries(rows)) {
    const item = found.get(name);
    if (item === undefined && optional === true) continue;
    const value = item && read(item);
    if (value === undefined) return undefined;
    values[name] = value;
  }
  return values;
}

function taggedItems(rows: Rows, items: readonly Item[]): Map<string, Item> | undefined {
  const named = Object.entries(rows);
  if (named.length !== items.length) return undefined;
  const found = new Map<string, Item>();
  for (const [at, item] of items.entries()) {
    const [name, field] = named[at] ?? [];
    if (name === undefined || field?.tag !== item.tag) return undefined;
    found.set(name, item);
  }
  return found;
}

function pairsOf(items: readonly Item[]): Map<string, Item> | undefined {
  const pairs = new Map<string, Item>();
  for (let at = 0; at < items.length; at += 2) {
    const [name, value] = [items[at], items[at + 1]];
    if (name?.tag !== tags.DocumentName || name.type !== ItemType.TextString) return undefined;
    if (value?.tag !== tags.DocumentValue) return undefined;
    pairs.set(name.value, value);
  }
  return pairs;
}

function readFields(rows: Rows, { registers }: ManagedObject): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(rows)) {
    const prefix = registerOf(field, name, "");
    const own = registers.filter(
      ({ tag, key }) =>
        tag === prefix.tag &&
        (field.keyed === true ? key.startsWith(prefix.key) : key === prefix.key),
    );
    const read = own.flatMap(({ key, value }) =>
      value === undefined ? [] : [[key.slice(prefix.key.length), field.read(value)] as const],
    );
    values[name] =
      field.keyed === true ? Object.fromEntries(read) : (read.at(-1)?.[1] ?? field.otherwise);
  }
  return values;
}

/** The register of a field; of a keyed one, of the value under a key. */
function registerOf({ tag, keyed }: AnyField, name: string, key = ""): RegisterName {
  if (keyed !== true) return { tag: tag ?? tags.DocumentField, key: tag === undefined ? name : "" };
  return tag === undefined ? { tag: tags.DocumentField, key: `${name}.${key}` } : { tag, key };
}

function secondsOf(now: Now): number {
  return Math.floor(now.us / 1_000_000);
}
