import type { Tag } from "@holdfast/engine";

/** What precedes a record in the store and is local to it; never part of the tag. */
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
}

/** Bytes of a header: tag (16), then three numbers (6 each), as `commit.lua` writes them. */
export const recordHeaderLength = 34;

/** Reads a header; undefined where the value is too short to hold one. */
export function readRecordHeader(value: Buffer): RecordHeader | undefined {
  if (value.length < recordHeaderLength) return undefined;
  return {
    tag: value.toString("hex", 0, 16),
    promised: promisedOf(value),
    created: value.readUIntBE(22, 6),
    changed: changedOf(value),
    reserved: isReserved(value),
  };
}

/** The promised number alone, of a value that holds a header. */
export function promisedOf(value: Buffer): number {
  return value.readUIntBE(16, 6);
}

/** The number of the last change alone, of a value that holds a header. */
export function changedOf(value: Buffer): number {
  return value.readUIntBE(28, 6) % reservedMark;
}

/** Whether an agreed operation holds the record of a value that holds a header. */
export function isReserved(value: Buffer): boolean {
  return (value[28] ?? 0) >= 128;
}

const reservedMark = 2 ** 47;

/**
 * A partition's head: the store's id, and up to which change number the partition is known to be
 * covered.
 */
export interface PartitionHead {
  readonly storeId: string;
  readonly covered: number;
}

/** Reads a head; undefined where the partition was never initialised. */
export function readPartitionHead(value: Buffer | null | undefined): PartitionHead | undefined {
  if (value?.length !== 22) return undefined;
  return { storeId: value.toString("hex", 0, 16), covered: value.readUIntBE(16, 6) };
}
