import type { ManagedObject } from "@holdfast/engine";
import { recordTag, stateOf, stateValues } from "@holdfast/engine";
import type { Item } from "@holdfast/ttlv";

/** The attribute that clients write: the tag of Contact Information, one value for all regions. */
const noteTag = 0x420022;

/** How far an object is in its life; this never decreases, since facts are never removed. */
export function rankOf(object: ManagedObject): number {
  return stateValues[stateOf(object.facts)];
}

/** The text that a client wrote last, as in the record, and the stamp of that write. */
export function noteOf(object: ManagedObject): { readonly text: string; readonly us: number } {
  const register = object.registers.find(({ tag }) => tag === noteTag);
  const text = register?.value?.value;
  return { text: typeof text === "string" ? text : "", us: register?.stamp.us ?? 0 };
}

/** The tag of Comment, which clients write and delete. */
const commentTag = 0x4200fd;

/** The Comment that an object has; undefined if it has none. */
export function commentOf({ registers }: ManagedObject): string | undefined {
  const value = registers.find(({ tag }) => tag === commentTag)?.value;
  return value && valueText(value);
}

/** The tags of Name and of Object Group. */
export const valueTags = [0x420053, 0x420056] as const;

/** The values that clients added to an object, and did not delete. */
export function valuesOf(object: ManagedObject): readonly string[] {
  return object.registers.flatMap(({ tag, value }) =>
    value !== undefined && valueTags.some((each) => each === tag) ? valueText(value) : [],
  );
}

/** The text of a Name or an Object Group. */
export function valueText({ value }: Item): string {
  const text = Array.isArray(value) ? (value as readonly Item[])[0]?.value : value;
  return typeof text === "string" ? text : "";
}

/** A change that was acknowledged to a client. */
export interface Acknowledged {
  readonly kind: "create" | "state" | "note" | "value" | "drop";
  readonly id: string;
  readonly atMs: number;
  /** The object after the change. */
  readonly object: ManagedObject;
  /** The regions whose own stores had it before it was acknowledged. */
  readonly regions: ReadonlySet<string>;
  /** True if every region had it then, or has had it since `sharedMs`. */
  shared: boolean;
  sharedMs?: number;
  /** True once the only store that had it was lost. */
  lost: boolean;
}

/** Whether a record has everything that a change made. */
export function contains(object: ManagedObject | undefined, change: Acknowledged): boolean {
  if (object === undefined) return false;
  if (rankOf(object) < rankOf(change.object)) return false;
  const stamps = new Map(writesOf(object));
  // A value that was deleted keeps its place, with the time of that.
  if (writesOf(change.object).some(([of, us]) => (stamps.get(of) ?? -1) < us)) return false;
  return noteOf(object).us >= noteOf(change.object).us;
}

/** When each value was added, or deleted. */
function writesOf({ registers }: ManagedObject): readonly (readonly [of: string, us: number])[] {
  return registers
    .filter(({ tag }) => valueTags.some((each) => each === tag))
    .map(({ tag, index, origin, stamp }) => [`${tag} ${index} ${origin}`, stamp.us]);
}

/** Which region has which state of a record durably, according to the regions' answers. */
export class Durability {
  readonly #regions = new Map<string, Set<string>>();

  /** A region reported that it has this record durably. */
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
  return `${object.uniqueIdentifier} ${recordTag(object)}`;
}
