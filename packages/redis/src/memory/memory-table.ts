import { partitionCount } from "@holdfast/engine";
import { identifierIn } from "../connection/keys.ts";
import { headerAt, recordHeaderLength } from "../connection/record-header.ts";
import { factBits } from "../proof/record-proof.ts";

/** What is remembered of a record. */
export interface Remembered {
  readonly version: number;
  /** Bits of `factBits`, without `sealed`. */
  readonly facts: number;
  /** The first 8 bytes of the tag. */
  readonly tag: Buffer;
}

/** How a record that was met relates to what is remembered. */
export type Relation =
  /** It was not remembered, or it is newer. */
  | "newer"
  | "same"
  /** Its version is lower, or equal with another tag, or a remembered fact is missing. */
  | "older";

/**
 * The facts that a record must not lack. An activation is none of them: without it a record gives nothing to anybody, and
 * one that this region alone had may be lost with its store, which must not keep the key out of service.
 */
const lastingFacts = factBits.deactivated | factBits.compromised | factBits.destroyed;
/** One of them takes the place of a pending destruction: its end, or its restore. */
const afterPending = factBits.destructionPending | factBits.destroyed | factBits.restored;
/** The facts that are remembered. */
const kept = lastingFacts | factBits.destructionPending | factBits.activated;
const tagLength = 8;
const at = { version: 16, facts: 21, tag: 22 } as const;
/** Bytes of an entry: identifier, version, facts, start of the tag. */
const entryLength = 30;
/** Bytes of a row: the partition, then an entry. */
export const rowLength = 1 + entryLength;

/** The remembered facts that a record with these facts lacks: bits of `factBits`. */
export function lackedFacts(known: number, met: number): number {
  const pending = (met & afterPending) === 0 ? factBits.destructionPending : 0;
  return known & ((lastingFacts & ~met) | pending);
}

/** Compares a record that was met with what is remembered of it. */
export function relationOf(met: Remembered, known: Remembered | undefined): Relation {
  if (known === undefined) return "newer";
  if (lackedFacts(known.facts, met.facts) !== 0 || met.version < known.version) return "older";
  if (met.version > known.version) return "newer";
  return met.tag.equals(known.tag) ? "same" : "older";
}

/** How a value of a record, whose header proves itself, relates to what is remembered; null where it is missing. */
export function compared(value: Buffer | null, known: Remembered | undefined): Relation {
  if (value === null) return known === undefined ? "same" : "older";
  if (known === undefined || value.length < recordHeaderLength) return "newer";
  return relationOf(metIn(value), known);
}

/** What there is to remember of a record with this header. */
export function metIn(header: Buffer): Remembered {
  return {
    version: header.readUIntBE(headerAt.version, 5),
    facts: header.readUInt8(headerAt.facts),
    tag: header.subarray(headerAt.digest, headerAt.digest + 8),
  };
}

/** Entries with open addressing by identifier: one buffer, of which at least a fifth is empty. */
class Entries {
  #bytes = Buffer.alloc(4 * entryLength);
  #count = 0;

