import { decodeRecord, type StoredObject, StoreUnavailable, tagOf } from "@holdfast/engine";
import { readRecordHeader, recordHeaderLength } from "../connection/record-header.ts";

interface Known {
  /** A copy, since what Redis answered is part of a larger buffer. */
  readonly value: Buffer;
  readonly stored: StoredObject;
}

const tagLength = 16;
/** Of each of two generations; the older one goes when the younger is full. */
const entriesMax = 2048;
const valueBytesMax = 4096;

/**
 * Decodes the values of records, and remembers the last ones by their bytes: a value that Redis has just answered again
 * is the same object. Nothing is ever taken from here that was not read from Redis for this very request.
 */
export class DecodedRecords {
  #young = new Map<string, Known>();
  #old = new Map<string, Known>();

  /** The object in the value of a record that lay under this identifier; rejects bytes that are not a whole record of it. */
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
  // A whole record under a wrong key would be handed out, and changed, as another object.
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
