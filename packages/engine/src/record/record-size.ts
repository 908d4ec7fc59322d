import { KmipError } from "@holdfast/kmip";
import type { ManagedObject } from "./record.ts";
import { encodeRecord } from "./record-codec.ts";

/** The largest record that a client makes. One request of 8 MiB always fits. */
const clientRecordBytesMax = 10 << 20;
/** By how much a fact or a deleted value may let a larger record grow: what must always be possible is small. */
const factBytesMax = 64 << 10;
/**
 * The largest record that a region takes of another: two regions that were cut off from each other may each have filled
 * their copy, and the join holds both, and the facts of both.
 */
export const recordBytesMax = 2 * clientRecordBytesMax + (1 << 20);
/** Records of one commit, before and after, which travel as one message between regions. */
const commitBytesMax = 2 * recordBytesMax;

/** A record's change, as far as its size matters. */
interface Sized {
  readonly before?: { readonly object: ManagedObject };
  readonly after: ManagedObject;
}

/**
 * Refuses an object that would not fit a message between regions. One that is larger already takes facts, and loses
 * values. It takes no value in place of another: the other region may have made room for its own meanwhile, and the
 * join would hold all of them.
 */
export function checkRecordSize({ before, after }: Sized): void {
  const bytes = encodeRecord(after).length;
  if (bytes <= clientRecordBytesMax) return;
  if (before !== undefined && addsNoValue(before.object, after)) {
    const growth = bytes - encodeRecord(before.object).length;
    if (growth <= factBytesMax) return;
  }
  throw new KmipError(
    "serverLimitExceeded",
    `an object takes at most ${clientRecordBytesMax} bytes, its attributes included`,
  );
}

function addsNoValue(before: ManagedObject, after: ManagedObject): boolean {
  if (before.registers === after.registers) return true;
  const kept = new Set(before.registers);
  return after.registers.every((register) => register.value === undefined || kept.has(register));
}

/** Why changes cannot be made together; undefined where they can. */
export function tooLargeTogether(changes: readonly Sized[]): KmipError | undefined {
  if (changes.length < 2) return undefined;
  let bytes = 0;
  for (const { before, after } of changes) {
    bytes += encodeRecord(after).length;
    if (before !== undefined) bytes += encodeRecord(before.object).length;
  }
  if (bytes <= commitBytesMax) return undefined;
  const message = "the objects of this batch are too large to be changed together: change fewer";
  return new KmipError("serverLimitExceeded", message);
}
