import { decodeRecord, type StoredObject, StoreUnavailable, tagOf } from "@holdfast/engine";
import { readRecordHeader, recordHeaderLength } from "../connection/record-header.ts";

interface Known {
  /** A copy, since what Redis answered is part of a larger buffer. */
  readonly value: Buffer;
  readonly stored: StoredObject;
}

const tagLength = 16;
/** Per generation, of two; when the younger one is full, the older one is dropped. */
const entriesMax = 2048;
const valueBytesMax = 4096;

/**
 * Decodes the values of records, and remembers the last ones by their bytes: a value that Redis has
 * just answered again is the same object. It only answers with bytes that were read from Redis for
 * this very request.
 */
export class DecodedRecords {
  #young = new Map<string, Known>();
  #old = new Map<string, Known>();

  /**
   * The object in the value of the record with this identifier; throws on bytes that are not a
   * complete record of it.
   */
  decode(identifier: string, value: Buffer): StoredObject {
    const young = this.#young.get(identifier);
    const known = young ?? this.#old.get(identifier);
    if (known !== undefined && isSame(known.value, value)) {
      if (young === undefined) this.#keep(identifier, known);
      return known.stored;
    }
    if (value.length > valueBytesMax) return decodeStored(value, identifier);
    const own = Buffer.from(value);
    const stored = decodeStored(own, identifier);
    this.#keep(identifier, { value: own, stored });
    return stored;
  }

  #keep(identifier: string, known: Known): void {
    if (this.#young.size >= entriesMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(identifier, known);
  }
}

/** The object in a record's value; with an identifier, it must be that one's. */
export function decodeStored(value: Buffer, identifier?: string): StoredObject {
  const header = readRecordHeader(value);
  if (header === undefined) throw new StoreUnavailable("corrupt", "a record is cut short");
  const bytes = value.subarray(recordHeaderLength);
  if (tagOf(bytes) !== header.tag) {
    throw new StoreUnavailable("corrupt", "a stored record is not the one that its tag names");
  }
  const object = decodeRecord(bytes, header.tag);
  // A complete record under a wrong key would be served, and changed, as another object.
  if (identifier !== undefined && object.uniqueIdentifier !== identifier) {
    throw new StoreUnavailable("corrupt", "a record lies under another object's key");
  }
  return { object, tag: header.tag };
}

/** Whether two values have the same tag and record; the numbers between them may differ. */
function isSame(known: Buffer, value: Buffer): boolean {
  return (
    known.length === value.length &&
    known.compare(value, recordHeaderLength, value.length, recordHeaderLength) === 0 &&
    known.compare(value, 0, tagLength, 0, tagLength) === 0
  );
}
