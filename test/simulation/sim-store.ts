import {
  type AuditEvent,
  type Change,
  type ChangePage,
  type CommitOutcome,
  digestsOf,
  type FindQuery,
  indexTerms,
  inMask,
  type Leaf,
  type LeafPage,
  type Levels,
  type ManagedObject,
  type OwnCommitOptions,
  type OwnFindPage,
  type OwnStore,
  type OwnStoredObject,
  type PeerCursor,
  partitionOf,
  type RecordsAnswer,
  type Reservation,
  type ReserveOutcome,
  type StoredObject,
  type StorePosition,
  type StoreState,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import { keys, type Row, type Tables } from "./database.ts";
import { type Answer, commit, end, reserve, served, write } from "./scripts.ts";
import type { StoreKeeper } from "./store-keeper.ts";
import type { SubmitOptions } from "./store-session.ts";

const leavesMax = 1_000;

/** A region's own store on a simulated Redis: what `RedisStore` is on a real one. */
export class SimStore implements OwnStore {
  readonly #keeper: StoreKeeper;
  /** Keeps evidence, which histories do not need. */
  readonly #audits: boolean;
  /** Change numbers at which objects were read, for the fault that takes them for versions. */
  readonly #numbers: WeakMap<ManagedObject, number>;

  constructor(keeper: StoreKeeper, numbers: WeakMap<ManagedObject, number>, audits = false) {
    this.#keeper = keeper;
    this.#numbers = numbers;
    this.#audits = audits;
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
    return this.#covered((tables) => {
      const rows = ids.map((id) => {
        const row = tables.row(instance, id);
        return row?.object.instance === instance ? row : undefined;
      });
      const promised = Math.max(0, ...rows.map((row) => row?.promised ?? 0));
      const value = rows.map((row) => (row === undefined ? row : this.#stored(tables, row)));
      return { value, numbers: [[partition, promised]] };
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
  ): Promise<ReserveOutcome> {
    const sinceMs = this.#keeper.now().wallMs;
    return this.#change(
      (tables) => ({ value: reserve(tables, instance, ids, operation, sinceMs), number: 0 }),
      { partition: partitionOf(instance) },
    );
  }

  async release(instance: string, operation: string, epoch?: number): Promise<number> {
    return this.#change(
      (tables) => {
        fence(tables, epoch);
        return { value: end(tables, instance, operation), number: 0 };
      },
      { partition: partitionOf(instance) },
    );
  }

  async reservations(): Promise<readonly Reservation[]> {
    const holds = await this.#change((tables) => ({ value: tables.holds(), number: 0 }), {
      partition: sysPartition,
    });
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
        { length: sysPartition + 1 },
        (_, partition) => tables.counters(partition).change,
      );
      return { value: { replicationId, numbers }, numbers: [...numbers.entries()] };
    });
  }

  async changes(
    partition: number,
    after: number,
    limit: number,
    _bytesMax: number,
  ): Promise<ChangePage> {
    return this.#covered((tables, replicationId) => {
      const { change: last } = tables.counters(partition);
      const later = changedAfter(tables, partition, after);
      const page = later.slice(0, Math.max(1, limit));
      const more = page.length < later.length;
      const upTo = more ? (page.at(-1)?.number ?? after) : Math.max(after, last);
      const objects = page.map(({ object }) => object);
      const value = { replicationId, objects, damaged: [], upTo, last };
      return { value, numbers: [[partition, last]] };
    });
  }

  async digests(partition: number): Promise<Uint8Array> {
    return this.#covered((tables) => ({
      value: digestsOf(tables.rows(partition).map(leafOf)),
      numbers: [[partition, tables.counters(partition).change]],
    }));
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
    return this.#covered((tables) => {
      const rows = tables
        .rows(partition)
        .filter(({ object }) => ids.includes(object.uniqueIdentifier));
      const number = Math.max(0, ...rows.map((row) => row.number));
      const objects = rows.map(({ object }) => object);
      return { value: { objects, damaged: [] }, numbers: [[partition, number]] };
    });
  }

  async cursor(partition: number, peer: string): Promise<PeerCursor | undefined> {
    return this.#covered((tables) => ({
      value: tables.get(keys.cursor(partition, peer)),
      numbers: [],
    }));
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
        return { value: undefined, number: 0 };
      },
      { partition },
    );
  }

  async askLevel(): Promise<number> {
    return this.#change(
      (tables) => {
        const levels = levelsIn(tables);
        const asked = levels.asked + 1;
        tables.set(keys.levels, { ...levels, asked });
        return { value: asked, number: 0 };
      },
      { partition: sysPartition },
    );
  }

  async levels(): Promise<Levels> {
    return this.#change((tables) => ({ value: levelsIn(tables), number: 0 }), {
      partition: sysPartition,
    });
  }

  async setLevel(reached: number, epoch: number): Promise<void> {
    await this.#change(
      (tables) => {
        fence(tables, epoch);
        const levels = levelsIn(tables);
        tables.set(keys.levels, { ...levels, reached: Math.max(levels.reached, reached) });
        return { value: undefined, number: 0 };
      },
      { partition: sysPartition },
    );
  }

  async newEpoch(): Promise<number> {
    return this.#change(
      (tables) => {
        const epoch = (tables.get(keys.epoch) ?? 0) + 1;
        tables.set(keys.epoch, epoch);
        return { value: epoch, number: 0 };
      },
      { partition: sysPartition },
    );
  }

  async quarantine(
    _instance: string,
    uniqueIdentifier: string,
    _reason: string,
    { copy }: Parameters<OwnStore["quarantine"]>[3],
  ): Promise<void> {
    await this.#change(
      (tables) => {
        // Nothing here is ever damaged: only what another region sent can be put aside.
        const aside = new Set(tables.get(keys.quarantine) ?? []);
        if (copy !== undefined) {
          aside.add(`${uniqueIdentifier} ${Buffer.from(copy).toString("hex")}`);
          tables.set(keys.quarantine, [...aside]);
        }
        return { value: undefined, number: 0 };
      },
      { partition: sysPartition },
    );
  }

  async quarantined(): Promise<number> {
    return this.#covered((tables) => ({
      value: tables.get(keys.quarantine)?.length ?? 0,
      numbers: [],
    }));
  }

  /** Puts a record where nobody wrote it: for tests of the store alone. */
  async force(object: ManagedObject): Promise<void> {
    await this.#change(
      (tables) => {
        write(tables, object, true);
        return { value: undefined, number: 0 };
      },
      { partition: partitionOf(object.instance) },
    );
  }

  #stored(tables: Tables, { object, tag, number }: Row): OwnStoredObject {
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

  /** Answers what a script finds when no fail-over can take it back. */
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

type Finding<Value> = (
  tables: Tables,
  replicationId: string,
) => { readonly value: Value; readonly numbers: readonly (readonly [number, number])[] };

/** Refuses a leader that is none any more; before anything is written. */
function fence(tables: Tables, epoch: number | undefined): void {
  if (epoch === undefined || epoch >= (tables.get(keys.epoch) ?? 0)) return;
  throw new StoreUnavailable("deposed", "the store has seen a higher epoch");
}

function levelsIn(tables: Tables): Levels {
  return tables.get(keys.levels) ?? { asked: 0, reached: 0 };
}

function changedAfter(tables: Tables, partition: number, after: number): readonly Row[] {
  return tables
    .rows(partition)
    .filter(({ number }) => number > after)
    .toSorted((a, b) => a.number - b.number);
}

function leafOf({ object, tag }: Row): Leaf {
  return { uniqueIdentifier: object.uniqueIdentifier, tag };
}

function hasTerm(object: ManagedObject, term: string): boolean {
  return indexTerms(object).some((each) => each.term === term);
}
