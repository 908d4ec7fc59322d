import type { StateCounts } from "@holdfast/engine";

/** The kinds of an archive's entries; a number never changes its meaning. */
export const entryKinds = {
  /** JSON: `PartitionEntry`. A partition that begins again was read again; earlier records stay. */
  partition: 1,
  /** A canonical record. The last of several copies of one is the newest. */
  record: 2,
  /** JSON: `StatusEntry`. */
  status: 3,
  /** JSON: `PartitionEnd`. */
  partitionEnd: 4,
  /** JSON: `Trailer`. Nothing follows. */
  trailer: 5,
} as const;

/** Which partition the records that follow belong to. */
export interface PartitionEntry {
  readonly partition: number;
  readonly replicationId: string;
}

/** An instance's status in the store that was backed up. */
export interface StatusEntry {
  readonly instance: string;
  readonly status: string;
}

/** A partition as it was at one change number. */
export interface PartitionEnd {
  readonly partition: number;
  /** The change number at which it is consistent. */
  readonly number: number;
  /** Records since it began; one that was changed meanwhile counts twice. */
  readonly records: number;
  /** Hex of SHA-256 over the tags of these records, in their order. */
  readonly digest: string;
  /** Records that did not decode and are not in the archive. */
  readonly damaged: readonly string[];
}

/** What the archive must contain, so that a missing part is noticed. */
export interface Trailer {
  readonly entries: number;
  readonly partitions: number;
  readonly records: number;
  readonly damaged: number;
  /** Why the store lacked records that it should have had; absent if it was level. Not in archives of older releases. */
  readonly lacks?: string;
  /** As the store counted them, by instance, if it had counted them all. */
  readonly counts: Readonly<Record<string, StateCounts>>;
  readonly finishedMs: number;
}

/** Why an archive is not complete; undefined if it has all that its store should have had. */
export function whyIncomplete({ damaged, lacks }: Trailer): string | undefined {
  const reasons = [
    ...(damaged > 0 ? [`${damaged} damaged records are not in it`] : []),
    ...(lacks === undefined ? [] : [lacks]),
  ];
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

/** One part of an archive. */
export interface Entry {
  readonly kind: number;
  readonly body: Buffer;
}

/** Bytes before an entry's body: kind (1), length (4). */
export const entryHeaderBytes = 5;
/** No entry may be larger. */
const entryBytesMax = 1 << 28;

/** An entry's body in JSON. */
export function jsonBody(value: PartitionEntry | StatusEntry | PartitionEnd | Trailer): Buffer {
  return Buffer.from(JSON.stringify(value), "utf8");
}

/** Extracts the entries from plaintext that arrives in pieces. */
export class EntryParser {
  #pending: Buffer[] = [];
  #bytes = 0;

  /** The entries that this piece completes; undefined if the bytes cannot be an entry. */
  push(piece: Buffer): readonly Entry[] | undefined {
    this.#pending.push(piece);
    this.#bytes += piece.length;
    const entries: Entry[] = [];
    if (this.#bytes < this.#needed()) return entries;
    let rest = Buffer.concat(this.#pending);
    while (rest.length >= entryHeaderBytes) {
      const length = rest.readUInt32BE(1);
      if (length > entryBytesMax) return undefined;
      const end = entryHeaderBytes + length;
      if (rest.length < end) break;
      entries.push({ kind: rest[0] ?? 0, body: rest.subarray(entryHeaderBytes, end) });
      rest = rest.subarray(end);
    }
    this.#pending = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    return entries;
  }

  /** Bytes that are not a whole entry yet. */
  get pending(): number {
    return this.#bytes;
  }

  /** How many bytes the next entry needs: the many pieces of a large one are joined once. */
  #needed(): number {
    const [first] = this.#pending;
    if (first === undefined || first.length < entryHeaderBytes) return 0;
    return entryHeaderBytes + Math.min(first.readUInt32BE(1), entryBytesMax);
  }
}
