import { type Tag, tagOfDigest } from "@holdfast/engine";

/**
 * What precedes a record in the store and is local to it; never part of the tag. `RecordProof` says what its MAC
 * covers.
 */
export interface RecordHeader {
  readonly tag: Tag;
  /** Number of the last change that a client was promised, or is about to be. */
  readonly promised: number;
  /** Creation counter; Locate uses it to answer newest first. */
  readonly created: number;
  /** Number under which the record lies in `changes`. */
  readonly changed: number;
  /** An agreed operation holds the record: the highest bit of the change number. */
  readonly reserved: boolean;
  /** Grows with every change of the record. */
  readonly version: number;
  readonly facts: number;
  /** Number of the storage key that made the MAC. */
  readonly keyNumber: number;
}

/**
 * Where each field of a header begins. Scripts write the three numbers, of 6 bytes each, which no MAC covers; a node
 * makes the rest.
 */
export const headerAt = {
  /** 32 bytes: SHA-256 of the canonical record. */
  digest: 0,
  promised: 32,
  created: 38,
  changed: 44,
  /** 5 bytes. */
  version: 50,
  /** 1 byte; the highest bit says that the body is sealed. */
  facts: 55,
  /** 2 bytes. */
  keyNumber: 56,
  /** 16 bytes. */
  mac: 58,
} as const;

/** Bytes of a header; the record's body follows. */
export const recordHeaderLength = 74;

/** Reads a header; undefined where the value is too short to hold one. Proves nothing. */
export function readRecordHeader(value: Buffer): RecordHeader | undefined {
  if (value.length < recordHeaderLength) return undefined;
  return {
    tag: tagOfDigest(value.toString("hex", 0, headerAt.promised)),
    promised: promisedOf(value),
    created: value.readUIntBE(headerAt.created, 6),
    changed: changedOf(value),
    reserved: isReserved(value),
    version: value.readUIntBE(headerAt.version, 5),
    facts: value.readUInt8(headerAt.facts),
    keyNumber: value.readUInt16BE(headerAt.keyNumber),
  };
}

/** The promised number alone, of a value that holds a header. */
export function promisedOf(value: Buffer): number {
  return value.readUIntBE(headerAt.promised, 6);
}

/** The number of the last change alone, of a value that holds a header. */
export function changedOf(value: Buffer): number {
  return value.readUIntBE(headerAt.changed, 6) % reservedMark;
}

/** Whether an agreed operation holds the record of a value that holds a header. */
export function isReserved(value: Buffer): boolean {
  return (value[headerAt.changed] ?? 0) >= 128;
}

const reservedMark = 2 ** 47;

/**
 * A partition's head: the store's id, up to which change number the partition is known to be covered, and which storage
 * keys are written with.
 */
export interface PartitionHead {
  readonly storeId: string;
  readonly covered: number;
  /** The lowest number of a storage key with which scripts still write; 0 before the first rotation. */
  readonly leastKey: number;
}

/** Reads a head; undefined where the partition was never initialised. */
export function readPartitionHead(value: Buffer | null | undefined): PartitionHead | undefined {
  if (value?.length !== 24) return undefined;
  return {
    storeId: value.toString("hex", 0, 16),
    covered: value.readUIntBE(16, 6),
    leastKey: value.readUInt16BE(22),
  };
}
