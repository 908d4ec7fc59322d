import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  isCorrupt,
  type ManagedObject,
  type OwnCommitOptions,
  type OwnFindPage,
  type OwnFindQuery,
  type OwnStoredObject,
  partitionOf,
  Semaphore,
  type StoredObject,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import { answerOf, runScript } from "../connection/connection.ts";
import {
  identifierIn,
  instanceKeys,
  ownRecordKey,
  partitionKeys,
  recordKey,
  termPlace,
} from "../connection/keys.ts";
import { isReserved, promisedOf, recordHeaderLength } from "../connection/record-header.ts";
import { readReply } from "../connection/replies.ts";
import { olderRecord } from "../memory/older.ts";
import { factsOf } from "../proof/record-proof.ts";
import type { StoredRecords } from "../proof/stored-records.ts";
import { Answers } from "../session/answers.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { commitPlan, servedPlan } from "./commit-plan.ts";
import { readHold } from "./reservations.ts";

/** Most records in one answer of `find.lua`: every other client waits while it runs. */
const pageMax = 256;
/**
 * Bytes after which such an answer ends: with a hundred large objects in one, every other client
 * would time out.
 */
const pageBytesMax = 1 << 18;
/**
 * Most pages at the same time: of a hundred, the last ones would time out, and every other command
 * with them.
 */
const pagesAtOnce = 2;
/** How often a record is read at most while its reservation ends between two commands. */
const readsMax = 4;
const none = Buffer.alloc(0);

/** What `find.lua` answers after the head: next, identifiers, records, holds, and whether the term led to them. */
type FoundPage = [Buffer, Buffer[], Buffer[], unknown[], number];

/** Objects, and the highest change number on which an answer with them depends. */
interface Found {
  readonly objects: (OwnStoredObject | undefined)[];
  readonly promised: number;
  /** Indexes of objects that an agreed operation holds. */
  readonly reserved: readonly number[];
}

/** Managed objects in Redis. */
export class RedisObjects {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  readonly #pages = new Semaphore(pagesAtOnce);
  readonly #records: StoredRecords;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#records = context.records;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.read`. */
  readonly read = async (
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> => {
    if (ids.length === 0) return [];
    for (let tries = 0; tries < readsMax; tries += 1) {
      const objects = await this.#read(instance, ids);
      if (objects !== undefined) return objects;
    }
    throw new StoreUnavailable(
      "reserved",
      "a record was held by one agreed operation after another",
    );
  };

  /** Undefined where a reservation ended before its operation could be looked up. */
  async #read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[] | undefined> {
    const number = partitionOf(instance);
    const { record } = partitionKeys(number);
    const keys = ids.map((id) => recordKey(record, id));
    const asked = keys.filter((key) => key !== undefined);
    const session = this.#sessions.now("read") ?? (await this.#sessions.require("read"));
    const { head, values } = await session.reading((reader) => reader.read(number, asked));
    this.#answers.check(session, head);
    const missing = asked.filter((_, index) => values[index] === null);
    if (missing.length > 0) await this.#checkMissing(session, number, missing);
    const askedIds = ids.filter((_, index) => keys[index] !== undefined);
    const open = (value: Buffer, at: number) => {
      const place = { partition: number, identifier: askedIds[at] ?? "" };
      return this.#records.openAgain(session.storageKeys, place, value);
    };
    const { objects, promised, reserved } = foundIn(values, instance, open);
    const { older } = this.#context;
    const suspects = askedIds.filter((id, at) => {
      if (!older.seems(number, id, values[at] ?? null)) return false;
      return !older.stillOpens(number, objects[at]?.object);
    });
    if ((await older.confirm(session, number, suspects)).size > 0) throw olderRecord();
    this.#answers.assert(session);
    const named = reserved.length === 0 || (await this.#name(session, number, objects, reserved));
    if (!named) return undefined;
    await this.#answers.cover(session, number, head, promised);
    let next = 0;
    return keys.map((key) => (key === undefined ? undefined : objects[next++]));
  }

  /**
   * Adds to the objects of these indexes the operations that hold them; false where one has ended
   * meanwhile.
   */
  async #name(
    session: PrimarySession,
    partition: number,
    objects: (OwnStoredObject | undefined)[],
    indexes: readonly number[],
  ): Promise<boolean> {
    const { reserved } = partitionKeys(partition);
    const ids = indexes.map((index) => objects[index]?.object.uniqueIdentifier ?? "");
    const fields = ids.map((id) => recordKey("", id) ?? id);
    const holds = await session.reading(({ connection }) =>
      connection.call("hmget", reserved, ...fields),
    );
    this.#answers.assert(session);
    for (const [at, hold] of (holds as (Buffer | null)[]).entries()) {
      const index = indexes[at] ?? -1;
      const stored = objects[index];
      if (hold === null || stored === undefined) return false;
      objects[index] = { ...stored, reserved: readHold(hold).operation };
    }
    return true;
  }

