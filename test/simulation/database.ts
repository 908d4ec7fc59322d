import {
  type InstanceStatus,
  type Leaf,
  type Levels,
  type ManagedObject,
  type PeerCursor,
  partitionOf,
  type RecordsAnswer,
  StoreUnavailable,
  systemInstance,
  type Tag,
} from "@holdfast/engine";

/** Where a value lies; `Value` is only for the compiler. */
export interface Key<Value> {
  readonly name: string;
  readonly value?: Value;
}

/** A record in a store, with what is local to it. */
export interface Row {
  readonly object: ManagedObject;
  readonly tag: Tag;
  readonly promised: number;
  readonly created: number;
  /** Change number. */
  readonly number: number;
  /** Its bytes do not decode. */
  readonly damaged?: boolean;
}

export interface Counters {
  readonly change: number;
  readonly promised: number;
  readonly created: number;
}

/** An agreed operation's hold on one record. */
export interface Hold {
  readonly operation: string;
  readonly instance: string;
  readonly id: string;
  readonly sinceMs: number;
}

/** What one script changed, so that it can be repeated elsewhere and taken back. */
export type Entry = readonly (readonly [key: string, before: unknown, after: unknown])[];

/** Counts what lies in no partition's records: levels, cursors, reservations. */
export const metaPartition = -1;

const none: Counters = { change: 0, promised: 0, created: 0 };

export const keys = {
  storeId: { name: "store" } as Key<string>,
  replicas: { name: "replicas" } as Key<readonly string[]>,
  beat: { name: "beat" } as Key<number>,
  levels: { name: "levels" } as Key<Levels>,
  epoch: { name: "epoch" } as Key<number>,
  quarantine: { name: "quarantine" } as Key<readonly string[]>,
  counters: (partition: number): Key<Counters> => ({ name: `c/${partition}` }),
  covered: (partition: number): Key<number> => ({ name: `v/${partition}` }),
  status: (instance: string): Key<string> => ({ name: `s/${instance}` }),
  audit: (instance: string): Key<readonly unknown[]> => ({ name: `a/${instance}` }),
  cursor: (partition: number, peer: string): Key<PeerCursor> => ({
    name: `p/${partition}/${peer}`,
  }),
};

/** Rows and holds of a partition; small in a simulation, so that a list will do. */
type Rows = readonly Row[];
type Holds = readonly Hold[];

/** The keys of one Redis process, read by scripts and changed by them whole or not at all. */
export class Tables {
  readonly #cells: Map<string, unknown>;
  readonly #full: boolean;
  readonly #changed: [string, unknown, unknown][] = [];

  constructor(cells: Map<string, unknown>, full = false) {
    this.#cells = cells;
    this.#full = full;
  }

  /** Refuses what needs memory where there is none, before anything is written. */
  requireRoom(): void {
    if (this.#full) throw new StoreUnavailable("full", "no room");
  }

  get<Value>(key: Key<Value>): Value | undefined {
    return this.#cells.get(key.name) as Value | undefined;
  }

  set<Value>(key: Key<Value>, value: Value | undefined): void {
    this.#changed.push([key.name, this.#cells.get(key.name), value]);
    put(this.#cells, key.name, value);
  }

  /** What was changed through this view. */
  entry(): Entry {
    return this.#changed;
  }

  counters(partition: number): Counters {
    return this.get(keys.counters(partition)) ?? none;
  }

  /** Counts a change of something that is not a record, so that reads of it know what they wait for. */
  count(): void {
    const { change, created } = this.counters(metaPartition);
    const next = change + 1;
    this.set(keys.counters(metaPartition), { change: next, promised: next, created });
  }

  /** All rows of a partition, in the order of their creation. */
  rows(partition: number): Rows {
    return this.get(rowsKey(partition)) ?? [];
  }

  /** The record of an identifier in the partition of an instance, whosever it is. */
  row(instance: string, id: string): Row | undefined {
    return this.rows(partitionOf(instance)).find(({ object }) => object.uniqueIdentifier === id);
  }

  putRow(row: Row): void {
    const partition = partitionOf(row.object.instance);
    const id = row.object.uniqueIdentifier;
    const rows = this.rows(partition);
    const at = rows.findIndex(({ object }) => object.uniqueIdentifier === id);
    this.set(rowsKey(partition), at < 0 ? [...rows, row] : rows.with(at, row));
  }

  holds(): Holds {
    return this.get(holdsKey) ?? [];
  }

  setHolds(holds: Holds): void {
    this.set(holdsKey, holds);
  }

  holdOf(instance: string, id: string): Hold | undefined {
    return this.holds().find((hold) => hold.instance === instance && hold.id === id);
  }

  /** What is known before any instance is never closed. */
  statusOf(instance: string): InstanceStatus | undefined {
    if (instance === systemInstance) return "Installed";
    return this.get(keys.status(instance)) as InstanceStatus | undefined;
  }
}

const holdsKey: Key<Holds> = { name: "holds" };

function rowsKey(partition: number): Key<Rows> {
  return { name: `r/${partition}` };
}

/** Repeats what a script did. */
export function redo(cells: Map<string, unknown>, entry: Entry): void {
  for (const [key, , after] of entry) put(cells, key, after);
}

/** Takes back what a script did last. */
export function undo(cells: Map<string, unknown>, entry: Entry): void {
  for (const [key, before] of entry.toReversed()) put(cells, key, before);
}

function put(cells: Map<string, unknown>, key: string, value: unknown): void {
  if (value === undefined) cells.delete(key);
  else cells.set(key, value);
}

/** The records that decode, and the identifiers of those that do not. */
export function intactOf(rows: readonly Row[]): RecordsAnswer {
  const whole = rows.filter(({ damaged }) => damaged !== true);
  const damaged = rows.filter((row) => row.damaged === true);
  return {
    objects: whole.map(({ object }) => object),
    damaged: damaged.map(({ object }) => object.uniqueIdentifier),
    unknown: [],
  };
}

export function leafOf({ object, tag }: Row): Leaf {
  return { uniqueIdentifier: object.uniqueIdentifier, tag };
}
