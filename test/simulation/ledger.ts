import type { ManagedObject } from "@holdfast/engine";
import { stateOf, stateValues } from "@holdfast/engine";
import type { Item } from "@holdfast/ttlv";
import { tagOfObject } from "./scripts.ts";

/** The attribute that clients write: the tag of Contact Information, one value for all regions. */
const noteTag = 0x420022;

/** How far an object is in its life: it never gets less, since facts are never taken back. */
export function rankOf(object: ManagedObject): number {
  return stateValues[stateOf(object.facts)];
}

/** The text that a client wrote last, as a record has it, and how late that write counts. */
export function noteOf(object: ManagedObject): { readonly text: string; readonly us: number } {
  const register = object.registers.find(({ tag }) => tag === noteTag);
  const text = register?.value?.value;
  return { text: typeof text === "string" ? text : "", us: register?.stamp.us ?? 0 };
}

/** The tags of Name and of Object Group. */
export const valueTags = [0x420053, 0x420056] as const;

/** The values that clients added to an object; none of them is ever deleted. */
export function valuesOf(object: ManagedObject): readonly string[] {
  return object.registers.flatMap(({ tag, value }) =>
    value !== undefined && valueTags.some((each) => each === tag) ? valueText(value) : [],
  );
}

/** What a Name or an Object Group says. */
export function valueText({ value }: Item): string {
  const text = Array.isArray(value) ? (value as readonly Item[])[0]?.value : value;
  return typeof text === "string" ? text : "";
}

/** A change that a client was told to be done. */
export interface Acknowledged {
  readonly kind: "create" | "state" | "note" | "value";
  readonly id: string;
  readonly atMs: number;
  /** The object as the change left it. */
  readonly object: ManagedObject;
  /** The regions whose own stores made it or took it in before it was acknowledged. */
  readonly regions: ReadonlySet<string>;
  /** True where every region had it then. */
  shared: boolean;
  /** True once the only store that had it was lost. */
  lost: boolean;
}

/** Whether a record has everything that a change made. */
export function contains(object: ManagedObject | undefined, change: Acknowledged): boolean {
  if (object === undefined) return false;
  if (rankOf(object) < rankOf(change.object)) return false;
  const values = new Set(valuesOf(object));
  if (valuesOf(change.object).some((text) => !values.has(text))) return false;
  return noteOf(object).us >= noteOf(change.object).us;
}

/** Who has which form of which record durably, as the regions' own answers say. */
export class Durability {
  readonly #regions = new Map<string, Set<string>>();

  /** A region said that it has this record durably. */
  note(region: string, object: ManagedObject): void {
    const key = keyOf(object);
    const known = this.#regions.get(key) ?? new Set();
    known.add(region);
    this.#regions.set(key, known);
  }

  of(object: ManagedObject): ReadonlySet<string> {
    return new Set(this.#regions.get(keyOf(object)));
  }
}

function keyOf(object: ManagedObject): string {
  return `${object.uniqueIdentifier} ${tagOfObject(object)}`;
}
