import {
  type ChangePage,
  type Leaf,
  type LeafPage,
  type ManagedObject,
  type RecordsAnswer,
  type StorePosition,
  StoreUnavailable,
} from "@holdfast/engine";
import { allPartitions, identifierIn, partitionKeys, recordKey } from "../connection/keys.ts";
import {
  changedOf,
  type PartitionHead,
  readPartitionHead,
  recordHeaderLength,
} from "../connection/record-header.ts";
import type { StoredRecords } from "../proof/stored-records.ts";
import { type Answer, Answers } from "../session/answers.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

/**
 * Most records in one answer of `changes.lua`, and most bytes: every other client waits while it
 * runs.
 */
const recordsPerScript = 256;
const bytesPerScript = 1 << 18;
/** The most that one page collects from several such answers. */
const recordsPerPage = 4_096;
const bytesPerPage = 8 << 20;
/** Entries that one `leaves.lua` looks at, and leaves in one page. */
const entriesPerScript = 2_048;
const leavesPerPage = 8_192;
/** Scripts in one page of leaves; a narrow mask finds little in many. */
const scriptsPerPage = 16;
/** Records in one MGET, and in one answer. */
const recordsPerRead = 64;
const recordsMax = 1_000;
const digestBytes = 256 * 16;

/** What another region pulls: changed records, digests, leaves. All of it is covered. */
export class Changes {
  readonly #context: StoreContext;
  readonly #answers: Answers;
  readonly #records: StoredRecords;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#records = context.records;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.position`. */
  readonly position = async (): Promise<StorePosition> => {
    const keys = allPartitions.flatMap(({ head, counters }) => [head, counters]);
    const answer = await this.#answers.ask("position", keys, []);
    const { session } = answer;
    const numbers: number[] = [];
    const heads: PartitionHead[] = [];
    const list = [undefined, ...answer.rest];
    for (let at = 0; at + 1 < list.length; at += 2) {
      const head = at === 0 ? answer.head : readPartitionHead(list[at] as Buffer);
      this.#answers.check(session, head);
      heads.push(head);
      numbers.push(Number(list[at + 1]));
    }
    if (numbers.length !== allPartitions.length) {
      throw new StoreUnavailable("badReply", "position.lua answered for other partitions");
    }
    // Callers that wait share one barrier.
    const cover = (head: PartitionHead, partition: number): Promise<void> =>
      this.#answers.cover(session, partition, head, numbers[partition] ?? 0);
    await Promise.all(heads.map(cover));
    return { replicationId: this.#answers.replicationId(session), numbers };
  };

  /** See `OwnStore.changes`. */
  readonly changes = async (
    partition: number,
    after: number,
    limit: number,
    bytesMax: number,
  ): Promise<ChangePage> => {
    const keys = partitionKeys(partition);
    const most = Math.max(1, Math.min(limit, recordsPerPage));
    const full = Math.max(1, Math.min(bytesMax, bytesPerPage));
    const session = await this.#answers.session();
    const page = new Page(after, this.#found(session, partition));
    let answer: Answer;
    do {
      const args = [
        String(page.upTo),
        String(Math.min(recordsPerScript, most - page.taken)),
        String(Math.min(bytesPerScript, full - page.bytes)),
        keys.record,
      ];
      const asked = [keys.head, keys.counters, keys.changes];
      answer = await this.#answers.ask("changes", asked, args, session);
      page.add(answer);
    } while (page.taken < most && page.bytes < full && page.upTo < page.last);
    await page.found.settle();
    // A cursor from a store that this one replaced may be beyond its numbers: those are not covered yet.
    const covered = Math.min(page.upTo, page.last);
    await this.#answers.cover(session, partition, answer.head, covered);
    const { upTo, last } = page;
    const { objects, damaged, unknown } = page.found;
    const replicationId = this.#answers.replicationId(session);
    return { replicationId, objects, damaged, unknown, upTo, last };
  };

  /** See `OwnStore.digests`. */
  readonly digests = async (partition: number): Promise<Uint8Array> => {
    const { head, counters, digests } = partitionKeys(partition);
    const answer = await this.#answers.ask("digests", [head, counters, digests], []);
    await this.#answers.cover(answer.session, partition, answer.head, answer.number);
    const whole = new Uint8Array(digestBytes);
    whole.set((answer.rest[0] as Buffer).subarray(0, digestBytes));
    return whole;
  };

  /** See `OwnStore.leaves`. */
  readonly leaves = async (
    partition: number,
    mask: Uint8Array,
    after: number | undefined,
  ): Promise<LeafPage> => {
    if (mask.length !== 32) throw new RangeError("a mask of leaves has 32 bytes");
    const { head, changes } = partitionKeys(partition);
    const session = await this.#answers.session();
    const leaves: Leaf[] = [];
    let from = after ?? 0;
    let more = true;
    for (let scripts = 0; more; scripts += 1) {
      const args = [String(from), Buffer.from(mask), String(entriesPerScript)];
      const answer = await this.#answers.ask("leaves", [head, changes], args, session);
      const [follows, members] = answer.rest as [number, Buffer[]];
      leaves.push(...members.map(leafOf));
      from = answer.number;
      more = follows === 1;
      if (more && leaves.length < leavesPerPage && scripts + 1 < scriptsPerPage) continue;
      // Nothing follows a cursor that is beyond this store's numbers.
      if (from > (after ?? 0)) await this.#answers.cover(session, partition, answer.head, from);
      break;
    }
    const replicationId = this.#answers.replicationId(session);
    return more ? { replicationId, leaves, next: from } : { replicationId, leaves };
  };

  /** See `OwnStore.records`. */
  readonly records = async (partition: number, ids: readonly string[]): Promise<RecordsAnswer> => {
    if (ids.length > recordsMax) throw new RangeError(`at most ${recordsMax} identifiers`);
    const session = await this.#answers.session();
    const found = this.#found(session, partition);
    for (let at = 0; at < ids.length; at += recordsPerRead) {
      const some = ids.slice(at, at + recordsPerRead);
      const values = await this.#values(session, partition, some);
      for (const [index, value] of values.entries()) {
        if (value === null) found.miss(some[index] ?? "");
        else found.add(some[index] ?? "", value);
      }
    }
    await found.settle();
    const { objects, damaged, unknown } = found;
    return { objects, damaged, unknown };
  };

  #found(session: PrimarySession, partition: number): FoundRecords {
    const { older } = this.#context;
    return new FoundRecords({
      open: (identifier, value) =>
        this.#records.open(session.storageKeys, { partition, identifier }, value).object,
      seemsOlder: (identifier, value) => older.seems(partition, identifier, value),
      older: (ids) => older.confirm(session, partition, ids),
    });
  }

  /** The values of records, all covered. */
  async #values(
    session: PrimarySession,
    partition: number,
    ids: readonly string[],
  ): Promise<readonly (Buffer | null)[]> {
    const { record } = partitionKeys(partition);
    const keys = ids.map((id) => recordKey(record, id));
    const asked = keys.filter((key) => key !== undefined);
    const { head, values } = await session.reading((reader) => reader.read(partition, asked));
    this.#answers.check(session, head);
    const numbers = values.map((value) =>
      value === null || value.length < recordHeaderLength ? 0 : changedOf(value),
    );
    await this.#answers.cover(session, partition, head, Math.max(0, ...numbers));
    const missing = asked.filter((_, index) => values[index] === null);
    const strange = await this.#ofAnotherType(session, missing);
    let next = 0;
    return keys.map((key) => {
      if (key === undefined) return null;
      const value = values[next++] ?? null;
      return value === null && strange.has(key) ? Buffer.alloc(0) : value;
    });
  }

