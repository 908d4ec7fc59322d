import {
  type AuditEvent,
  type Change,
  type ChangePage,
  type CommitOutcome,
  countedOf,
  countObjects,
  digestsOf,
  encodeRecord,
  type FindQuery,
  type GivenRecord,
  type InstanceCounts,
  indexTerms,
  inMask,
  type LeafPage,
  type Levels,
  type ManagedObject,
  type OwnCommitOptions,
  type OwnFindPage,
  type OwnStore,
  type OwnStoredObject,
  type PeerCursor,
  partitionCount,
  partitionOf,
  type RecordsAnswer,
  type Recount,
  type Reservation,
  type ReserveOutcome,
  type StateCounts,
  type StoredObject,
  type StorePosition,
  type StoreState,
  StoreUnavailable,
  stateCounts,
} from "@holdfast/engine";
import { intactOf, keys, leafOf, metaPartition, type Row, type Tables } from "./database.ts";
import type { RedisProcess } from "./redis-process.ts";
import {
  type Answer,
  commit,
  end,
  putAside,
  requireGiven,
  reserve,
  type StoreFlaw,
  served,
} from "./scripts.ts";
import type { SubmitOptions } from "./store-session.ts";

const leavesMax = 1_000;
const recordsMax = 1_000;
/** The digests of a partition without records. */
export const noDigests = new Uint8Array(256 * 16);

/** Takes changes, and lets reads wait until the changes that they saw are covered. */
export interface Session {
  submit<Value>(script: (tables: Tables) => Answer<Value>, options: SubmitOptions): Promise<Value>;
  cover(numbers: ReadonlyMap<number, number>): Promise<void>;
}

/** A node's access to its region's store, with its lease; `StoreKeeper` on a simulated Redis. */
export interface Keeper {
  readonly flaws: ReadonlySet<StoreFlaw>;
  readonly storeId: string | undefined;
  state(): StoreState;
  onState(listener: (state: StoreState, reason: string) => void): () => void;
  now(): { readonly wallMs: number };
  require(need: "read" | "write"): Promise<Session>;
  read<Value>(
    script: (tables: Tables, process: Pick<RedisProcess, "replicationId">) => Value,
  ): Promise<{ readonly session: Session; readonly value: Value }>;
  assert(session: Session, need: "read" | "write"): void;
  tryWrite(script: (tables: Tables) => boolean): Promise<boolean>;
}

/** The parts that a simulated store may leave out to be fast. */
export interface SimStoreOptions {
  /** Whether it keeps audit events. */
  readonly audits?: boolean;
  /** The number of partitions in its position. */
  readonly partitions?: number;
}

/** A region's own store on a simulated Redis, like `RedisStore` on a real one. */
export class SimStore implements OwnStore {
  readonly #keeper: Keeper;
  readonly #numbers: WeakMap<ManagedObject, number>;
  readonly #audits: boolean;
  readonly #partitions: number;

  /** `numbers`: change numbers of objects that were read, for the flaw that uses them as versions. */
  constructor(
    keeper: Keeper,
    numbers: WeakMap<ManagedObject, number>,
    { audits = false, partitions = partitionCount + 1 }: SimStoreOptions = {},
  ) {
    this.#keeper = keeper;
    this.#numbers = numbers;
    this.#audits = audits;
    this.#partitions = partitions;
  }

  state(): StoreState {
    return this.#keeper.state();
  }

  get storeId(): string | undefined {
    return this.#keeper.storeId;
  }

