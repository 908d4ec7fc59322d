import { isDeepStrictEqual } from "node:util";
import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  encodeAudit,
  encodeRecord,
  type GivenRecord,
  indexTerms,
  initialMonth,
  isDestroyed,
  type ManagedObject,
  nameOfTerm,
  type OwnCommitOptions,
  recordDigest,
  StoreUnavailable,
  stateOf,
  stateValues,
  supersededMessage,
  sysPartition,
  systemInstance,
  type Tag,
  tagOfDigest,
} from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import {
  instanceKeys,
  ownRecordKey,
  type PartitionKeys,
  partitionKeys,
  termPlace,
} from "../connection/keys.ts";
import type { Reply } from "../connection/replies.ts";
import type { ProvenRecord } from "../proof/record-proof.ts";

/** The input of `commit.lua`, and how to read its answer. */
export interface CommitPlan {
  readonly keys: readonly Argument[];
  readonly args: readonly Argument[];
  /**
   * Runs in a full memory too: every change is small and changes only lifecycle facts, of which an
   * object has five, or is joined and lets no record grow.
   */
  readonly bounded: boolean;
  /** The outcome that an answer means. */
  readonly outcome: (reply: Reply) => CommitOutcome;
}

interface PlanSettings {
  /** `StorageKeys.stamp` of the key that makes the records. */
  readonly stamp: Buffer;
  readonly auditEntriesMax: number;
  readonly commonTermMin: number;
  /** Makes the record after a change. */
  readonly prove: (change: Change) => ProvenRecord;
}

/** One change as the script sees it. */
interface Row {
  readonly kind: "create" | "update" | "served";
  readonly before: { readonly object: ManagedObject; readonly tag: Tag } | undefined;
  readonly after: ManagedObject;
}

const fixedKeys = 12;
const systemRecord = partitionKeys(sysPartition).record;
const none = Buffer.alloc(0);
/** Nothing is written of a record that stays as it is. */
const unchanged = { proof: none, body: none };
/** Bytes by which an object may grow by a change of its facts, the audit events included. */
const factsGrowthMax = 2_048;

/** The script's input for all changes of a commit. */
export function commitPlan(
  partition: PartitionKeys,
  instance: string,
  changes: readonly Change[],
  audit: readonly AuditEvent[],
  settings: PlanSettings,
  options: OwnCommitOptions,
): CommitPlan {
  const rows = changes.map((change): Row => {
    const before = change.kind === "update" ? change.before : undefined;
    return { kind: change.kind, before, after: change.after };
  });
  return plan(partition, instance, rows, audit, settings, options);
}

/** The script's input for noting that an object was served. */
export function servedPlan(
  partition: PartitionKeys,
  instance: string,
  before: { readonly object: ManagedObject; readonly tag: Tag },
  after: ManagedObject,
  settings: PlanSettings,
): CommitPlan {
  return plan(partition, instance, [{ kind: "served", before, after }], [], settings, {});
}

function plan(
  partition: PartitionKeys,
  instance: string,
  rows: readonly Row[],
  audit: readonly AuditEvent[],
  settings: PlanSettings,
  { joined = false, operation = "", given = [] }: OwnCommitOptions,
): CommitPlan {
  const { status, live, destroyed } = instanceKeys(partition.prefix, instance);
  const { head, counters, changes, digests } = partition;
  const keys: Argument[] = [head, counters, status, live, destroyed, changes, digests];
  keys.push(partition.audit, partition.reserved, partition.states);
  keys.push(partition.surplus, partition.shares);
  for (const { after } of rows) keys.push(ownRecordKey(partition.record, after.uniqueIdentifier));
  const buckets = new Buckets(partition.prefix, instance, keys);
  const entries = encodeAudit(instance, audit);
  const args: Argument[] = [
    String(settings.auditEntriesMax),
    instance,
    String(settings.commonTermMin),
    refusing(instance, rows, joined),
    operation,
    partition.record,
    settings.stamp,
    String(given.length),
    ...given.flatMap((one) => [String(keys.push(givenKey(one))), givenTag(one)]),
    String(entries.length),
    ...entries,
    String(rows.length),
  ];
  let growth = entries.reduce((sum, { length }) => sum + length, 0);
  for (const [index, row] of rows.entries()) {
    const id = (keys[fixedKeys + index] as Buffer).subarray(partition.record.length);
    growth += pushRow(args, row, id, { buckets, joined, prove: settings.prove });
  }
  const bounded = rows.length > 0 && growth <= rows.length * factsGrowthMax;
  return { keys, args, bounded, outcome: (reply) => outcomeOf(reply, rows, buckets) };
}

