import { isCorrupt, StoreUnavailable, supersededMessage } from "../../base/errors.ts";
import type { Change, CommitOutcome, FindQuery, StoredObject } from "../../ports/objects.ts";
import type {
  GivenRecord,
  InstanceCounts,
  OwnCommitOptions,
  PeerCursor,
} from "../../ports/own-store.ts";
import { countedOf, countObjects } from "../../ports/state-counts.ts";
import { isDestroyed, requireState, type State } from "../../record/lifecycle.ts";
import type { ManagedObject, Tag } from "../../record/record.ts";
import {
  decodeRecord,
  encodeRecord,
  recordFormat,
  recordTag,
  tagOf,
} from "../../record/record-codec.ts";
import { indexTerms, nameOfTerm } from "../../system/index-terms.ts";
import { partitionCount } from "../../system/partition.ts";
import type { MemoryJournal } from "./memory-journal.ts";

/** A record as the memory holds it. */
export interface MemoryRow {
  readonly instance: string;
  readonly bytes: Uint8Array;
  readonly tag: Tag;
  /** Creation counter. */
  readonly created: number;
  /** Number of the last change that a client was promised, or is about to be. */
  readonly promised: number;
  /** Number of the last change. */
  readonly changed: number;
  readonly terms: ReadonlySet<string>;
  readonly uniqueTerms: readonly string[];
  readonly destroyed: boolean;
  readonly state: State;
  readonly month: number;
}

/** Who holds a record, and since when. */
export interface MemoryHold {
  readonly operation: string;
  readonly instance: string;
  readonly sinceMs: number;
}

type Counter = "change" | "promised" | "created";
/** Why a change is not made. */
export type Refusal = CommitOutcome | undefined;

/** One partition of a store in memory: its records and what is decided on them, all at once. */
export class MemoryPartition {
  readonly rows = new Map<string, MemoryRow>();
  readonly holds = new Map<string, MemoryHold>();
  readonly cursors = new Map<string, PeerCursor>();
  /** The change number up to which everything is covered. */
  covered = 0;
  /** Instance and unique term → identifiers of the objects that hold it. */
  readonly #holders = new Map<string, readonly string[]>();
  readonly #numbers = new Map<Counter, number>();
  readonly #journal: MemoryJournal;

  constructor(journal: MemoryJournal) {
    this.#journal = journal;
  }

  number(counter: Counter): number {
    return this.#numbers.get(counter) ?? 0;
  }

  /** Rows whose last change has a number above `after`, in the order of these numbers. */
  changedAfter(after: number): readonly (readonly [string, MemoryRow])[] {
    return [...this.rows]
      .filter(([, row]) => row.changed > after)
      .toSorted(([, a], [, b]) => a.changed - b.changed);
  }

  /** How many objects each instance has. */
  counts(): ReadonlyMap<string, InstanceCounts> {
    return countObjects(this.rows.values());
  }

  /** The rows of a page of a search, and where the next one begins, if one follows. */
  found(instance: string, query: FindQuery) {
    const before = query.after === undefined ? Number.POSITIVE_INFINITY : Number(query.after);
    const matching = [...this.rows]
      .filter(([, row]) => row.instance === instance && row.created < before)
      .filter(([, row]) => (row.destroyed ? query.destroyed : query.live))
      .filter(([, row]) => query.term === undefined || row.terms.has(query.term))
      .toSorted(([, a], [, b]) => b.created - a.created);
    const page = matching.slice(0, query.limit);
    const [, last] = page.at(-1) ?? [];
    const more = last !== undefined && matching.length > page.length;
    return { page, next: more ? { next: String(last.created) } : {} };
  }

  /** Why a commit is refused; nothing is written before it is known. */
  refusal(instance: string, changes: readonly Change[], options: OwnCommitOptions): Refusal {
    return (
      this.#heldOrChanged(instance, changes, options) ?? this.#nameTaken(instance, changes, options)
    );
  }

  /** Refuses a change if a record that it depends on has changed. */
  requireGiven(given: readonly GivenRecord[] = []): void {
    const isOther = ({ uniqueIdentifier: id, tag }: GivenRecord) =>
      (this.rows.get(id)?.tag ?? "") !== tag;
    if (given.some(isOther)) throw new StoreUnavailable("superseded", supersededMessage);
  }

