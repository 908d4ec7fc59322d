import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import {
  type ChangePage,
  encodeRecord,
  type Ids,
  type InstanceStatuses,
  type ManagedObject,
  type OwnStore,
  readRecord,
  refuseUnknown,
  type StateCounts,
  sysPartition,
  type Timers,
  tagOf,
} from "@holdfast/engine";
import {
  entryKinds,
  jsonBody,
  type PartitionEnd,
  type Trailer,
} from "./archive/archive-entries.ts";
import type { ArchiveFiles } from "./archive/archive-files.ts";
import { ArchiveFault, type BackupKey } from "./archive/archive-format.ts";
import { ArchiveWriter } from "./archive/archive-writer.ts";
import { patiently } from "./patiently.ts";
import { type AskOthers, gapsOf, type StoreGaps } from "./store-gaps.ts";

/** What a backup is made from. */
export interface BackupSource {
  readonly own: Pick<
    OwnStore,
    "storeId" | "position" | "changes" | "countsIn" | "state" | "levels" | "doubted"
  >;
  readonly others: AskOthers;
  readonly statuses: Pick<InstanceStatuses, "status">;
  readonly region: string;
  readonly holdfast: string;
}

/** How a backup is made. */
export interface CreateOptions {
  readonly key: BackupKey;
  readonly ids: Ids;
  readonly clock: Timers;
  /** Takes the changes read so far, and about how many there are. */
  readonly progress?: (done: number, of: number) => void;
  /** Ends the work between two pages. */
  readonly signal?: AbortSignal;
  /** Where the archive is kept; on the disk unless given. */
  readonly files?: ArchiveFiles;
  /** Gives other work of the process a turn; one of Node's event loop unless given. */
  readonly turn?: () => Promise<void>;
}

/** A backup that was made. */
export interface Created {
  readonly file: string;
  readonly bytes: number;
  readonly trailer: Trailer;
  /** What a cut between the regions may keep from it, which is not a fault. */
  readonly note?: string;
}

const pageRecords = 256;
const pageBytes = 1 << 20;
const recordsPerTurn = 32;
/** How often a partition is begun; it begins again after each fail-over of the store. */
const beginningsMax = 8;
/** How many pages more than changes are read before a partition counts as changing too fast. */
const pagesBeyondMax = 10_000;
/** How long a store may take to become level, and how often it is asked. */
const levelMs = 30_000;
const levelPauseMs = 250;

/**
 * Writes everything that a region's own store has into an archive, while the store is in use: each partition as it is at
 * one change number. Material stays sealed, and keys stay wrapped. The trailer says so if the store is not level before
 * and after.
 */
export async function createBackup(
  file: string,
  source: BackupSource,
  options: CreateOptions,
): Promise<Created> {
  const { own, region, holdfast } = source;
  const { key, ids, clock, files } = options;
  const { storeId } = own;
  if (storeId === undefined) throw new ArchiveFault("the store was not reached yet: try again");
  const about = { createdMs: clock.wallMs(), region, storeId, holdfast };
  await using writer = await ArchiveWriter.create(file, key, about, ids, files);
  const backup = new Backup(writer, source, options);
  const { trailer, note } = await backup.run();
  return { file, bytes: writer.bytes, trailer, ...(note !== undefined && { note }) };
}

class Backup {
  readonly #writer: ArchiveWriter;
  readonly #source: BackupSource;
  readonly #options: CreateOptions;
  readonly #instances = new Set<string>();
  readonly #counts: Record<string, StateCounts> = {};
  #records = 0;
  #damaged = 0;
  #done = 0;
  #of = 0;