/**
 * By how many bytes a change lets a record grow; infinite for a change that may be repeated. What a
 * node reports of itself replaces its earlier report: a full region that could not join it would
 * never be in sync.
 */
function boundedGrowth({ before, after }: Row, bytes: number, joined: boolean): number {
  const { object } = before ?? {};
  if (object === undefined) return Number.POSITIVE_INFINITY;
  const growth = bytes - encodeRecord(object).length;
  const factsAlone =
    !isDeepStrictEqual(object.facts, after.facts) &&
    isDeepStrictEqual(object.registers, after.registers);
  return factsAlone || (joined && growth <= 0) ? growth : Number.POSITIVE_INFINITY;
}

/** The key of a record that must still have its given tag; it lies in `{sys}`. */
export function givenKey({ uniqueIdentifier }: GivenRecord): Buffer {
  return ownRecordKey(systemRecord, uniqueIdentifier);
}

/** The tag that it must have, in the form of the record's first bytes. */
export function givenTag({ tag }: GivenRecord): Buffer {
  return Buffer.from(tag, "hex");
}

/**
 * Which statuses of an instance refuse a commit: the system's own records belong to no instance.
 */
function refusing(
  instance: string,
  rows: readonly Row[],
  joined: boolean,
): "open" | "deleted" | "none" {
  if (instance === systemInstance) return "none";
  if (!joined) return "open";
  // Of a deleted instance only what has no material is taken, so that both regions' copies become the same.
  return rows.every(({ after }) => after.facts.destroyed !== undefined) ? "none" : "deleted";
}

interface Pushing {
  readonly buckets: Buckets;
  readonly joined: boolean;
}

/** Adds a change to the arguments; returns its `boundedGrowth`. */
function pushRow(
  args: Argument[],
  row: Row,
  id: Buffer,
  { buckets, joined, prove }: Pick<PlanSettings, "prove"> & Pushing,
): number {
  const { kind, before, after } = row;
  const digest = recordDigest(after);
  const same = tagOfDigest(digest) === before?.tag;
  const moved = isDestroyed(before?.object.facts ?? {}) !== isDestroyed(after.facts);
  const terms = termLines({ before: before?.object, after, moved, joined }, buckets);
  args.push(kind, id, before ? Buffer.from(before.tag, "hex") : none, Buffer.from(digest, "hex"));
  const { proof, body } = same ? unchanged : prove(changeOf(row));
  args.push(proof, body);
  args.push(before ? stateDigit(before.object) : "", stateDigit(after), monthDigits(after));
  args.push(String(terms.length / 3), ...terms);
  return boundedGrowth(row, encodeRecord(after).length, joined);
}

function changeOf({ before, after }: Row): Change {
  return before === undefined ? { kind: "create", after } : { kind: "update", before, after };
}

/** A state as the store counts it (KMIP 2.1, 11.55). */
export function stateDigit({ facts }: ManagedObject): string {
  return String(stateValues[stateOf(facts)]);
}

/** The month of an object's Initial Date as the store counts it: four digits. */
export function monthDigits(object: ManagedObject): string {
  return String(initialMonth(object)).padStart(4, "0");
}

interface TermChange {
  readonly before: ManagedObject | undefined;
  readonly after: ManagedObject;
  /** Whether the object moves between the live and the destroyed ones. */
  readonly moved: boolean;
  /** A join claims no names. */
  readonly joined: boolean;
}