  onState(listener: (state: StoreState, reason: string) => void): () => void {
    return this.#keeper.onState(listener);
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    const partition = partitionOf(instance);
    const unchecked = this.#keeper.flaws.has("no-change answered without a barrier");
    return this.#covered((tables) => {
      const rows = ids.map((id) => {
        const row = tables.row(instance, id);
        return row?.object.instance === instance ? row : undefined;
      });
      const promised = Math.max(0, ...rows.map((row) => row?.promised ?? 0));
      const value = rows.map((row) => (row === undefined ? row : this.#stored(tables, row)));
      return { value, numbers: unchecked ? [] : [[partition, promised]] };
    });
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: OwnCommitOptions = {},
  ): Promise<CommitOutcome> {
    const { flaws } = this.#keeper;
    const numberRead = (object: ManagedObject) => this.#numbers.get(object);
    let written = false;
    const script = (tables: Tables): Answer<CommitOutcome> => {
      const before = tables.entry().length;
      const answer = commit(tables, { instance, changes, options, flaws, numberRead });
      written = tables.entry().length > before;
      if (answer.value.kind === "committed") this.#append(tables, instance, audit);
      return answer;
    };
    let answered: CommitOutcome | undefined;
    const early = (value: unknown): boolean => {
      answered = value as CommitOutcome;
      if (flaws.has("acknowledge before the barrier")) return true;
      return !written && flaws.has("no-change answered without a barrier");
    };
    return this.#change(script, {
      partition: partitionOf(instance),
      early: (value) => {
        const now = early(value);
        if (answered?.kind === "committed") options.written?.();
        return now;
      },
    });
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    if (before.object.instance !== instance || after.instance !== instance) return false;
    return this.#keeper.tryWrite((tables) => served(tables, before.tag, after));
  }

  async find(instance: string, query: FindQuery): Promise<OwnFindPage> {
    const partition = partitionOf(instance);
    const before = query.after === undefined ? Number.POSITIVE_INFINITY : Number(query.after);
    return this.#covered((tables) => {
      const matching = tables
        .rows(partition)
        .filter(({ object, created }) => object.instance === instance && created < before)
        .filter(({ object }) =>
          object.facts.destroyed === undefined ? query.live : query.destroyed,
        )
        .filter(({ object }) => query.term === undefined || hasTerm(object, query.term))
        .toSorted((a, b) => b.created - a.created);
      const page = matching.slice(0, query.limit);
      const objects = page.map((row) => this.#stored(tables, row));
      const last = page.at(-1);
      const more = last !== undefined && matching.length > page.length;
      const value = more ? { objects, next: String(last.created) } : { objects };
      return { value, numbers: [[partition, tables.counters(partition).promised]] };
    });
  }

  async appendAudit(
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> {
    if (!strict && !this.#audits) return;
    await this.#change(
      (tables) => {
        tables.requireRoom();
        this.#append(tables, instance, events);
        return { value: undefined, number: 0 };
      },
      { partition: partitionOf(instance) },
    );
  }

  async reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    given?: readonly GivenRecord[],
  ): Promise<ReserveOutcome> {
    const sinceMs = this.#keeper.now().wallMs;
    return this.#change(
      (tables) => {
        requireGiven(tables, given);
        return counted(tables, reserve(tables, instance, ids, operation, sinceMs));
      },
      { partition: metaPartition },
    );
  }

  async release(instance: string, operation: string, epoch?: number): Promise<number> {
    return this.#change(
      (tables) => {
        fence(tables, epoch);
        return counted(tables, end(tables, instance, operation));
      },
      { partition: metaPartition },
    );
  }

  async reservations(): Promise<readonly Reservation[]> {
    const holds = await this.#covered((tables) => meta(tables, tables.holds()));
    const found = new Map<string, Reservation & { readonly ids: string[] }>();
    for (const { operation, instance, id, sinceMs } of holds) {
      const key = `${operation} ${instance}`;
      const known = found.get(key) ?? { operation, instance, ids: [], sinceMs };
      known.ids.push(id);
      found.set(key, known);
    }
    return [...found.values()];
  }

  async position(): Promise<StorePosition> {
    return this.#covered((tables, replicationId) => {
      const numbers = Array.from(
        { length: this.#partitions },
        (_, partition) => tables.counters(partition).change,
      );
      return { value: { replicationId, numbers }, numbers: [...numbers.entries()] };
    });
  }

  async changes(
    partition: number,
    after: number,
    limit: number,
    bytesMax: number,
  ): Promise<ChangePage> {
    return this.#covered((tables, replicationId) => {
      const { change: last } = tables.counters(partition);
      const later = changedAfter(tables, partition, after);
      const page = filled(later, limit, bytesMax);
      const more = page.length < later.length;
      const upTo = more ? (page.at(-1)?.number ?? after) : Math.max(after, last);
      const value = { replicationId, ...intactOf(page), upTo, last };
      return { value, numbers: [[partition, last]] };
    });
  }

  async digests(partition: number): Promise<Uint8Array> {
    if (partition >= this.#partitions) return noDigests;
    return this.#covered((tables) => ({
      value: digestsOf(tables.rows(partition).map(leafOf)),
      numbers: [[partition, tables.counters(partition).change]],
    }));
  }

  async counts(instance: string): Promise<StateCounts> {
    return (await this.countsIn(partitionOf(instance))).get(instance)?.states ?? stateCounts();
  }

  async countsIn(partition: number): Promise<ReadonlyMap<string, InstanceCounts>> {
    return this.#covered((tables) => ({
      value: countObjects(tables.rows(partition).map(({ object }) => countedOf(object))),
      numbers: [[partition, tables.counters(partition).promised]],
    }));
  }

  async recount(): Promise<Recount> {
    return { done: 0, left: 0, wrong: 0 };
  }

  async leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    return this.#covered((tables, replicationId) => {
      const rows = changedAfter(tables, partition, after ?? 0).filter(({ object }) =>
        inMask(mask, object.uniqueIdentifier),
      );
      const page = rows.slice(0, leavesMax);
      const leaves = page.map(leafOf);
      const next = page.at(-1)?.number ?? 0;
      const value =
        page.length < rows.length ? { replicationId, leaves, next } : { replicationId, leaves };
      return { value, numbers: [[partition, next]] };
    });
  }

  async records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    if (ids.length > recordsMax) throw new RangeError(`at most ${recordsMax} identifiers`);
    return this.#covered((tables) => {
      const rows = tables
        .rows(partition)
        .filter(({ object }) => ids.includes(object.uniqueIdentifier));
      const number = Math.max(0, ...rows.map((row) => row.number));
      return { value: intactOf(rows), numbers: [[partition, number]] };
    });
  }

  async cursor(partition: number, peer: string): Promise<PeerCursor | undefined> {
    return this.#covered((tables) => meta(tables, tables.get(keys.cursor(partition, peer))));
  }

  async setCursor(
    partition: number,
    peer: string,
    cursor: PeerCursor,
    epoch: number,
  ): Promise<void> {
    await this.#change(
      (tables) => {
        fence(tables, epoch);
        tables.set(keys.cursor(partition, peer), cursor);
        return counted(tables, undefined);
      },
      { partition: metaPartition },
    );
  }

  requestResync(): Promise<number> {
    return this.#wishLevel(() => ({}));
  }

  async loseLevel(): Promise<void> {
    await this.#wishLevel((lost) => ({ lost }));
  }

  async levels(): Promise<Levels> {
    return this.#covered((tables) => meta(tables, levelsIn(tables)));
  }

  async setLevel(reached: number, epoch: number): Promise<void> {
    await this.#change(
      (tables) => {
        fence(tables, epoch);
        const levels = levelsIn(tables);
        tables.set(keys.levels, { ...levels, reached: Math.max(levels.reached, reached) });
        return counted(tables, undefined);
      },
      { partition: metaPartition },
    );
  }

  async newEpoch(): Promise<number> {
    return this.#change(
      (tables) => {
        const epoch = (tables.get(keys.epoch) ?? 0) + 1;
        tables.set(keys.epoch, epoch);
        return counted(tables, epoch);
      },
      { partition: metaPartition },
    );
  }

  async quarantine(
    instance: string,
    id: string,
    _reason: string,
    { copy, replacement }: Parameters<OwnStore["quarantine"]>[3],
  ): Promise<void> {
    await this.#change(
      (tables) => {
        tables.requireRoom();
        putAside(tables, { instance, id, copy, replacement });
        return counted(tables, undefined);
      },
      { partition: metaPartition },
    );
  }

  async quarantined(): Promise<number> {
    return this.#covered((tables) => meta(tables, tables.get(keys.quarantine)?.length ?? 0));
  }

  #wishLevel(also: (asked: number) => Partial<Levels>): Promise<number> {
    return this.#change(
      (tables) => {
        const levels = levelsIn(tables);
        const asked = levels.asked + 1;
        tables.set(keys.levels, { ...levels, asked, ...also(asked) });
        return counted(tables, asked);
      },
      { partition: metaPartition },
    );
  }

  #stored(tables: Tables, { object, tag, number, damaged }: Row): OwnStoredObject {
    if (damaged === true) throw new StoreUnavailable("corrupt", "a record does not decode");
    this.#numbers.set(object, number);
    const hold = tables.holdOf(object.instance, object.uniqueIdentifier);
    return hold === undefined ? { object, tag } : { object, tag, reserved: hold.operation };
  }

  #append(tables: Tables, instance: string, events: readonly AuditEvent[]): void {
    if (!this.#audits || events.length === 0) return;
    const key = keys.audit(instance);
    tables.set(key, [...(tables.get(key) ?? []), ...events]);
  }

  async #change<Value>(
    script: (tables: Tables) => Answer<Value>,
    options: SubmitOptions,
  ): Promise<Value> {
    const session = await this.#keeper.require("write");
    return session.submit(script, options);
  }

  /** Returns the result of a script once no fail-over can take it back. */
  async #covered<Value>(script: Finding<Value>): Promise<Value> {
    const { session, value } = await this.#keeper.read((tables, { replicationId }) => {
      const found = script(tables, replicationId);
      const short = found.numbers.filter(
        ([partition, number]) => number > (tables.get(keys.covered(partition)) ?? 0),
      );
      return { value: found.value, short };
    });
    if (value.short.length > 0) {
      await session.cover(new Map(value.short));
      this.#keeper.assert(session, "read");
    }
    return value.value;
  }
}

