import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  type ManagedObject,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import { commitPlan, servedPlan } from "./commit-plan.ts";
import { otherStore } from "./committer.ts";
import { DecodedRecords, decodeStored } from "./decoded-records.ts";
import { FairGate } from "./fair-gate.ts";
import {
  instanceKeys,
  type PartitionKeys,
  partitionCount,
  partitionKeys,
  partitionOf,
  recordKey,
  termPlace,
} from "./keys.ts";
import { type PartitionHead, promisedOf, readPartitionHead } from "./record-header.ts";
import { readReply } from "./replies.ts";
import type { StoreContext, Tenure } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

const partitions = Array.from({ length: partitionCount }, (_, number) => partitionKeys(number));
/** Records in one answer of `find.lua`, which keeps everyone else waiting while it runs. */
const pageMax = 256;
/** Bytes after which such an answer ends: a hundred large objects in one would cost everyone their time-out. */
const pageBytesMax = 1 << 18;
/** Pages at the same time: of a hundred, the last would come after its time-out, and everything else with it. */
const pagesAtOnce = 2;

/** A record's value, and the highest change number that an answer with it rests on. */
interface Found {
  readonly objects: (StoredObject | undefined)[];
  readonly promised: number;
}

/** Managed objects in Redis. */
export class RedisObjects {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;
  readonly #pages = new FairGate(pagesAtOnce);
  readonly #decoded = new DecodedRecords();

  constructor(context: StoreContext, tenures: Tenures) {
    this.#context = context;
    this.#tenures = tenures;
  }