  /** See `OwnStore.commit`. */
  readonly commit = async (
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: OwnCommitOptions = {},
  ): Promise<CommitOutcome> => {
    const { scripts, settings } = this.#context;
    const foreign = changes.find((change) => isForeign(instance, change));
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    if (foreign !== undefined) {
      return { kind: "conflict", uniqueIdentifier: foreign.after.uniqueIdentifier };
    }
    if (changes.length > 0) this.#context.formats.requireAgreed();
    const number = partitionOf(instance);
    const unproven = await this.#learnVersions(session, number, changes);
    if (unproven !== undefined) return { kind: "conflict", uniqueIdentifier: unproven };
    const lost = changes.find((change) => this.#losesFacts(number, change));
    if (lost !== undefined) {
      return { kind: "conflict", uniqueIdentifier: lost.after.uniqueIdentifier };
    }
    const { making, noteWritten } = this.#making(session, number);
    const planned = { ...settings, ...making };
    const plan = commitPlan(partitionKeys(number), instance, changes, audit, planned, options);
    const started = this.#now();
    const { written } = options;
    const { keys, args, bounded } = plan;
    const script = bounded ? scripts["commit-facts"] : scripts.commit;
    const reply = await session.groupCommit.submit(script, number, keys, args, { written });
    this.#took("commit", started);
    const outcome = plan.outcome(reply);
    if (outcome.kind !== "committed") return outcome;
    noteWritten(({ after }, version) => this.#context.memory?.learnWritten(number, after, version));
    // What ends access, or destroys, must not be forgotten with the node's process.
    const isLasting = number === sysPartition || options.operation !== undefined;
    if (isLasting && changes.length > 0) await this.#context.memory?.flush();
    return outcome;
  };

  /**
   * What a plan needs of the session that makes it; `noteWritten` is to be called once its changes are written, and calls
   * back for each record with its version.
   */
  #making({ storageKeys }: PrimarySession, partition: number) {
    const versions = new Map<Change, number>();
    const prove = (change: Change) => {
      const known = this.#context.older.version(partition, change.after.uniqueIdentifier);
      const proven = this.#records.prove(storageKeys.newest, partition, change, known);
      versions.set(change, proven.version);
      return proven;
    };
    const noteWritten = (each: (change: Change, version: number) => void = () => undefined) => {
      for (const [change, version] of versions) {
        this.#records.noteWritten(change.after, version);
        each(change, version);
      }
    };
    return { making: { stamp: storageKeys.stamp, prove }, noteWritten };
  }

  /** Whether a change would leave a record without a fact that is remembered of it, such as one made anew. */
  #losesFacts(partition: number, { after }: Change): boolean {
    return this.#context.older.lacksFacts(partition, after.uniqueIdentifier, factsOf(after));
  }