  constructor(writer: ArchiveWriter, source: BackupSource, options: CreateOptions) {
    this.#writer = writer;
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<Pick<Created, "trailer" | "note">> {
    const before = await this.#gaps();
    const { numbers } = await this.#ask(() => this.#source.own.position());
    this.#of = numbers.reduce((sum, number) => sum + number, 0);
    // The system's own records last: the key of every sealed object is then among them.
    for (let partition = 0; partition <= sysPartition; partition++) {
      await this.#partition(partition);
    }
    for (const instance of this.#instances) {
      const status = await this.#ask(() => this.#source.statuses.status(instance));
      if (status === undefined) continue;
      await this.#writer.add(entryKinds.status, jsonBody({ instance, status }));
    }
    const { lacks, note = before.note } = before.lacks === undefined ? await this.#gaps() : before;
    const trailer: Trailer = {
      entries: this.#writer.entries,
      partitions: sysPartition + 1,
      records: this.#records,
      damaged: this.#damaged,
      ...(lacks !== undefined && { lacks }),
      counts: this.#counts,
      finishedMs: this.#options.clock.wallMs(),
    };
    await this.#writer.add(entryKinds.trailer, jsonBody(trailer));
    await this.#writer.finish();
    this.#options.progress?.(this.#of, this.#of);
    return { trailer, ...(note !== undefined && { note }) };
  }

  /** What the store lacks, after a moment in which it may become level: after a node's restart, a resync ends soon. */
  async #gaps(): Promise<StoreGaps> {
    const { own, others } = this.#source;
    const { clock, signal } = this.#options;
    const untilMs = clock.monotonicMs() + levelMs;
    for (;;) {
      const gaps = await this.#ask(() => gapsOf(own, others));
      if (gaps.isLevel || clock.monotonicMs() >= untilMs) return gaps;
      await clock.sleep(levelPauseMs, signal);
    }
  }

  async #partition(partition: number): Promise<void> {
    const doneBefore = this.#done;
    for (let beginnings = 0; beginnings < beginningsMax; beginnings++) {
      this.#done = doneBefore;
      const end = await this.#read(partition);
      if (end === undefined) continue;
      await this.#writer.add(entryKinds.partitionEnd, jsonBody(end));
      this.#damaged += end.damaged.length;
      const counted = await this.#ask(() => this.#source.own.countsIn(partition));
      for (const [instance, counts] of counted ?? []) {
        this.#counts[instance] = counts.states;
      }
      return;
    }
    throw new ArchiveFault("the store fails over again and again: try again when it is stable");
  }

  /** Undefined if another Redis process has taken over the store: its change numbers differ. */
  async #read(partition: number): Promise<PartitionEnd | undefined> {
    const { own } = this.#source;
    const place = new Place();
    for (;;) {
      this.#options.signal?.throwIfAborted();
      const { after } = place;
      const page = await this.#ask(() => own.changes(partition, after, pageRecords, pageBytes));
      const { replicationId } = page;
      if (place.begin(page)) {
        await this.#writer.add(entryKinds.partition, jsonBody({ partition, replicationId }));
      }
      if (replicationId !== place.replicationId) return undefined;
      await this.#write(page, place);
      // Nothing follows at this moment: the archive has every record as it is at this number.
      if (page.upTo >= page.last) return place.end(partition, page.upTo);
      if (place.isLate()) {
        throw new ArchiveFault(`partition ${partition} changes faster than it can be read`);
      }
    }
  }

  #ask<Value>(question: () => Promise<Value>): Promise<Value> {
    return patiently(this.#options.clock, question, this.#options.signal);
  }

  async #write(page: ChangePage, place: Place): Promise<void> {
    refuseUnknown(page);
    for (const id of page.damaged) place.damaged.add(id);
    const { turn = setImmediate } = this.#options;
    for (const [at, object] of page.objects.entries()) {
      // Gives clients' requests a turn: a node that makes backups serves clients as well.
      if (at % recordsPerTurn === 0) await turn();
      const record = encodeRecord(object);
      place.digest.update(tagOf(record));
      await this.#writer.add(entryKinds.record, record);
      const instance = instanceOf(object);
      if (instance !== undefined) this.#instances.add(instance);
    }
    place.records += page.objects.length;
    this.#records += page.objects.length;
    this.#done += Math.max(0, page.upTo - place.after);
    this.#options.progress?.(Math.min(this.#done, this.#of), this.#of);
    place.after = page.upTo;
  }
}

function instanceOf(object: ManagedObject): string | undefined {
  return readRecord("Instance", object)?.instance;
}

/** How far a partition is read. */
class Place {
  readonly digest = createHash("sha256");
  readonly damaged = new Set<string>();
  replicationId: string | undefined;
  after = 0;
  records = 0;
  #pages = 0;
  #pagesMax = 0;

  /** Counts a page; returns whether it is the first. */
  begin({ replicationId, last }: ChangePage): boolean {
    this.#pages += 1;
    if (this.replicationId !== undefined) return false;
    this.replicationId = replicationId;
    this.#pagesMax = last + pagesBeyondMax;
    return true;
  }

  /** Whether there were many more pages than there were changes when it began. */
  isLate(): boolean {
    return this.#pages > this.#pagesMax;
  }

  end(partition: number, number: number): PartitionEnd {
    const digest = this.digest.digest("hex");
    return { partition, number, records: this.records, digest, damaged: [...this.damaged] };
  }
}
