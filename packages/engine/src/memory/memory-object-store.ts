import type { FindPage, FindQuery } from "../find.ts";
import { indexTerms, nameOfTerm } from "../index-terms.ts";
import type { AuditEvent, Change, CommitOutcome, ObjectStore, StoredObject } from "../ports.ts";
import type { ManagedObject, Tag } from "../record.ts";
import { decodeRecord, encodeRecord, tagOf } from "../record-codec.ts";
import type { MemoryInstanceStore } from "./memory-instance-store.ts";

interface Row {
  readonly bytes: Uint8Array;
  readonly tag: Tag;
  /** Creation counter. */
  readonly created: number;
  readonly terms: ReadonlySet<string>;
  readonly uniqueTerms: readonly string[];
  readonly destroyed: boolean;
}

interface Partition {
  readonly rows: Map<string, Row>;
  /** Unique term → identifier of the object that holds it. */
  readonly holders: Map<string, string>;
  readonly audit: AuditEvent[];
}

/** Objects in memory, for tests and as the model of the real store. What it answers is always covered. */
export class MemoryObjectStore implements ObjectStore {
  readonly #instances: MemoryInstanceStore;
  readonly #partitions = new Map<string, Partition>();
  #created = 0;

  constructor(instances: MemoryInstanceStore) {
    this.#instances = instances;
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    const { rows } = this.#partition(instance);
    return ids.map((id) => stored(rows.get(id)));
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    if (this.#instances.statusOf(instance) !== "Installed") return { kind: "instanceClosed" };
    const partition = this.#partition(instance);
    const refusal = conflictIn(partition, changes) ?? nameTakenIn(partition, changes);
    if (refusal !== undefined) return refusal;
    for (const change of changes) this.#write(partition, change.after);
    partition.audit.push(...audit);
    return { kind: "committed" };
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    const partition = this.#partition(instance);
    if (partition.rows.get(after.uniqueIdentifier)?.tag !== before.tag) return false;
    this.#write(partition, after);
    return true;
  }

  async find(instance: string, query: FindQuery): Promise<FindPage> {
    const before = query.after === undefined ? Number.POSITIVE_INFINITY : Number(query.after);
    const matching = [...this.#partition(instance).rows.values()]
      .filter((row) => row.created < before && (row.destroyed ? query.destroyed : query.live))
      .filter((row) => query.term === undefined || row.terms.has(query.term))
      .toSorted((a, b) => b.created - a.created);
    const page = matching.slice(0, query.limit);
    const last = page.at(-1);
    const more = last !== undefined && matching.length > page.length;
    const objects = page.flatMap((row) => stored(row) ?? []);
    return more ? { objects, next: String(last.created) } : { objects };
  }

  async appendAudit(instance: string, events: readonly AuditEvent[]): Promise<void> {
    this.#partition(instance).audit.push(...events);
  }

  /** Everything appended so far, oldest first. */
  auditOf(instance: string): readonly AuditEvent[] {
    return [...this.#partition(instance).audit];
  }

  #partition(instance: string): Partition {
    const known = this.#partitions.get(instance);
    if (known !== undefined) return known;
    const made: Partition = { rows: new Map(), holders: new Map(), audit: [] };
    this.#partitions.set(instance, made);
    return made;
  }

  #write({ rows, holders }: Partition, object: ManagedObject): void {
    const id = object.uniqueIdentifier;
    const bytes = encodeRecord(object);
    const tag = tagOf(bytes);
    const old = rows.get(id);
    if (old?.tag === tag) return;
    for (const term of old?.uniqueTerms ?? []) {
      // Another change of the same commit may hold it by now.
      if (holders.get(term) === id) holders.delete(term);
    }
    const terms = indexTerms(object);
    const uniqueTerms = terms.filter(({ unique }) => unique).map(({ term }) => term);
    for (const term of uniqueTerms) holders.set(term, id);
    this.#created += 1;
    rows.set(id, {
      bytes,
      tag,
      created: old?.created ?? this.#created,
      terms: new Set(terms.map(({ term }) => term)),
      uniqueTerms,
      destroyed: object.facts.destroyed !== undefined,
    });
  }
}

function stored(row: Row | undefined): StoredObject | undefined {
  // A copy: what a caller does to the bytes must not reach the store.
  return row && { object: decodeRecord(Uint8Array.from(row.bytes)), tag: row.tag };
}

function conflictIn({ rows }: Partition, changes: readonly Change[]): CommitOutcome | undefined {
  const seen = new Set<string>();
  for (const change of changes) {
    const { uniqueIdentifier } = change.after;
    const expected = change.kind === "create" ? undefined : change.before.tag;
    if (seen.has(uniqueIdentifier) || rows.get(uniqueIdentifier)?.tag !== expected) {
      return { kind: "conflict", uniqueIdentifier };
    }
    seen.add(uniqueIdentifier);
  }
  return undefined;
}

/** Decided on what the changes leave together: one may free the name that another takes. */
function nameTakenIn(partition: Partition, changes: readonly Change[]): CommitOutcome | undefined {
  const holders = new Map(partition.holders);
  for (const { after } of changes) {
    for (const term of partition.rows.get(after.uniqueIdentifier)?.uniqueTerms ?? []) {
      holders.delete(term);
    }
  }
  for (const { after } of changes) {
    const { uniqueIdentifier } = after;
    for (const { term, unique } of indexTerms(after)) {
      if (unique && holders.has(term)) {
        return { kind: "nameTaken", uniqueIdentifier, name: nameOfTerm(after, term) };
      }
      if (unique) holders.set(term, uniqueIdentifier);
    }
  }
  return undefined;
}