  /** Writes an object that nothing refuses; writes nothing if the tag is the same. */
  write(object: ManagedObject, promises: boolean): void {
    const { uniqueIdentifier: id, instance } = object;
    const bytes = encodeRecord(object);
    const tag = recordTag(object);
    const old = this.rows.get(id);
    if (old?.tag === tag) return;
    this.#letGo(id, old);
    const terms = indexTerms(object);
    const uniqueTerms = terms.filter(({ unique }) => unique).map(({ term }) => term);
    const changed = this.#count("change");
    if (promises) this.#journal.set(this.#numbers, "promised", changed);
    this.#journal.set(this.rows, id, {
      ...countedOf(object),
      bytes,
      tag,
      created: old?.created ?? this.#count("created"),
      promised: promises ? changed : (old?.promised ?? 0),
      changed,
      terms: new Set(terms.map(({ term }) => term)),
      uniqueTerms,
      destroyed: isDestroyed(object.facts),
    });
    for (const term of uniqueTerms) {
      const key = `${instance}\0${term}`;
      this.#journal.set(this.#holders, key, [...(this.#holders.get(key) ?? []), id]);
    }
  }

  /** Ends an operation's holds on records of an instance; returns their number. */
  release(instance: string, operation: string): number {
    const ended = [...this.holds].filter(
      ([, hold]) => hold.operation === operation && hold.instance === instance,
    );
    for (const [id] of ended) this.#journal.delete(this.holds, id);
    return ended.length;
  }

  /** Gives an operation its holds. */
  hold(ids: readonly string[], hold: MemoryHold): void {
    for (const id of ids) this.#journal.set(this.holds, id, hold);
  }

  #count(counter: Counter): number {
    const next = this.number(counter) + 1;
    this.#journal.set(this.#numbers, counter, next);
    return next;
  }

  #letGo(id: string, row: MemoryRow | undefined): void {
    for (const term of row?.uniqueTerms ?? []) {
      const key = `${row?.instance}\0${term}`;
      const others = (this.#holders.get(key) ?? []).filter((other) => other !== id);
      if (others.length > 0) this.#journal.set(this.#holders, key, others);
      else this.#journal.delete(this.#holders, key);
    }
  }

  #heldOrChanged(
    instance: string,
    changes: readonly Change[],
    { operation }: OwnCommitOptions,
  ): Refusal {
    const seen = new Set<string>();
    for (const change of changes) {
      const { uniqueIdentifier } = change.after;
      const hold = this.holds.get(uniqueIdentifier);
      if (hold !== undefined && hold.operation !== operation) {
        return { kind: "reserved", uniqueIdentifier, operation: hold.operation };
      }
      if (operation !== undefined && hold === undefined && change.kind === "update") {
        return { kind: "reservationLost", uniqueIdentifier };
      }
      const row = this.rows.get(uniqueIdentifier);
      const expected = change.kind === "create" ? undefined : change.before.tag;
      const foreign = row !== undefined && row.instance !== instance;
      if (foreign || seen.has(uniqueIdentifier) || row?.tag !== expected) {
        return { kind: "conflict", uniqueIdentifier };
      }
      seen.add(uniqueIdentifier);
    }
    return undefined;
  }

  /** Decides by the result of all changes together: one may free the name that another takes. */
  #nameTaken(instance: string, changes: readonly Change[], { joined }: OwnCommitOptions): Refusal {
    if (joined === true) return undefined;
    const among = new Set(changes.map(({ after }) => after.uniqueIdentifier));
    const claims = new Map<string, "kept" | "claimed">();
    for (const { after } of changes) {
      const { uniqueIdentifier } = after;
      const had = this.rows.get(uniqueIdentifier)?.uniqueTerms ?? [];
      for (const { term } of indexTerms(after).filter(({ unique }) => unique)) {
        const kept = had.includes(term);
        const taken = kept
          ? claims.get(term) === "claimed"
          : claims.has(term) || this.#holdsElse(instance, term, among);
        if (taken) return { kind: "nameTaken", uniqueIdentifier, name: nameOfTerm(after, term) };
        claims.set(term, kept ? "kept" : "claimed");
      }
    }
    return undefined;
  }

  /** Whether an object holds a unique term that is not among those to be changed. */
  #holdsElse(instance: string, term: string, among: ReadonlySet<string>): boolean {
    return (this.#holders.get(`${instance}\0${term}`) ?? []).some((id) => !among.has(id));
  }
}

/** A row whose bytes are cut. */
export function damagedRow(row: MemoryRow): MemoryRow {
  return { ...row, bytes: row.bytes.slice(0, -8) };
}

/** A row as the next release would write it. */
export function newerRow(row: MemoryRow): MemoryRow {
  const bytes = newerRecord(row.bytes);
  return { ...row, bytes, tag: tagOf(bytes) };
}

/** A record's bytes with the next format's number: its first field, after two headers of 8 bytes. */
export function newerRecord(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  new DataView(copy.buffer).setInt32(16, recordFormat + 1);
  return copy;
}

/** Rows by what can be read of them. */
export class FoundRows {
  readonly objects: ManagedObject[] = [];
  readonly damaged: string[] = [];
  readonly unknown: string[] = [];

  add(id: string, row: MemoryRow): void {
    try {
      this.objects.push(storedIn(row).object);
    } catch (error) {
      (isCorrupt(error) ? this.damaged : this.unknown).push(id);
    }
  }
}

/** Whether a row does not decode; throws if it is of an unknown format, or the replacement lacks its last state. */
export function isDamaged(row: MemoryRow, replacement?: ManagedObject): boolean {
  try {
    storedIn(row);
    return false;
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    if (replacement !== undefined) requireState(replacement, row.state);
    return true;
  }
}

/** Whether a row does not decode; not one of an unknown format. */
export function isBroken([, row]: readonly [string, MemoryRow]): boolean {
  try {
    return isDamaged(row);
  } catch {
    return false;
  }
}

/** The object of a row; throws if its bytes do not match its tag. */
export function storedIn(row: MemoryRow): StoredObject {
  if (tagOf(row.bytes) !== row.tag) {
    throw new StoreUnavailable("corrupt", "a stored record is not the one that its tag names");
  }
  // A copy: what a caller does to the bytes must not reach the store.
  return { object: decodeRecord(Uint8Array.from(row.bytes)), tag: row.tag };
}

/** An object of another instance counts as missing. */
export function isForeign(instance: string, change: Change): boolean {
  const before = change.kind === "update" ? change.before.object : change.after;
  return before.instance !== instance || change.after.instance !== instance;
}

/** The partitions of a store that has nothing yet, `{sys}` last. */
export function emptyPartitions(journal: MemoryJournal): readonly MemoryPartition[] {
  return Array.from({ length: partitionCount + 1 }, () => new MemoryPartition(journal));
}