  /** Where the identifier's entry is, or its free place; a version of 0 marks it as free. */
  find(identifier: Buffer, hash: number): number {
    const places = this.#bytes.length / entryLength;
    for (let place = Math.floor((hash / 2 ** 32) * places); ; place = (place + 1) % places) {
      const start = place * entryLength;
      if (this.#isFree(start)) return start;
      if (this.#bytes.compare(identifier, 0, 16, start, start + 16) === 0) return start;
    }
  }

  read(start: number): Remembered | undefined {
    const version = this.#bytes.readUIntBE(start + at.version, 5);
    if (version === 0) return undefined;
    const facts = this.#bytes.readUInt8(start + at.facts);
    const tag = this.#bytes.subarray(start + at.tag, start + entryLength);
    return { version, facts, tag };
  }

  /** Writes an entry where `find` has led; false if there was none before. */
  write(start: number, identifier: Buffer, { version, facts, tag }: Remembered): boolean {
    const isNew = this.#isFree(start);
    identifier.copy(this.#bytes, start, 0, 16);
    this.#bytes.writeUIntBE(version, start + at.version, 5);
    this.#bytes.writeUInt8(facts, start + at.facts);
    tag.copy(this.#bytes, start + at.tag, 0, tagLength);
    if (isNew) this.#count += 1;
    return !isNew;
  }

  /** Makes room for one more; `hashOf` is that of `find`. */
  grow(hashOf: (identifier: Buffer) => number): void {
    const places = this.#bytes.length / entryLength;
    if (this.#count + 1 <= places * 0.8) return;
    const old = [...this.all()];
    this.#bytes = Buffer.alloc(Math.ceil(places * 1.5) * entryLength);
    for (const entry of old) {
      entry.copy(this.#bytes, this.find(entry, hashOf(entry)));
    }
  }

  /** Removes the identifier's entry; returns false if there is none. */
  remove(identifier: Buffer, hashOf: (identifier: Buffer) => number): boolean {
    if (this.#isFree(this.find(identifier, hashOf(identifier)))) return false;
    const left = [...this.all()].filter((entry) => entry.compare(identifier, 0, 16, 0, 16) !== 0);
    this.#bytes = Buffer.alloc(this.#bytes.length);
    for (const entry of left) entry.copy(this.#bytes, this.find(entry, hashOf(entry)));
    this.#count = left.length;
    return true;
  }

  *all(): Iterable<Buffer> {
    for (let start = 0; start < this.#bytes.length; start += entryLength) {
      if (!this.#isFree(start)) yield this.#bytes.subarray(start, start + entryLength);
    }
  }

  #isFree(start: number): boolean {
    return this.#bytes.readUIntBE(start + at.version, 5) === 0;
  }
}

/**
 * What is remembered of each record of a store: 30 bytes, and about as many again for half of them. An instance's records
 * all lie in one partition, so there are 256 buffers for each, by the identifier's first byte: none takes long to grow.
 */
export class MemoryTable {
  readonly #salt: number;
  #parts: (Entries | undefined)[] = [];
  #size = 0;

  /** `salt` keeps others from choosing identifiers that meet at one place. */
  constructor(salt: number) {
    this.#salt = salt;
  }

  get size(): number {
    return this.#size;
  }

  /** What is remembered of a record; valid until the next `learn`. */
  get(partition: number, identifier: Buffer): Remembered | undefined {
    const part = this.#parts[partNumber(partition, identifier)];
    return part?.read(part.find(identifier, this.#hash(identifier)));
  }

  /** Remembers a record if it is newer than what is remembered; no fact is forgotten. */
  learn(partition: number, identifier: Buffer, met: Remembered): Relation {
    const number = partNumber(partition, identifier);
    this.#parts[number] ??= new Entries();
    const part = this.#parts[number];
    part.grow(this.#hash);
    const start = part.find(identifier, this.#hash(identifier));
    const relation = relationOf(met, part.read(start));
    if (relation !== "newer") return relation;
    const known = part.write(start, identifier, { ...met, facts: met.facts & kept });
    if (!known) this.#size += 1;
    return relation;
  }

  /** Remembers a record no more. */
  forget(partition: number, identifier: Buffer): void {
    const part = this.#parts[partNumber(partition, identifier)];
    if (part?.remove(identifier, this.#hash)) this.#size -= 1;
  }

  clear(): void {
    this.#size = 0;
    this.#parts = [];
  }

  /** Every entry as a row, in slices between which the table may change. */
  *slices(): Iterable<Buffer> {
    for (const [number, part] of this.#parts.entries()) {
      if (part === undefined) continue;
      yield Buffer.concat([...part.all()].flatMap((entry) => [Buffer.of(number >> 8), entry]));
    }
  }

  /** The identifiers of all entries, so many of one partition at most at once. */
  *identifiers(most: number): Generator<{ readonly partition: number; readonly ids: string[] }> {
    for (const slice of this.slices()) {
      for (let at = 0; at < slice.length; at += most * rowLength) {
        const rows = slice.subarray(at, at + most * rowLength);
        const ids = Array.from({ length: rows.length / rowLength }, (_, row) =>
          identifierIn(rows.subarray(row * rowLength + 1, row * rowLength + 17)),
        );
        yield { partition: rows.readUInt8(), ids };
      }
    }
  }

  readonly #hash = (identifier: Buffer): number =>
    Math.imul(identifier.readUInt32LE(4) ^ identifier.readUInt32LE(9) ^ this.#salt, 0x9e3779b1) >>>
    0;
}

function partNumber(partition: number, identifier: Buffer): number {
  return partition * 256 + (identifier[0] ?? 0);
}

/** A record's row, as files have it. */
export function rowOf(partition: number, identifier: Buffer, met: Remembered): Buffer {
  const row = Buffer.alloc(rowLength);
  row.writeUInt8(partition);
  identifier.copy(row, 1, 0, 16);
  row.writeUIntBE(met.version, 1 + at.version, 5);
  row.writeUInt8(met.facts & kept, 1 + at.facts);
  met.tag.copy(row, 1 + at.tag, 0, tagLength);
  return row;
}

/** Reads a row; undefined where it is none. */
export function readRow(
  row: Buffer,
):
  | { readonly partition: number; readonly identifier: Buffer; readonly met: Remembered }
  | undefined {
  const partition = row.readUInt8();
  const version = row.readUIntBE(1 + at.version, 5);
  if (partition > partitionCount || version === 0) return undefined;
  const met = {
    version,
    facts: row.readUInt8(1 + at.facts),
    tag: row.subarray(1 + at.tag, rowLength),
  };
  return { partition, identifier: row.subarray(1, 17), met };
}
