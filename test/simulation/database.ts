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

/** The key of a value; `Value` is only for the compiler. */
export interface Key<Value> {
  readonly name: string;
  readonly value?: Value;
}

/** A record in a store, with its local data. */
export interface Row {
  readonly object: ManagedObject;
  readonly tag: Tag;
  readonly promised: number;
  readonly created: number;
  /** Change number. */
  readonly number: number;
  /** The bytes do not decode. */
  readonly damaged?: boolean;
}

export interface Counters {
  readonly change: number;
  readonly promised: number;
  readonly created: number;
}

/** An agreed operation's reservation of one record. */
export interface Hold {
  readonly operation: string;
  readonly instance: string;
  readonly id: string;
  readonly sinceMs: number;
}

/** The changes of one script, so that they can be repeated elsewhere and undone. */
export type Entry = readonly (readonly [key: string, before: unknown, after: unknown])[];

/** The partition number that counts changes outside of records: levels, cursors, reservations. */
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

/** The rows of a partition; there are few in a simulation, so a list is enough. */
type Rows = readonly Row[];
type Holds = readonly Hold[];

/** The keys of one Redis process; a script changes them completely or not at all. */
export class Tables {
  readonly #cells: Map<string, unknown>;
  readonly #full: boolean;
  readonly #changed: [string, unknown, unknown][] = [];

  constructor(cells: Map<string, unknown>, full = false) {
    this.#cells = cells;
    this.#full = full;
  }

  /** Refuses a script that needs memory if memory is full, before anything is written. */
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

  /** The changes that were made through this view. */
  entry(): Entry {
    return this.#changed;
  }

  counters(partition: number): Counters {
    return this.get(keys.counters(partition)) ?? none;
  }

  /** Counts a change outside of records, so that reads of it know which number they wait for. */
  count(): void {
    const { change, created } = this.counters(metaPartition);
    const next = change + 1;
    this.set(keys.counters(metaPartition), { change: next, promised: next, created });
  }

  /** All rows of a partition, in the order of their creation. */
  rows(partition: number): Rows {
    return this.get(rowsKey(partition)) ?? [];
  }

  /** The record of an identifier in an instance's partition, even if another instance owns it. */
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

  /** The system instance, which exists before any other, is never closed. */
  statusOf(instance: string): InstanceStatus | undefined {
    if (instance === systemInstance) return "Installed";
    return this.get(keys.status(instance)) as InstanceStatus | undefined;
  }
}

const holdsKey: Key<Holds> = { name: "holds" };

function rowsKey(partition: number): Key<Rows> {
  return { name: `r/${partition}` };
}

/** Repeats the changes of a script. */
export function redo(cells: Map<string, unknown>, entry: Entry): void {
  for (const [key, , after] of entry) put(cells, key, after);
}

/** Undoes the changes of the last script. */
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