  /** Those of the keys that exist although MGET answers null for them. */
  async #ofAnotherType(
    session: PrimarySession,
    keys: readonly Buffer[],
  ): Promise<ReadonlySet<Buffer>> {
    const found = new Set<Buffer>();
    const existing = (some: readonly Buffer[]) =>
      session.reading((reader) => reader.existing(some));
    if (keys.length === 0 || (await existing(keys)) === 0) return found;
    for (const key of keys) if ((await existing([key])) > 0) found.add(key);
    return found;
  }
}

/** How values of records are read. */
interface Reading {
  readonly open: (id: string, value: Buffer) => ManagedObject;
  readonly seemsOlder: (id: string, value: Buffer | null) => boolean;
  /** Those of these records that are older than what is remembered, or missing; what they lack. */
  readonly older: (ids: readonly string[]) => Promise<ReadonlyMap<string, unknown>>;
}

/** Records, sorted by whether they can be read. */
class FoundRecords {
  objects: ManagedObject[] = [];
  readonly damaged: string[] = [];
  readonly unknown: string[] = [];
  readonly #suspects: string[] = [];
  readonly #reading: Reading;

  constructor(reading: Reading) {
    this.#reading = reading;
  }

  add(id: string, value: Buffer): void {
    try {
      this.objects.push(this.#reading.open(id, value));
      if (this.#reading.seemsOlder(id, value)) this.#suspects.push(id);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      (error.failure === "unknownFormat" ? this.unknown : this.damaged).push(id);
    }
  }

  /** Notes that Redis has no such record. */
  miss(id: string): void {
    if (this.#reading.seemsOlder(id, null)) this.#suspects.push(id);
  }

  /** Counts the records that are older than what is remembered as damaged. */
  async settle(): Promise<void> {
    const older = await this.#reading.older(this.#suspects);
    if (older.size === 0) return;
    this.objects = this.objects.filter(({ uniqueIdentifier }) => !older.has(uniqueIdentifier));
    this.damaged.push(...older.keys());
  }
}

/** Several answers of `changes.lua`, combined. */
class Page {
  readonly found: FoundRecords;
  upTo: number;
  last = 0;
  taken = 0;
  bytes = 0;

  constructor(after: number, found: FoundRecords) {
    this.upTo = after;
    this.found = found;
  }

  add({ number, rest }: Answer): void {
    const [last, entries] = rest as [number, Buffer[]];
    this.upTo = number;
    this.last = last;
    for (let at = 0; at + 1 < entries.length; at += 2) {
      const [id, value] = [entries[at], entries[at + 1]];
      if (id === undefined || value === undefined) continue;
      this.found.add(identifierIn(id), value);
      this.taken += 1;
      this.bytes += value.length;
    }
  }
}

function leafOf(member: Buffer): Leaf {
  return { uniqueIdentifier: identifierIn(member), tag: member.toString("hex", 16, 32) };
}
