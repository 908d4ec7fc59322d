import { hash } from "node:crypto";
import { type Item, ItemType, textString } from "@holdfast/ttlv";
import type { Fact, ManagedObject } from "../record/record.ts";
import { recordTags as tags } from "../record/record-tags.ts";
import { type AttributeName, deleteValues, type Now, setValue } from "../record/registers.ts";
import type { IndexTerm } from "./index-terms.ts";
import { systemInstance } from "./partition.ts";

/**
 * A system record as management reads it: an immutable part and fields, all text, of which the last writer of each wins.
 * It travels between regions as every object does.
 */
export interface Document {
  /** One of `systemTypes`. */
  readonly type: number;
  readonly id: string;
  readonly fixed: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  /** Deleted for ever, and where and when. */
  readonly destroyed: Fact | undefined;
}

/** What a document claims: at most one live document of its type in the region's store has each of these. */
export type Claims = readonly string[];

/** The field in which a document's claims stand, as a JSON list of texts. */
export const claimsField = "claims";

/** The field that an instance's record keeps in a register of its own, since before there were documents. */
const nameField = "name";

/** A new document. Its fixed part is the same bytes whoever makes it. */
export function documentRecord(
  document: Pick<Document, "type" | "id" | "fixed" | "fields">,
  now: Now,
): ManagedObject {
  const fixed = Object.entries(document.fixed)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([name, value]) => [
      textString(tags.DocumentName, name),
      textString(tags.DocumentValue, value),
    ]);
  return withFields(bareRecord(document.type, document.id, fixed), document.fields, now);
}

/** A system record of which nothing is said but what never changes. */
export function bareRecord(
  objectType: number,
  uniqueIdentifier: string,
  fixed: readonly Item[],
): ManagedObject {
  return {
    uniqueIdentifier,
    instance: systemInstance,
    objectType,
    fixed,
    material: undefined,
    facts: {},
    registers: [],
    lastChange: 0,
  };
}

/** A document's record with these fields set anew; `undefined` deletes one. */
export function withFields(
  record: ManagedObject,
  fields: Readonly<Record<string, string | undefined>>,
  now: Now,
): ManagedObject {
  let { registers } = record;
  for (const [field, value] of Object.entries(fields)) {
    const name = registerOf(field);
    if (value === undefined) {
      registers = deleteValues(registers, name, now);
      continue;
    }
    const made = setValue(registers, name, textString(name.tag, value), now);
    if (made === undefined) throw new RangeError("a system record has too many fields");
    registers = made.registers;
  }
  const lastChange = Math.max(record.lastChange, secondsOf(now));
  return { ...record, registers, lastChange };
}

/** A document's record, deleted for ever; its fields stay. */
export function withDestroyed(record: ManagedObject, now: Now): ManagedObject {
  if (record.facts.destroyed !== undefined) return record;
  const destroyed = { time: secondsOf(now), region: now.region };
  const lastChange = Math.max(record.lastChange, destroyed.time);
  return { ...record, facts: { ...record.facts, destroyed }, lastChange };
}

/** What a document's record says; undefined where it is none, or not as it should be. */
export function readDocument(record: ManagedObject): Document | undefined {
  if (record.instance !== systemInstance) return undefined;
  const fixed = fixedOf(record.fixed);
  if (fixed === undefined) return undefined;
  const fields: Record<string, string> = {};
  for (const { tag, key, value } of record.registers) {
    if (value?.type !== ItemType.TextString) continue;
    if (tag === tags.DocumentField) fields[key] = value.value;
    if (tag === tags.InstanceName) fields[nameField] = value.value;
  }
  const { objectType: type, uniqueIdentifier: id, facts } = record;
  return { type, id, fixed, fields, destroyed: facts.destroyed };
}

/** The terms by which the store keeps a document's claims. */
export function documentTerms(record: ManagedObject): readonly IndexTerm[] {
  if (record.facts.destroyed !== undefined) return [];
  return claimsOf(record).map((claim) => ({ term: claimTerm(record, claim), unique: true }));
}

/** The claim of a document that stands behind a term. */
export function claimOfTerm(record: ManagedObject, term: string): string {
  return claimsOf(record).find((claim) => claimTerm(record, claim) === term) ?? "";
}

function claimTerm({ objectType }: ManagedObject, claim: string): string {
  return `D${hash("sha256", `${objectType}\0${claim}`, "base64url").slice(0, 22)}`;
}

function claimsOf(record: ManagedObject): Claims {
  const name = registerOf(claimsField);
  const said = record.registers.find(({ tag, key }) => tag === name.tag && key === name.key)?.value;
  return said?.type === ItemType.TextString ? claimsIn(said.value) : [];
}

function claimsIn(text: string): Claims {
  try {
    const claims: unknown = JSON.parse(text);
    if (!Array.isArray(claims)) return [];
    return [...new Set(claims.filter((claim) => typeof claim === "string"))].slice(0, 8);
  } catch {
    return [];
  }
}

function registerOf(field: string): AttributeName {
  if (field === nameField) return { tag: tags.InstanceName, key: "" };
  return { tag: tags.DocumentField, key: field };
}

function secondsOf(now: Now): number {
  return Math.floor(now.us / 1_000_000);
}

/** An instance's record has its identifier alone; all others have pairs. */
function fixedOf(items: readonly Item[]): Record<string, string> | undefined {
  const [first] = items;
  if (items.length === 1 && first?.tag === tags.OfInstance && first.type === ItemType.TextString) {
    return { instance: first.value };
  }
  const fixed: Record<string, string> = {};
  for (let at = 0; at < items.length; at += 2) {
    const [name, value] = [items[at], items[at + 1]];
    if (name?.tag !== tags.DocumentName || name.type !== ItemType.TextString) return undefined;
    if (value?.tag !== tags.DocumentValue || value.type !== ItemType.TextString) return undefined;
    fixed[name.value] = value.value;
  }
  return fixed;
}
