import {
  type KindName,
  type ManagedObject,
  readAnyRecord,
  recordKinds,
  type SystemRecord,
} from "@holdfast/engine";

type Records = Map<string, SystemRecord>;

const none: ReadonlyMap<string, never> = new Map<string, never>();

/** System records, typed: by kind, by their instance, and by the key of their kind. */
export class RecordIndex {
  readonly #records: Records = new Map();
  /** By kind, by kind and instance (live ones), by kind and key; each by identifier. */
  readonly #sets = new Map<string, Records>();

  /** Keeps a record in place of its older version; an invalid one changes nothing. */
  protected put(object: ManagedObject): void {
    const record = readAnyRecord(object);
    if (record === undefined) return;
    const known = this.#records.get(record.id);
    for (const place of known === undefined ? [] : placesOf(known)) this.#remove(place, record.id);
    this.#records.set(record.id, record);
    for (const place of placesOf(record)) this.#add(place, record);
  }

  /** Forgets a record. */
  protected drop(id: string): void {
    const known = this.#records.get(id);
    for (const place of known === undefined ? [] : placesOf(known)) this.#remove(place, id);
    this.#records.delete(id);
  }

  /** All of a kind, deleted ones included. */
  all<Kind extends KindName>(kind: Kind): readonly SystemRecord<Kind>[] {
    return [...this.#set<Kind>(kind).values()];
  }

  /** One record; undefined where there is none of this kind. */
  get<Kind extends KindName>(kind: Kind, id: string): SystemRecord<Kind> | undefined {
    return this.#set<Kind>(kind).get(id);
  }

  /** Those of an instance by their identifiers, without deleted ones; of kind Instance, its own. */
  of<Kind extends KindName>(kind: Kind, instance: string): ReadonlyMap<string, SystemRecord<Kind>> {
    return this.#set<Kind>(`${kind} of ${instance}`);
  }

  /** Those with a key, deleted ones included: several only where regions were cut off from each other. */
  find<Kind extends KindName>(kind: Kind, key: string): readonly SystemRecord<Kind>[] {
    return [...this.#set<Kind>(`${kind} with ${key}`).values()];
  }

  #set<Kind extends KindName>(place: string): ReadonlyMap<string, SystemRecord<Kind>> {
    const found: ReadonlyMap<string, unknown> = this.#sets.get(place) ?? none;
    return found as ReadonlyMap<string, SystemRecord<Kind>>;
  }

  #add(place: string, record: SystemRecord): void {
    const records = this.#sets.get(place) ?? new Map<string, SystemRecord>();
    this.#sets.set(place, records.set(record.id, record));
  }

  #remove(place: string, id: string): void {
    const records = this.#sets.get(place);
    records?.delete(id);
    if (records?.size === 0) this.#sets.delete(place);
  }
}

function placesOf(record: SystemRecord): readonly string[] {
  const { type, destroyed } = record;
  const row = recordKinds[type];
  const key: unknown = "key" in row ? Reflect.get(record, row.key) : undefined;
  return [
    type,
    ...("instance" in record && destroyed === undefined ? [`${type} of ${record.instance}`] : []),
    ...(key === undefined ? [] : [`${type} with ${String(key)}`]),
  ];
}
