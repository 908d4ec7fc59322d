import { isDeepStrictEqual } from "node:util";
import {
  type Change,
  type CommitOutcome,
  encodeRecord,
  type GivenRecord,
  indexTerms,
  instanceTakes,
  type ManagedObject,
  nameOfTerm,
  type OwnCommitOptions,
  partitionOf,
  type ReserveOutcome,
  requireState,
  StoreUnavailable,
  stateOf,
  supersededMessage,
  systemInstance,
  tagOf,
} from "@holdfast/engine";
import { keys, type Row, type Tables } from "./database.ts";

/** Faults of a store that can be planted in a simulation, to prove that it finds them. */
export type StoreFlaw =
  | "no tag check"
  | "a counter as version"
  | "acknowledge before the barrier"
  | "no-change answered without a barrier"
  | "WAITAOF on another connection";

/** The input of a commit. */
export interface CommitRequest {
  readonly instance: string;
  readonly changes: readonly Change[];
  readonly options: OwnCommitOptions;
  readonly flaws: ReadonlySet<StoreFlaw>;
  /** Change numbers of the records that were read, for the flaw that uses them as versions. */
  readonly numberRead: (object: ManagedObject) => number | undefined;
}

/** A script's answer, and the partition's change number that must be covered for it. */
export interface Answer<Value> {
  readonly value: Value;
  readonly number: number;
}

const tags = new WeakMap<ManagedObject, string>();

/** The tag of an object's record, computed once per object. */
export function tagOfObject(object: ManagedObject): string {
  const known = tags.get(object);
  if (known !== undefined) return known;
  const tag = tagOf(encodeRecord(object));
  tags.set(object, tag);
  return tag;
}

/** Makes all changes of one commit, or none: everything is checked before the first write. */
export function commit(tables: Tables, request: CommitRequest): Answer<CommitOutcome> {
  if (!request.changes.every((change) => isBounded(change, request.options))) tables.requireRoom();
  requireGiven(tables, request.options.given);
  const partition = partitionOf(request.instance);
  const refusal =
    closed(tables, request) ??
    foreign(request) ??
    held(tables, request) ??
    conflict(tables, request) ??
    nameTaken(tables, request);
  if (refusal !== undefined) return { value: refusal, number: tables.counters(partition).promised };
  for (const { after } of request.changes) write(tables, after, true);
  const { operation } = request.options;
  if (operation !== undefined) end(tables, request.instance, operation);
  return { value: { kind: "committed" }, number: tables.counters(partition).promised };
}

/** Whether a full store accepts it: a change of facts only, or a join that grows no record. */
function isBounded(change: Change, { joined }: OwnCommitOptions): boolean {
  if (change.kind === "create") return false;
  const { before, after } = change;
  if (isDeepStrictEqual(before.object.registers, after.registers)) return true;
  return joined === true && encodeRecord(after).length <= encodeRecord(before.object).length;
}

/** Refuses a change that is based on outdated system records. */
export function requireGiven(tables: Tables, given: readonly GivenRecord[] = []): void {
  const isOther = ({ uniqueIdentifier, tag }: GivenRecord) =>
    (tables.row(systemInstance, uniqueIdentifier)?.tag ?? "") !== tag;
  if (given.some(isOther)) throw new StoreUnavailable("superseded", supersededMessage);
}

function closed(tables: Tables, request: CommitRequest): CommitOutcome | undefined {
  const { instance, options, changes } = request;
  const open = instanceTakes(tables.statusOf(instance), options, changes);
  return open ? undefined : { kind: "instanceClosed" };
}

/** An object of another instance counts as missing. */
function foreign({ instance, changes }: CommitRequest): CommitOutcome | undefined {
  const found = changes.find(
    (change) =>
      change.after.instance !== instance ||
      (change.kind === "update" && change.before.object.instance !== instance),
  );
  if (found === undefined) return undefined;
  return { kind: "conflict", uniqueIdentifier: found.after.uniqueIdentifier };
}

function held(tables: Tables, request: CommitRequest): CommitOutcome | undefined {
  const { operation } = request.options;
  for (const { kind, after } of request.changes) {
    const { uniqueIdentifier } = after;
    const hold = tables.holdOf(request.instance, uniqueIdentifier);
    if (hold !== undefined && hold.operation !== operation) {
      return { kind: "reserved", uniqueIdentifier, operation: hold.operation };
    }
    const lost = operation !== undefined && hold === undefined && kind === "update";
    if (lost) return { kind: "reservationLost", uniqueIdentifier };
  }
  return undefined;
}

function conflict(tables: Tables, request: CommitRequest): CommitOutcome | undefined {
  const seen = new Set<string>();
  for (const change of request.changes) {
    const { uniqueIdentifier } = change.after;
    const row = tables.row(request.instance, uniqueIdentifier);
    if (seen.has(uniqueIdentifier) || !fits(change, row, request)) {
      return { kind: "conflict", uniqueIdentifier };
    }
    seen.add(uniqueIdentifier);
  }
  return undefined;
}

function fits(change: Change, row: Row | undefined, request: CommitRequest): boolean {
  if (change.kind === "create") return row === undefined;
  if (row === undefined || row.object.instance !== request.instance) return false;
  if (request.flaws.has("no tag check")) return true;
  if (request.flaws.has("a counter as version")) {
    const read = request.numberRead(change.before.object);
    if (read !== undefined) return read === row.number;
  }
  return row.tag === change.before.tag;
}

