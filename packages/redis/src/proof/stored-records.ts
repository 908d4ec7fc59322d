import {
  type Change,
  decodeRecord,
  type ManagedObject,
  type StoredObject,
  StoreUnavailable,
  tagOfDigest,
} from "@holdfast/engine";
import { headerAt } from "../connection/record-header.ts";
import type { StorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";
import {
  openRecord,
  type ProvenRecord,
  provenVersion,
  proveRecord,
  type RecordPlace,
  versionMax,
} from "./record-proof.ts";

interface Known {
  /** A copy, since what Redis answered is part of a larger buffer. */
  readonly value: Buffer;
  readonly partition: number;
  /** The key that proved it: another store's key may have the same number. */
  readonly key: StorageKey | undefined;
  readonly stored: StoredObject;
}

/** Per generation, of two; when the younger one is full, the older one is dropped. */
const entriesMax = 2048;
const valueBytesMax = 4096;
/** A count of changes above this is not believed: a record with the highest version could not change any more. */
const countMax = 2 ** 39;

/**
 * Makes and verifies the values of records. It remembers the last ones that were read: a value that Redis has just
 * answered again is the same object. It only answers with bytes that were read from Redis for this very request.
 */
export class StoredRecords {
  #young = new Map<string, Known>();
  #old = new Map<string, Known>();
  readonly #versions = new WeakMap<ManagedObject, number>();

  /**
   * The object in the value of the record at this place; throws `StoreUnavailable("corrupt")` for a value that was not
   * made with one of these keys for this place, and "unknownFormat" for an intact record that this release does not
   * know.
   */
  open(keys: StorageKeys, place: RecordPlace, value: Buffer): StoredObject {
    const { bytes, digest, version } = openRecord(keys, place, value);
    const object = decodeRecord(bytes, digest);
    this.#versions.set(object, version);
    return { object, tag: tagOfDigest(digest) };
  }

  /** The same, from memory where the value was opened before. */
  openAgain(keys: StorageKeys, place: RecordPlace, value: Buffer): StoredObject {
    const { partition, identifier } = place;
    const young = this.#young.get(identifier);
    const known = young ?? this.#old.get(identifier);
    if (known?.partition === partition && isProven(known, keys, value)) {
      if (young === undefined) this.#keep(identifier, known);
      return known.stored;
    }
    if (value.length > valueBytesMax) return this.open(keys, place, value);
    const own = Buffer.from(value);
    const stored = this.open(keys, place, own);
    const key = keys.get(keyNumberOf(own));
    this.#keep(identifier, { value: own, partition, key, stored });
    return stored;
  }

  /** Whether the version of the record before this change is known: it was read, or written, here. */
  knows(change: Change): boolean {
    return change.kind === "create" || this.#versions.has(change.before.object);
  }

  /** Takes the version of an object's record from its header; false where that does not prove itself. */
  learn(keys: StorageKeys, place: RecordPlace, header: Buffer, object: ManagedObject): boolean {
    const version = provenVersion(keys, place, header);
    if (version === undefined) return false;
    this.#versions.set(object, version);
    return true;
  }

  /**
   * Makes the record after a change, with a version above `remembered`, too; the store refuses it as a conflict if the
   * version before is not known.
   */
  prove(key: StorageKey, partition: number, change: Change, remembered = 0): ProvenRecord {
    const { after } = change;
    const place = { partition, identifier: after.uniqueIdentifier };
    return proveRecord(key, place, after, this.#versionAfter(change, remembered));
  }

  /** Notes that the store has this object in a record of this version. */
  noteWritten(object: ManagedObject, version: number): void {
    this.#versions.set(object, version);
  }

  #versionAfter(change: Change, remembered: number): number {
    const stored = change.kind === "create" ? 0 : (this.#versions.get(change.before.object) ?? 0);
    const before = Math.max(stored, remembered);
    if (before < versionMax) return before + 1;
    throw new StoreUnavailable("corrupt", "a record has the highest version and cannot change");
  }

  #keep(identifier: string, known: Known): void {
    if (this.#young.size >= entriesMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(identifier, known);
  }
}

/**
 * The version of a record that takes the place of a damaged one, in a partition with so many changes: above every one
 * that the record ever had, since each version took at least one change; and above the one that is remembered. What a damaged value
 * says counts only if its header proves itself.
 */
export function versionOfRepair(
  keys: StorageKeys,
  place: RecordPlace,
  damaged: Buffer,
  changes: number,
  remembered: number,
): number {
  const proven = Math.max(remembered, provenVersion(keys, place, damaged) ?? 0);
  const counted = changes < countMax ? changes : 0;
  return Math.min(versionMax, Math.max(proven, counted) + 1);
}

/** Whether a value has the same record and proof, by the same key; the local numbers between them may differ. */
function isProven({ value: known, key }: Known, keys: StorageKeys, value: Buffer): boolean {
  return (
    known.length === value.length &&
    known.compare(value, headerAt.version, value.length, headerAt.version) === 0 &&
    known.compare(value, 0, headerAt.promised, 0, headerAt.promised) === 0 &&
    keys.get(keyNumberOf(value)) === key
  );
}

function keyNumberOf(value: Buffer): number {
  return value.readUInt16BE(headerAt.keyNumber);
}
