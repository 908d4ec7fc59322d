import { KmipError } from "@holdfast/kmip";
import type { ManagedObject } from "./record.ts";
import { encodeRecord } from "./record-codec.ts";

/** The largest record that a client can make. One request of 8 MiB always fits. */
const clientRecordBytesMax = 10 << 20;
/** How much a fact or a deleted value may add to a larger record: these must always be possible, and are small. */
const factBytesMax = 64 << 10;
/**
 * The largest record that a region takes from another: two regions that were cut off from each other may each have
 * filled their copy, and the join holds the values and the facts of both.
 */
export const recordBytesMax = 2 * clientRecordBytesMax + (1 << 20);
/** Most bytes of one commit's records, before and after, which are one message between regions. */
const commitBytesMax = 2 * recordBytesMax;

/** A record's change, as far as its size matters. */
interface Sized {
  readonly before?: { readonly object: ManagedObject };
  readonly after: ManagedObject;
}

/**
 * Refuses an object that would not fit a message between regions. One that is already larger still takes facts and
 * loses values, but takes no new value in place of another: the other region may have made room for its own value
 * meanwhile, and the join would hold all of them.
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

/** Why changes cannot be made together; undefined if they can. */
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
