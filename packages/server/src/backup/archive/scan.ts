import { createHash, type Hash } from "node:crypto";
import {
  decodeRecord,
  type ManagedObject,
  partitionOf,
  StoreUnavailable,
  sysPartition,
  tagOf,
} from "@holdfast/engine";
import {
  type Entry,
  entryKinds,
  type PartitionEnd,
  type PartitionEntry,
  type StatusEntry,
  type Trailer,
  whyIncomplete,
} from "./archive-entries.ts";
import { altered, cutShort } from "./archive-format.ts";
import type { ArchiveReader } from "./archive-reader.ts";

/** A complete archive: every chunk was opened, every record decoded and everything counted. */
export interface Scanned {
  readonly trailer: Trailer;
  readonly ends: readonly PartitionEnd[];
  readonly statuses: readonly StatusEntry[];
  /** The system's own records, all copies in their order. */
  readonly system: readonly ManagedObject[];
}

/** Handles an archive's objects, a page at a time and in their order. */
export type EachPage = (objects: readonly ManagedObject[]) => Promise<void>;

/** Gives other work of the process a turn; may reject, to end the work. */
export type Turn = () => Promise<void>;

const pageRecords = 256;
/** How many records are handled between two turns. */
export const recordsPerTurn = 32;

/**
 * Reads a whole archive and checks that it holds what its writer put there; rejects with an
 * `ArchiveFault`. Nothing may be used from an archive before this has resolved.
 */
export async function scanArchive(
  reader: ArchiveReader,
  progress: (bytes: number) => void = () => undefined,
  each: (object: ManagedObject) => void = () => undefined,
  turn?: Turn,
): Promise<Scanned> {
  const scan = new Scan(reader.file, each);
  let taken = 0;
  for await (const entry of reader.entries(progress)) {
    scan.take(entry);
    taken += 1;
    if (taken % recordsPerTurn === 0) await turn?.();
  }
  return scan.result();
}

/** What a scan found, as lines of text. */
export function scannedLines(name: string, bytes: number, scanned: Scanned, wallMs: number) {
  const { finishedMs, records, partitions } = scanned.trailer;
  const ageHours = Math.max(0, (wallMs - finishedMs) / 3_600_000).toFixed(1);
  const why = whyIncomplete(scanned.trailer);
  const lacks = why === undefined ? "" : `; it was not complete when it was made: ${why}`;
  return [
    `${name}: ${bytes} bytes, finished ${new Date(finishedMs).toISOString()} (${ageHours} hours ago)`,
    `every part is whole: ${records} records of ${partitions} partitions${lacks}`,
  ];
}

/** Passes on the objects of an archive that was scanned before, in pages of at most 256. */
export async function eachPage(reader: ArchiveReader, each: EachPage): Promise<void> {
  let page: ManagedObject[] = [];
  for await (const { kind, body } of reader.entries()) {
    if (kind !== entryKinds.record) continue;
    page.push(decodeRecord(Uint8Array.from(body)));
    if (page.length < pageRecords) continue;
    await each(page);
    page = [];
  }
  if (page.length > 0) await each(page);
}

class Scan {
  readonly #file: string;
  readonly #each: (object: ManagedObject) => void;
  readonly #ends = new Map<number, PartitionEnd>();
  readonly #statuses: StatusEntry[] = [];
  readonly #system: ManagedObject[] = [];
  #partition: number | undefined;
  #digest: Hash = createHash("sha256");
  #records = 0;
  #all = 0;
  #entries = 0;
  #trailer: Trailer | undefined;

  constructor(file: string, each: (object: ManagedObject) => void) {
    this.#file = file;
    this.#each = each;
  }

  take({ kind, body }: Entry): void {
    if (this.#trailer !== undefined) throw altered(this.#file);
    if (kind === entryKinds.trailer) {
      this.#trailer = this.#json<Trailer>(body);
      return;
    }
    this.#entries += 1;
    if (kind === entryKinds.partition) this.#begin(this.#json<PartitionEntry>(body));
    else if (kind === entryKinds.record) this.#record(body);
    else if (kind === entryKinds.partitionEnd) this.#end(this.#json<PartitionEnd>(body));
    else if (kind === entryKinds.status) this.#statuses.push(this.#json<StatusEntry>(body));
    else throw altered(this.#file);
  }

  result(): Scanned {
    const trailer = this.#trailer;
    if (trailer === undefined) throw cutShort(this.#file);
    const damaged = [...this.#ends.values()].reduce((sum, end) => sum + end.damaged.length, 0);
    const sound =
      trailer.entries === this.#entries &&
      trailer.records === this.#all &&
      trailer.damaged === damaged &&
      trailer.partitions === sysPartition + 1 &&
      this.#ends.size === trailer.partitions;
    if (!sound) throw altered(this.#file);
    return {
      trailer,
      ends: [...this.#ends.values()],
      statuses: this.#statuses,
      system: this.#system,
    };
  }

  #begin({ partition }: PartitionEntry): void {
    this.#partition = partition;
    this.#digest = createHash("sha256");
    this.#records = 0;
  }

  #record(body: Buffer): void {
    const object = this.#decoded(body);
    if (partitionOf(object.instance) !== this.#partition) throw altered(this.#file);
    this.#digest.update(tagOf(body));
    this.#records += 1;
    this.#all += 1;
    if (this.#partition === sysPartition) this.#system.push(object);
    this.#each(object);
  }

  #decoded(body: Buffer): ManagedObject {
    try {
      return decodeRecord(Uint8Array.from(body));
    } catch (error) {
      if (error instanceof StoreUnavailable) throw altered(this.#file);
      throw error;
    }
  }

  #end(end: PartitionEnd): void {
    const digest = this.#digest.digest("hex");
    const sound =
      end.partition === this.#partition &&
      end.records === this.#records &&
      end.digest === digest &&
      !this.#ends.has(end.partition);
    if (!sound) throw altered(this.#file);
    this.#ends.set(end.partition, end);
    this.#partition = undefined;
  }

  /** Reads JSON that is authenticated, so that a writer of this format put it there. */
  #json<Value>(body: Buffer): Value {
    try {
      return JSON.parse(body.toString("utf8")) as Value;
    } catch {
      throw altered(this.#file);
    }
  }
}
