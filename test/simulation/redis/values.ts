import { type Bytes, CommandError, errors } from "./reply.ts";
import { SortedSet } from "./sorted-set.ts";

/** An entry of a stream: its identifier's two numbers, and its fields and values by turns. */
export interface StreamEntry {
  readonly ms: number;
  readonly seq: number;
  readonly fields: readonly Bytes[];
}

/** A stream; it remembers its last identifier when it is empty. */
export interface Stream {
  entries: StreamEntry[];
  lastMs: number;
  lastSeq: number;
}

type Value =
  | { readonly type: "string"; text: Bytes }
  | { readonly type: "hash"; readonly fields: Map<Bytes, Bytes> }
  | { readonly type: "zset"; readonly set: SortedSet }
  | { readonly type: "stream"; readonly stream: Stream };

/** The keys of one Redis, in memory. */
export class Keyspace {
  readonly #values = new Map<Bytes, Value>();
  /** Key → the number of its last change. */
  readonly #changed = new Map<Bytes, number>();
  /** The number of the last change of all keys together. */
  #allChanged = 0;
  /** The keys that were looked at, while somebody asks for them. */
  #looked: Set<Bytes> | undefined;
  /** Decides in which order SCAN shows the keys: a process has its own. */
  seed = "";
  /** How often something was changed; Redis repeats a command to its replicas only if it changed something. */
  changes = 0;

  get size(): number {
    this.lookElsewhere();
    return this.#values.size;
  }

  keys(): readonly Bytes[] {
    this.lookElsewhere();
    return [...this.#values.keys()];
  }

  has(key: Bytes): boolean {
    return this.#get(key) !== undefined;
  }

  typeOf(key: Bytes): Value["type"] | "none" {
    return this.#get(key)?.type ?? "none";
  }

  /** Runs something that depends only on the keys at which it looks; undefined if it looked at more than keys. */
  keysOf(run: () => void): ReadonlySet<Bytes> | undefined {
    this.#looked = new Set();
    run();
    const looked = this.#looked;
    this.#looked = undefined;
    return looked;
  }

  /** Says that what runs depends on something else than the values of single keys. */
  lookElsewhere(): void {
    this.#looked = undefined;
  }

  /** Whether none of these keys has changed since change `number`. */
  unchanged(keys: Iterable<Bytes>, number: number): boolean {
    if (this.#allChanged > number) return false;
    for (const key of keys) if ((this.#changed.get(key) ?? 0) > number) return false;
    return true;
  }

  /** A key was changed. */
  touch(key: Bytes): void {
    this.changes += 1;
    this.#changed.set(key, this.changes);
  }

  clear(): void {
    this.#values.clear();
    this.#touchAll();
  }

  /** Takes what another one has now. */
  copy(other: Keyspace): void {
    this.#values.clear();
    for (const [key, value] of other.#values) this.#values.set(key, copied(value));
    this.#touchAll();
  }

  delete(key: Bytes): boolean {
    const gone = this.#values.delete(key);
    if (gone) this.touch(key);
    return gone;
  }

  text(key: Bytes): Bytes | undefined {
    return this.#of(key, "string")?.text;
  }

  setText(key: Bytes, text: Bytes): void {
    this.#values.set(key, { type: "string", text });
    this.touch(key);
  }

  hash(key: Bytes): ReadonlyMap<Bytes, Bytes> | undefined {
    return this.#of(key, "hash")?.fields;
  }

  setField(key: Bytes, field: Bytes, value: Bytes): void {
    this.#made(key, "hash", () => ({ type: "hash", fields: new Map() })).fields.set(field, value);
    this.touch(key);
  }

  deleteField(key: Bytes, field: Bytes): boolean {
    const fields = this.#of(key, "hash")?.fields;
    if (fields?.delete(field) !== true) return false;
    this.touch(key);
    if (fields.size === 0) this.#values.delete(key);
    return true;
  }

  sortedSet(key: Bytes): SortedSet | undefined {
    return this.#of(key, "zset")?.set;
  }

  /** Adds a member or changes its score; tells whether it is new. */
  addMember(key: Bytes, score: number, member: Bytes): boolean {
    const { set } = this.#made(key, "zset", () => ({ type: "zset", set: new SortedSet() }));
    const before = set.scoreOf(member);
    if (before === score) return false;
    set.put(score, member);
    this.touch(key);
    return before === undefined;
  }

  deleteMember(key: Bytes, member: Bytes): boolean {
    const set = this.sortedSet(key);
    if (set?.delete(member) !== true) return false;
    this.touch(key);
    if (set.size === 0) this.#values.delete(key);
    return true;
  }

  stream(key: Bytes): Stream | undefined {
    return this.#of(key, "stream")?.stream;
  }

  /** The stream of a key that is about to be written. */
  newStream(key: Bytes): Stream {
    const make = (): Value & { type: "stream" } => ({
      type: "stream",
      stream: { entries: [], lastMs: 0, lastSeq: 0 },
    });
    return this.#made(key, "stream", make).stream;
  }

  #touchAll(): void {
    this.changes += 1;
    this.#allChanged = this.changes;
  }

  #get(key: Bytes): Value | undefined {
    this.#looked?.add(key);
    return this.#values.get(key);
  }

  #of<Type extends Value["type"]>(key: Bytes, type: Type): (Value & { type: Type }) | undefined {
    const value = this.#get(key);
    if (value !== undefined && value.type !== type) throw new CommandError(errors.wrongType);
    return value as (Value & { type: Type }) | undefined;
  }

  #made<Type extends Value["type"]>(
    key: Bytes,
    type: Type,
    make: () => Value & { type: Type },
  ): Value & { type: Type } {
    const found = this.#of(key, type);
    if (found !== undefined) return found;
    const made = make();
    this.#values.set(key, made);
    return made;
  }
}

function copied(value: Value): Value {
  switch (value.type) {
    case "string":
      return { ...value };
    case "hash":
      return { type: "hash", fields: new Map(value.fields) };
    case "zset":
      return { type: "zset", set: value.set.copy() };
    case "stream":
      return { type: "stream", stream: { ...value.stream, entries: [...value.stream.entries] } };
  }
}
