import { createHash } from "node:crypto";

/** A place in a partition's chain: `hash` covers everything up to `number`. */
export interface ChainPoint {
  /** Sequence number of the last entry. */
  readonly number: number;
  /** SHA-256 of the point before and this entry. */
  readonly hash: Uint8Array;
  /** Bytes of all entries so far. */
  readonly bytes: number;
  /** Time of the last entry, milliseconds since the epoch. */
  readonly timeMs: number;
}

/** The leader keeps a point after so many entries, so that a chain can be checked in parts and trimmed at its start. */
export const checkpointEvery = 256;

/** Where a partition's chain begins: different for every partition. */
export function chainStart(storeId: string, partition: number): ChainPoint {
  const text = `holdfast audit 1\n${storeId}\n${partition}\n`;
  const hash = Uint8Array.from(createHash("sha256").update(text).digest());
  return { number: 0, hash, bytes: 0, timeMs: 0 };
}

/** The hash after an entry: SHA-256(hash before ‖ number, 6 bytes big-endian ‖ entry). */
export function chainHash(before: Uint8Array, number: number, entry: Uint8Array): Uint8Array {
  const place = Buffer.alloc(6);
  place.writeUIntBE(number, 0, 6);
  const hash = createHash("sha256").update(before).update(place).update(entry);
  return Uint8Array.from(hash.digest());
}

/** The hash after entries that were dropped unread: SHA-256(hash before ‖ last number, 6 bytes ‖ "given up"). */
export function chainGap(before: ChainPoint, last: number): ChainPoint {
  return {
    ...before,
    number: last,
    hash: chainHash(before.hash, last, Buffer.from("given up")),
  };
}