  /**
   * Reads the versions of records that were not read here, such as those of a change that another region makes. Returns
   * the identifier of one whose header does not prove itself.
   */
  async #learnVersions(
    session: PrimarySession,
    partition: number,
    changes: readonly Change[],
  ): Promise<string | undefined> {
    const strange = changes.filter(
      (change) => change.kind === "update" && !this.#records.knows(change),
    );
    if (strange.length === 0) return undefined;
    const { record } = partitionKeys(partition);
    const last = String(recordHeaderLength - 1);
    const lines = strange.map(
      ({ after }) => ["getrange", ownRecordKey(record, after.uniqueIdentifier), "0", last] as const,
    );
    const headers = await session.reading(async ({ connection }) => {
      const answers = await connection.batch(lines);
      // A record that Redis did not answer is not unproven.
      return answers.map((answer) => answerOf(answer, connection) as Buffer);
    });
    const unproven = strange.find((change, at) => {
      const header = headers[at];
      if (change.kind !== "update" || header === undefined) return false;
      const place = { partition, identifier: change.after.uniqueIdentifier };
      return !this.#records.learn(session.storageKeys, place, header, change.before.object);
    });
    return unproven?.after.uniqueIdentifier;
  }

  /** See `ObjectStore.markServed`. */
  readonly markServed = async (
    instance: string,
    before: StoredObject,
    after: ManagedObject,
  ): Promise<boolean> => {
    const { scripts, settings } = this.#context;
    const session = this.#sessions.now("write");
    if (session?.reader === undefined) return false;
    const change = { kind: "update", before, after } as const;
    if (isForeign(instance, change)) return false;
    try {
      this.#context.formats.requireAgreed();
      const partition = partitionOf(instance);
      if ((await this.#learnVersions(session, partition, [change])) !== undefined) return false;
      const { making, noteWritten } = this.#making(session, partition);
      const planned = { ...settings, ...making };
      const plan = servedPlan(partitionKeys(partition), instance, before, after, planned);
      const answer = await runScript(
        session.reader.connection,
        scripts.commit,
        plan.keys,
        plan.args,
      );
      if (readReply(answer).result !== "committed") return false;
      noteWritten();
      return true;
    } catch {
      return false;
    }
  };

  /** See `ObjectStore.find`. */
  readonly find = async (instance: string, query: OwnFindQuery): Promise<OwnFindPage> => {
    const { term, live, destroyed, after, listDamaged = false } = query;
    const number = partitionOf(instance);
    const { prefix, head, counters, record, reserved } = partitionKeys(number);
    const keys = instanceKeys(prefix, instance);
    const place = termPlace(prefix, instance, term ?? "");
    const most = Math.max(1, Math.min(query.limit, pageMax));
    const session = this.#sessions.now("read") ?? (await this.#sessions.require("read"));
    const scriptKeys = [head, counters, keys.live, keys.destroyed, reserved, place.bucket];
    const scriptArgs = [
      term === undefined ? "" : place.hash,
      live ? "1" : "0",
      destroyed ? "1" : "0",
      String(most),
      cursor(after),
      record,
      String(pageBytesMax),
    ];
    const page = async () => {
      const answer = await this.#answers.ask("find", scriptKeys, scriptArgs, session);
      const [next, ids, records, holds, narrow] = answer.rest as FoundPage;
      const damaged: string[] = [];
      const suspects: string[] = [];
      const { older } = this.#context;
      // The index says under which identifier a record lies: it must be proven for that one.
      const { objects } = foundIn(records, instance, (value, at) => {
        const identifier = identifierIn(ids[at] ?? none);
        try {
          const place = { partition: number, identifier };
          const stored = this.#records.open(session.storageKeys, place, value);
          if (!older.seems(number, identifier, value)) return stored;
          if (!older.stillOpens(number, stored.object)) suspects.push(identifier);
          return stored;
        } catch (error) {
          if (!listDamaged || !isCorrupt(error)) throw error;
          damaged.push(identifier);
          return undefined;
        }
      });
      const put = await older.confirm(session, number, suspects);
      if (put.size > 0 && !listDamaged) throw olderRecord();
      damaged.push(...put.keys());
      const held = withHolders(objects, holds);
      const believed = held.filter((one) => one && !put.has(one.object.uniqueIdentifier));
      return { next, answer, damaged, byTerm: narrow === 1, objects: believed };
    };
    const { next, objects, answer, damaged, byTerm } = await this.#pages.run(page, {
      owner: instance,
    });
    // What is missing from the page counts as much as what is on it, so the whole partition must be covered.
    await this.#answers.cover(session, number, answer.head, answer.number);
    const found = objects.filter((object) => object !== undefined);
    return {
      objects: found,
      ...(damaged.length > 0 && { damaged: { ids: damaged, byTerm } }),
      ...(next.length > 0 && { next: String(next) }),
    };
  };

  #now(): number {
    return this.#context.lease.now().monotonicMs;
  }

  #took(command: string, started: number): void {
    this.#context.observe({ type: "storeCommand", command, durationMs: this.#now() - started });
  }

  /**
   * MGET answers null for a key of the wrong type, and a wrong "not found" could not be taken back.
   */
  async #checkMissing(
    session: PrimarySession,
    partition: number,
    keys: readonly Buffer[],
  ): Promise<void> {
    const existing = await session.reading((reader) => reader.existing(keys));
    this.#answers.assert(session);
    if (existing === 0) return;
    const { values } = await session.reading((reader) => reader.read(partition, keys));
    this.#answers.assert(session);
    const created = values.filter((value) => value !== null).length;
    if (created >= existing) return;
    throw new StoreUnavailable("corrupt", "a record's key holds a value of the wrong type");
  }
}

/** An object of another instance counts as missing. */
function isForeign(instance: string, change: Change): boolean {
  const before = change.kind === "update" ? change.before.object : change.after;
  return before.instance !== instance || change.after.instance !== instance;
}

function cursor(after: string | undefined): string {
  if (after === undefined) return "";
  if (!/^\d{1,15}$/.test(after))
    throw new RangeError("the search cursor was not issued by this store");
  return after;
}

/** The objects in the values of records. */
function foundIn(
  values: readonly (Buffer | null)[],
  instance: string,
  open: (value: Buffer, at: number) => StoredObject | undefined,
): Found {
  let promised = 0;
  const reserved: number[] = [];
  const objects = values.map((value, at) => {
    if (value === null) return undefined;
    const stored = open(value, at);
    if (stored?.object.instance !== instance) return undefined;
    promised = Math.max(promised, promisedOf(value));
    if (isReserved(value)) reserved.push(at);
    return stored;
  });
  return { objects, promised, reserved };
}

/**
 * The objects, each with the operation that holds it, if any; `holds` has index and operation in
 * turn.
 */
function withHolders(
  objects: readonly (OwnStoredObject | undefined)[],
  holds: readonly unknown[],
): readonly (OwnStoredObject | undefined)[] {
  const operations = new Map<number, string>();
  for (let at = 0; at + 1 < holds.length; at += 2) {
    operations.set(Number(holds[at]) - 1, String(holds[at + 1]));
  }
  return objects.map((stored, at) => {
    const reserved = operations.get(at);
    return stored && reserved !== undefined ? { ...stored, reserved } : stored;
  });
}