/** What becomes of each term: `commit.lua` describes the letters. */
function termLines(
  { before, after, moved, joined }: TermChange,
  buckets: Pick<Buckets, "place">,
): Argument[] {
  const old = new Set(before === undefined ? [] : indexTerms(before).map(({ term }) => term));
  const lines: Argument[] = [];
  const push = (what: string | undefined, term: string): void => {
    if (what !== undefined) lines.push(what, ...buckets.place(term));
  };
  const terms = indexTerms(after);
  const now = new Set(terms.map(({ term }) => term));
  for (const term of old) if (moved || !now.has(term)) push("-", term);
  const letters = joined ? joinLetters : ownLetters;
  for (const { term, unique, exact } of terms) {
    const kept = !moved && old.has(term);
    const kind = unique ? "unique" : exact ? "exact" : "plain";
    push(letters[kept ? "kept" : "fresh"][kind], term);
  }
  return lines;
}

const ownLetters = {
  fresh: { plain: "+", exact: "u", unique: "n" },
  kept: { plain: undefined, exact: undefined, unique: "c" },
} as const;
const joinLetters = {
  fresh: { plain: "+", exact: "u", unique: "u" },
  kept: { plain: undefined, exact: undefined, unique: undefined },
} as const;

/** The terms of an object that is indexed again, as `repair.lua` expects them. */
export function repairLines(
  after: ManagedObject,
  prefix: string,
  keys: Argument[],
): readonly Argument[] {
  const buckets = new Buckets(prefix, after.instance, keys);
  return termLines({ before: undefined, after, moved: false, joined: true }, buckets);
}

/** The buckets of terms among a script's keys, each once. */
class Buckets {
  readonly #prefix: string;
  readonly #instance: string;
  readonly #keys: Argument[];
  readonly #indexes = new Map<string, number>();
  readonly #terms = new Map<string, string>();

  constructor(prefix: string, instance: string, keys: Argument[]) {
    this.#prefix = prefix;
    this.#instance = instance;
    this.#keys = keys;
  }

  /** The bucket's index, counted from 1 as Lua does, and the term's hash. */
  place(term: string): readonly [string, Buffer] {
    const { bucket, hash } = termPlace(this.#prefix, this.#instance, term);
    this.#terms.set(hash.toString("hex"), term);
    const index = this.#indexes.get(bucket) ?? this.#keys.push(bucket);
    this.#indexes.set(bucket, index);
    return [String(index), hash];
  }

  /** The term of a hash. */
  term(hash: Buffer): string {
    return this.#terms.get(hash.toString("hex")) ?? "";
  }
}

function outcomeOf(reply: Reply, rows: readonly Row[], buckets: Buckets): CommitOutcome {
  const [index, hash] = reply.rest;
  const after = rows[Number(index ?? 0) - 1]?.after;
  if (reply.result === "committed") return { kind: "committed" };
  if (reply.result === "instanceClosed") return { kind: "instanceClosed" };
  if (reply.result === "superseded") throw new StoreUnavailable("superseded", supersededMessage);
  const held = after && heldOutcome(reply.result, after.uniqueIdentifier, hash);
  if (held !== undefined) return held;
  if (after !== undefined && reply.result === "conflict") {
    return { kind: "conflict", uniqueIdentifier: after.uniqueIdentifier };
  }
  if (after !== undefined && reply.result === "nameTaken") {
    const name = nameOfTerm(after, buckets.term(hash as Buffer));
    return { kind: "nameTaken", uniqueIdentifier: after.uniqueIdentifier, name };
  }
  throw new StoreUnavailable("badReply", `commit.lua answered ${reply.result}`);
}

function heldOutcome(
  result: string,
  uniqueIdentifier: string,
  operation: unknown,
): CommitOutcome | undefined {
  if (result === "reservationLost") return { kind: "reservationLost", uniqueIdentifier };
  if (result !== "reserved") return undefined;
  return { kind: "reserved", uniqueIdentifier, operation: String(operation) };
}
