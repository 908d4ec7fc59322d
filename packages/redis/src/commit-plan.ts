import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  encodeRecord,
  indexTerms,
  type ManagedObject,
  nameOfTerm,
  StoreUnavailable,
  type Tag,
  tagOf,
} from "@holdfast/engine";
import type { Argument } from "./command-line.ts";
import { instanceKeys, type PartitionKeys, recordKey, termPlace } from "./keys.ts";
import type { Reply } from "./replies.ts";

/** What `commit.lua` gets, and how to read its answer. */
export interface CommitPlan {
  readonly keys: readonly Argument[];
  readonly args: readonly Argument[];
  /** The outcome that an answer means. */
  readonly outcome: (reply: Reply) => CommitOutcome;
}

interface PlanSettings {
  readonly auditEntriesMax: number;
  readonly commonTermMin: number;
}

/** One change as the script sees it. */
interface Row {
  readonly kind: "create" | "update" | "served";
  readonly before: { readonly object: ManagedObject; readonly tag: Tag } | undefined;
  readonly after: ManagedObject;
}

const fixedKeys = 8;
const none = Buffer.alloc(0);

/** The script's input for all changes of a commit. */
export function commitPlan(
  partition: PartitionKeys,
  instance: string,
  changes: readonly Change[],
  audit: readonly AuditEvent[],
  settings: PlanSettings,
): CommitPlan {
  const rows = changes.map((change): Row => {
    const before = change.kind === "update" ? change.before : undefined;
    return { kind: change.kind, before, after: change.after };
  });
  return plan(partition, instance, rows, audit, settings);
}

/** The script's input for noting that an object was served. */
export function servedPlan(
  partition: PartitionKeys,
  instance: string,
  before: { readonly object: ManagedObject; readonly tag: Tag },
  after: ManagedObject,
  settings: PlanSettings,
): CommitPlan {
  return plan(partition, instance, [{ kind: "served", before, after }], [], settings);
}

function plan(
  partition: PartitionKeys,
  instance: string,
  rows: readonly Row[],
  audit: readonly AuditEvent[],
  settings: PlanSettings,
): CommitPlan {
  const { status, live, destroyed } = instanceKeys(partition.prefix, instance);
  const { head, counters, changes, digests } = partition;
  const keys: Argument[] = [head, counters, status, live, destroyed, changes, digests];
  keys.push(partition.audit);
  for (const { after } of rows) keys.push(keyOf(partition, after.uniqueIdentifier));
  const buckets = new Buckets(partition.prefix, instance, keys);
  const args: Argument[] = [
    String(settings.auditEntriesMax),
    instance,
    String(settings.commonTermMin),
    String(audit.length),
    ...audit.map((event) => JSON.stringify(event)),
    String(rows.length),
  ];
  for (const [index, row] of rows.entries()) {
    pushRow(args, row, keys[fixedKeys + index] as Buffer, partition.record.length, buckets);
  }
  return { keys, args, outcome: (reply) => outcomeOf(reply, rows, buckets) };
}

function keyOf(partition: PartitionKeys, identifier: string): Buffer {
  const key = recordKey(partition.record, identifier);
  if (key === undefined) throw new RangeError(`${identifier} is not a lower-case UUID`);
  return key;
}

function pushRow(
  args: Argument[],
  { kind, before, after }: Row,
  key: Buffer,
  prefixLength: number,
  buckets: Buckets,
): void {
  const record = encodeRecord(after);
  const tag = tagOf(record);
  const same = tag === before?.tag;
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const wasDestroyed = before?.object.facts.destroyed !== undefined;
  const isDestroyed = after.facts.destroyed !== undefined;
  const terms = termLines(before?.object, after, wasDestroyed !== isDestroyed, buckets);
  args.push(kind, key.subarray(prefixLength), before ? Buffer.from(before.tag, "hex") : none);
  args.push(Buffer.from(tag, "hex"), same ? none : bytes);
  args.push(wasDestroyed ? "1" : "0", isDestroyed ? "1" : "0", String(terms.length / 3), ...terms);
}

/** What becomes of each term: `commit.lua` says the letters. */
function termLines(
  before: ManagedObject | undefined,
  after: ManagedObject,
  moved: boolean,
  buckets: Buckets,
): Argument[] {
  const old = new Set(before === undefined ? [] : indexTerms(before).map(({ term }) => term));
  const lines: Argument[] = [];
  const push = (what: string, term: string): void => {
    lines.push(what, ...buckets.place(term));
  };
  const terms = indexTerms(after);
  const now = new Set(terms.map(({ term }) => term));
  for (const term of old) if (moved || !now.has(term)) push("-", term);
  for (const { term, unique } of terms) {
    const kept = !moved && old.has(term);
    if (!kept) push(unique ? "n" : "+", term);
    else if (unique) push("c", term);
  }
  return lines;
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

  /** The term that a hash stands for. */
  term(hash: Buffer): string {
    return this.#terms.get(hash.toString("hex")) ?? "";
  }
}

function outcomeOf(reply: Reply, rows: readonly Row[], buckets: Buckets): CommitOutcome {
  const [index, hash] = reply.rest;
  const after = rows[Number(index ?? 0) - 1]?.after;
  if (reply.result === "committed") return { kind: "committed" };
  if (reply.result === "instanceClosed") return { kind: "instanceClosed" };
  if (after !== undefined && reply.result === "conflict") {
    return { kind: "conflict", uniqueIdentifier: after.uniqueIdentifier };
  }
  if (after !== undefined && reply.result === "nameTaken") {
    const name = nameOfTerm(after, buckets.term(hash as Buffer));
    return { kind: "nameTaken", uniqueIdentifier: after.uniqueIdentifier, name };
  }
  throw new StoreUnavailable("corrupt", `commit.lua answered ${reply.result}`);
}
