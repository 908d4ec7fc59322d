import { hash } from "node:crypto";
import { type Item, ItemType } from "@holdfast/ttlv";
import { creatorOf, creatorTerm } from "../record/creator.ts";
import { isDestroyed, pendingDestruction } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { vendorOf } from "../record/vendor-attribute.ts";
import { systemInstance } from "./partition.ts";
import { claimsOf, readRecord } from "./system-record.ts";

/** One entry of the index by which Locate narrows its walk. */
export interface IndexTerm {
  /** At most 23 characters of letters, digits, `-` and `_`. */
  readonly term: string;
  /** At most one live object of an instance has it. */
  readonly unique: boolean;
  /** Kept up however many objects have it; others are given up when they narrow no walk. */
  readonly exact?: boolean;
}

/** 128 bits: two names share a term only if a client spent 2^64 hashes on it, and only in its own instance. */
const uniqueLength = 22;
/** 60 bits: objects that share such a term by accident are filtered out afterwards. */
const plainLength = 10;

const nameTag = 0x420053;

/** How the item of an attribute becomes the parts of its term; undefined if it does not narrow a walk. */
const indexed: Readonly<
  Record<number, { letter: string; parts: (item: Item) => readonly string[] | undefined }>
> = {
  /** Name: by its value alone, so that a name is unique regardless of its type (KMIP 2.1, 4.32). */
  [nameTag]: { letter: "n", parts: (item) => texts(item, [0x420055]) },
  /** Object Group (KMIP 2.1, 4.35). */
  4325462: { letter: "g", parts: (item) => text(item) },
  /** Application Specific Information: namespace and data (KMIP 2.1, 4.4). */
  4325380: { letter: "s", parts: (item) => texts(item, [0x420003, 0x420002]) },
  /** Alternative Name: its value (KMIP 2.1, 4.2). */
  4325567: { letter: "a", parts: (item) => texts(item, [0x4200c0]) },
  /** Vendor Attribute: key and text value (KMIP 2.1, 4.60). */
  4325384: {
    letter: "v",
    parts: (item) => {
      const vendor = vendorOf(item);
      const value = vendor && text(vendor.value);
      return vendor && value && [vendor.key, ...value];
    },
  },
};

/** The term under which objects with this attribute value are found; undefined if there is none. */
export function termFor(item: Item): string | undefined {
  const row = indexed[item.tag];
  const parts = row?.parts(item);
  if (row === undefined || parts === undefined) return undefined;
  const said = parts.map((part) => `${part.length}:${part}`).join("");
  const length = item.tag === nameTag ? uniqueLength : plainLength;
  return row.letter + hash("sha256", said, "base64url").slice(0, length);
}

/** The term under which the objects are found that can be restored. */
export const restorableTerm = "restorable";

/** The terms of an object, each once. A destroyed object keeps its terms but holds no name. */
export function indexTerms(object: ManagedObject): readonly IndexTerm[] {
  if (object.instance === systemInstance) return systemTerms(object);
  const live = !isDestroyed(object.facts);
  const terms = new Map<string, IndexTerm>();
  for (const { value } of object.registers) {
    const term = value && termFor(value);
    if (value && term) terms.set(term, { term, unique: live && value.tag === nameTag });
  }
  const creator = creatorOf(object);
  if (creator !== undefined) {
    const term = creatorTerm(creator);
    terms.set(term, { term, unique: false });
  }
  if (pendingDestruction(object.facts) !== undefined) {
    terms.set(restorableTerm, { term: restorableTerm, unique: false, exact: true });
  }
  return [...terms.values()];
}

/** The name in `object`, or a system record's claim, behind a unique term, for use in an error. */
export function nameOfTerm(object: ManagedObject, term: string): string {
  if (object.instance === systemInstance) {
    return claimsOf(object).find((claim) => claimTerm(object, claim) === term) ?? "";
  }
  for (const { value } of object.registers) {
    if (value?.tag === nameTag && termFor(value) === term)
      return texts(value, [0x420055])?.[0] ?? "";
  }
  return "";
}

/** The term under which all KEKs of an instance are found. */
export function kekTerm(instance: string): string {
  return `k${hash("sha256", instance, "base64url").slice(0, plainLength)}`;
}

/** The terms of a system record: those of a KEK, with a unique one for an instance's first KEK, or of its claims. */
function systemTerms(record: ManagedObject): readonly IndexTerm[] {
  const kek = readRecord("Kek", record);
  if (kek === undefined) {
    return claimsOf(record).map((claim) => ({ term: claimTerm(record, claim), unique: true }));
  }
  const first = `K${hash("sha256", kek.instance, "base64url").slice(0, uniqueLength)}`;
  const isFirst = kek.first && kek.destroyed === undefined;
  return [
    { term: kekTerm(kek.instance), unique: false },
    ...(isFirst ? [{ term: first, unique: true }] : []),
  ];
}

function claimTerm({ objectType }: ManagedObject, claim: string): string {
  return `D${hash("sha256", `${objectType}\0${claim}`, "base64url").slice(0, uniqueLength)}`;
}

function text(item: Item): readonly string[] | undefined {
  return item.type === ItemType.TextString ? [item.value] : undefined;
}

/** The text fields with these tags; undefined unless all exist. */
function texts(item: Item, tags: readonly number[]): readonly string[] | undefined {
  if (item.type !== ItemType.Structure) return undefined;
  const found = tags.flatMap((tag) => {
    const field = item.value.find((inner) => inner.tag === tag);
    return (field && text(field)) ?? [];
  });
  return found.length === tags.length ? found : undefined;
}