/** Checks Names after all changes together; a Name that a join left with two objects may stay. */
function nameTaken(tables: Tables, request: CommitRequest): CommitOutcome | undefined {
  if (request.options.joined === true) return undefined;
  const changed = new Set(request.changes.map(({ after }) => after.uniqueIdentifier));
  const rows = tables
    .rows(partitionOf(request.instance))
    .filter(({ object }) => object.instance === request.instance);
  const others = rows.filter(({ object }) => !changed.has(object.uniqueIdentifier));
  const holders = new Set(others.flatMap(({ object }) => uniqueTerms(object)));
  const claims = new Map<string, "kept" | "claimed">();
  for (const { after } of request.changes) {
    const { uniqueIdentifier } = after;
    const had = rows.find(({ object }) => object.uniqueIdentifier === uniqueIdentifier);
    for (const term of uniqueTerms(after)) {
      const kept = had !== undefined && uniqueTerms(had.object).includes(term);
      const taken = kept ? claims.get(term) === "claimed" : claims.has(term) || holders.has(term);
      if (taken) return { kind: "nameTaken", uniqueIdentifier, name: nameOfTerm(after, term) };
      claims.set(term, kept ? "kept" : "claimed");
    }
  }
  return undefined;
}

const termsOf = new WeakMap<ManagedObject, readonly string[]>();

function uniqueTerms(object: ManagedObject): readonly string[] {
  const known = termsOf.get(object);
  if (known !== undefined) return known;
  const terms = indexTerms(object).flatMap(({ term, unique }) => (unique ? [term] : []));
  termsOf.set(object, terms);
  return terms;
}

/** Writes a record; reads must wait until a `promised` change is covered. */
export function write(tables: Tables, object: ManagedObject, promised: boolean): void {
  const tag = tagOfObject(object);
  const old = tables.row(object.instance, object.uniqueIdentifier);
  if (old?.tag === tag && old.damaged !== true) return;
  const partition = partitionOf(object.instance);
  const counters = tables.counters(partition);
  const change = counters.change + 1;
  const created = old === undefined ? counters.created + 1 : counters.created;
  const row: Row = {
    object,
    tag,
    number: change,
    promised: promised ? change : (old?.promised ?? 0),
    created: old?.created ?? created,
  };
  tables.putRow(row);
  tables.set(keys.counters(partition), {
    change,
    created,
    promised: promised ? change : counters.promised,
  });
}

/** Records that an object was served; does not change the promised change number. */
export function served(tables: Tables, tagBefore: string, after: ManagedObject): boolean {
  const { instance, uniqueIdentifier } = after;
  if (tables.statusOf(instance) !== "Installed") return false;
  if (tables.holdOf(instance, uniqueIdentifier) !== undefined) return false;
  if (tables.row(instance, uniqueIdentifier)?.tag !== tagBefore) return false;
  write(tables, after, false);
  return true;
}

/** Reserves all records or none; the same operation may reserve again. */
export function reserve(
  tables: Tables,
  instance: string,
  ids: readonly string[],
  operation: string,
  sinceMs: number,
): ReserveOutcome {
  for (const uniqueIdentifier of ids) {
    const hold = tables.holdOf(instance, uniqueIdentifier);
    if (hold !== undefined && hold.operation !== operation) {
      return { kind: "held", uniqueIdentifier, operation: hold.operation };
    }
  }
  const fresh = ids
    .filter((id) => tables.holdOf(instance, id) === undefined)
    .map((id) => ({ operation, instance, id, sinceMs }));
  if (fresh.length > 0) tables.setHolds([...tables.holds(), ...fresh]);
  return { kind: "reserved" };
}

/** Ends an operation's reservations in an instance; returns how many there were. */
export function end(tables: Tables, instance: string, operation: string): number {
  const holds = tables.holds();
  const left = holds.filter((hold) => hold.operation !== operation || hold.instance !== instance);
  if (left.length < holds.length) tables.setHolds(left);
  return holds.length - left.length;
}

/** A record or copy for quarantine, and the replacement of the record. */
export interface Aside {
  readonly instance: string;
  readonly id: string;
  readonly copy: Uint8Array | undefined;
  readonly replacement: ManagedObject | undefined;
}

/** Puts a record that does not decode, or a copy from another region, into quarantine. */
export function putAside(tables: Tables, { instance, id, copy, replacement }: Aside): void {
  const row = tables.row(instance, id);
  const name = copy === undefined ? (row?.tag ?? "") : Buffer.from(copy).toString("hex");
  const aside = tables.get(keys.quarantine) ?? [];
  const isWhole = row !== undefined && row.damaged !== true;
  if (replacement !== undefined && row?.damaged === true) {
    requireState(replacement, stateOf(row.object.facts));
  }
  if ((copy !== undefined || !isWhole) && !aside.includes(`${id} ${name}`)) {
    tables.set(keys.quarantine, [...aside, `${id} ${name}`]);
  }
  if (replacement !== undefined && !isWhole) write(tables, replacement, true);
}

/** Writes the first keys of a new store. */
export function initialise(tables: Tables, storeId: string, instances: readonly string[]): void {
  tables.set(keys.storeId, storeId);
  for (const instance of instances) {
    if (instance !== systemInstance) tables.set(keys.status(instance), "Installed");
  }
}