  /** See `ObjectStore.read`. */
  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    if (ids.length === 0) return [];
    const number = partitionOf(instance);
    const { record } = keysOf(number);
    const keys = ids.map((id) => recordKey(record, id));
    const asked = keys.filter((key) => key !== undefined);
    const tenure = this.#tenures.now("read") ?? (await this.#tenures.require("read"));
    const { head, values } = await tenure.reading((reader) => reader.read(number, asked));
    this.#check(tenure, head);
    const missing = asked.filter((_, index) => values[index] === null);
    if (missing.length > 0) await this.#checkMissing(tenure, number, missing);
    const named = ids.filter((_, index) => keys[index] !== undefined);
    const decode = (value: Buffer, at: number) => this.#decoded.decode(named[at] ?? "", value);
    const { objects, promised } = foundIn(values, instance, decode);
    await this.#cover(tenure, number, head, promised);
    let next = 0;
    return keys.map((key) => (key === undefined ? undefined : objects[next++]));
  }

  /** See `ObjectStore.commit`. */
  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    const { scripts, settings } = this.#context;
    const foreign = changes.find((change) => isForeign(instance, change));
    const tenure = this.#tenures.now("write") ?? (await this.#tenures.require("write"));
    if (foreign !== undefined) {
      return { kind: "conflict", uniqueIdentifier: foreign.after.uniqueIdentifier };
    }
    const number = partitionOf(instance);
    const plan = commitPlan(keysOf(number), instance, changes, audit, settings);
    const started = this.#now();
    const reply = await tenure.committer.submit(scripts.commit, number, plan.keys, plan.args);
    this.#took("commit", started);
    return plan.outcome(reply);
  }

  /** See `ObjectStore.markServed`. */
  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    const { scripts, settings } = this.#context;
    const tenure = this.#tenures.now("write");
    if (tenure?.reader === undefined) return false;
    if (isForeign(instance, { kind: "update", before, after })) return false;
    try {
      const plan = servedPlan(keysOf(partitionOf(instance)), instance, before, after, settings);
      const answer = await tenure.reader.connection.run(scripts.commit, plan.keys, plan.args);
      return readReply(answer).result === "committed";
    } catch {
      return false;
    }
  }

  /** See `ObjectStore.find`. */
  async find(instance: string, query: FindQuery): Promise<FindPage> {
    const { term, live, destroyed, after } = query;
    const number = partitionOf(instance);
    const { prefix, head, counters, record } = keysOf(number);
    const keys = instanceKeys(prefix, instance);
    const place = termPlace(prefix, instance, term ?? "");
    const most = Math.max(1, Math.min(query.limit, pageMax));
    const tenure = this.#tenures.now("read") ?? (await this.#tenures.require("read"));
    const scriptKeys = [head, counters, keys.live, keys.destroyed, place.bucket];
    const scriptArgs = [
      term === undefined ? "" : place.hash,
      live ? "1" : "0",
      destroyed ? "1" : "0",
      String(most),
      cursor(after),
      record,
      String(pageBytesMax),
    ];
    const { next, objects, promised, partitionHead } = await this.#pages.run(instance, async () => {
      const started = this.#now();
      const answer = await tenure.reading(({ connection }) =>
        connection.run(this.#context.scripts.find, scriptKeys, scriptArgs),
      );
      this.#took("find", started);
      const { rest, ...reply } = readReply(answer);
      const [headBytes, after, records] = rest as [Buffer?, Buffer?, Buffer[]?];
      const partitionHead = readPartitionHead(headBytes);
      this.#check(tenure, partitionHead);
      const { objects } = foundIn(records ?? [], instance, (value) => decodeStored(value));
      return { partitionHead, promised: reply.number, next: after, objects };
    });
    // What is missing from the page counts as much as what is on it, so the whole partition must be covered.
    await this.#cover(tenure, number, partitionHead, promised);
    const found = objects.filter((object) => object !== undefined);
    return next?.length ? { objects: found, next: String(next) } : { objects: found };
  }

  #now(): number {
    return this.#context.lease.now().monotonicMs;
  }

  #took(command: string, started: number): void {
    this.#context.observe({ type: "storeCommand", command, durationMs: this.#now() - started });
  }

  /** Refuses an answer that came when the lease was over, or from an emptied or another store. */
  #check(tenure: Tenure, head: PartitionHead | undefined): asserts head is PartitionHead {
    this.#tenures.assert(tenure, "read");
    if (head?.storeId === tenure.storeId) return;
    const failure = otherStore(tenure.address, tenure.storeId, head?.storeId);
    tenure.end(failure);
    throw failure;
  }

  /** MGET says nothing of a key of another type, and "not there" is for ever. */
  async #checkMissing(tenure: Tenure, partition: number, keys: readonly Buffer[]): Promise<void> {
    const existing = await tenure.reading((reader) => reader.existing(keys));
    this.#tenures.assert(tenure, "read");
    if (existing === 0) return;
    const { values } = await tenure.reading((reader) => reader.read(partition, keys));
    this.#tenures.assert(tenure, "read");
    const created = values.filter((value) => value !== null).length;
    if (created >= existing) return;
    throw new StoreUnavailable("corrupt", "a record's key holds another type than it should");
  }

  /** Nothing is answered that a fail-over could take back. */
  async #cover(
    tenure: Tenure,
    partition: number,
    head: PartitionHead,
    promised: number,
  ): Promise<void> {
    const waited = promised > Math.max(head.covered, tenure.covered.of(partition));
    this.#context.observe({ type: "coveredRead", waited });
    if (!waited) return;
    await tenure.committer.cover(partition, promised);
    this.#tenures.assert(tenure, "read");
  }
}

function keysOf(partition: number): PartitionKeys {
  return partitions[partition] ?? partitionKeys(partition);
}

/** An object of another instance is as if it were not there. */
function isForeign(instance: string, change: Change): boolean {
  const before = change.kind === "update" ? change.before.object : change.after;
  return before.instance !== instance || change.after.instance !== instance;
}

function cursor(after: string | undefined): string {
  if (after === undefined) return "";
  if (!/^\d{1,15}$/.test(after)) throw new RangeError("a find's cursor is none of this store's");
  return after;
}

/** The objects in the values of records. */
function foundIn(
  values: readonly (Buffer | null)[],
  instance: string,
  decode: (value: Buffer, at: number) => StoredObject,
): Found {
  let promised = 0;
  const objects = values.map((value, at) => {
    if (value === null) return undefined;
    const stored = decode(value, at);
    if (stored.object.instance !== instance) return undefined;
    promised = Math.max(promised, promisedOf(value));
    return stored;
  });
  return { objects, promised };
}