interface Found<Value> {
  readonly value: Value;
  /** By partition, the change number that must be covered. */
  readonly numbers: readonly (readonly [number, number])[];
}

type Finding<Value> = (tables: Tables, replicationId: string) => Found<Value>;

/** Refuses a deposed leader before anything is written. */
function fence(tables: Tables, epoch: number | undefined): void {
  const seen = tables.get(keys.epoch) ?? 0;
  if (epoch === undefined || epoch === seen) return;
  if (epoch < seen) throw new StoreUnavailable("deposed", "the store has seen a higher epoch");
  tables.set(keys.epoch, epoch);
}

/** The answer of a script that changed something other than a record. */
function counted<Value>(tables: Tables, value: Value): Answer<Value> {
  tables.count();
  return { value, number: tables.counters(metaPartition).change };
}

/** A result that is not a record. */
function meta<Value>(tables: Tables, value: Value): Found<Value> {
  return { value, numbers: [[metaPartition, tables.counters(metaPartition).change]] };
}

function levelsIn(tables: Tables): Levels {
  return tables.get(keys.levels) ?? { asked: 0, reached: 0, lost: 0 };
}

function changedAfter(tables: Tables, partition: number, after: number): readonly Row[] {
  return tables
    .rows(partition)
    .filter(({ number }) => number > after)
    .toSorted((a, b) => a.number - b.number);
}

/** At most `limit` rows and about `bytesMax` bytes, but at least one row. */
function filled(rows: readonly Row[], limit: number, bytesMax: number): readonly Row[] {
  let bytes = 0;
  const end = rows.findIndex(({ object }, at) => {
    if (at > 0 && (at >= limit || bytes >= bytesMax)) return true;
    if (bytesMax < 1 << 20) bytes += encodeRecord(object).length;
    return false;
  });
  return end < 0 ? rows : rows.slice(0, end);
}

function hasTerm(object: ManagedObject, term: string): boolean {
  return indexTerms(object).some((each) => each.term === term);
}
