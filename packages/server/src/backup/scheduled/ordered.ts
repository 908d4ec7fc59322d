import { basename, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type {
  AuditEvent,
  BackupOrder,
  BackupWork,
  Ids,
  ObjectStore,
  Timers,
} from "@holdfast/engine";
import type { DutyContext } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import { ArchiveReader } from "../archive/archive-reader.ts";
import { readBackupKeys } from "../archive/backup-keys.ts";
import { scanArchive, scannedLines } from "../archive/scan.ts";
import { type RestoreTarget, reportLines, restoreArchive } from "../restore/restore.ts";
import { noteWork } from "./runs.ts";

export interface OrderedWorkOptions {
  readonly region: string;
  readonly node: string;
  /** The store that holds the record of backups. */
  readonly store: Pick<ObjectStore, "read" | "commit">;
  readonly keyFile: string;
  readonly directory: string;
  /** What a restore would be compared with; throws while a region that may know more cannot be reached. */
  readonly target: () => RestoreTarget;
  readonly clock: Timers;
  readonly ids: Ids;
}

/** How a part of the work tells how far it is, and gives other work of the node a turn. */
export interface Telling {
  readonly show: (step: string, done: number, of: number) => void;
  readonly turn: () => Promise<void>;
}

/** What the work found, one line each. */
type Found = readonly string[];

/** How often it is written how far the work is. */
const tellMs = 2_000;
const linesMax = 50;
const lineLengthMax = 500;

/** Carries out what administrators order, and writes into the region's record how far it is and what was found. */
export class OrderedWork {
  readonly #options: OrderedWorkOptions;

  constructor(options: OrderedWorkOptions) {
    this.#options = options;
  }

  /** Carries out an order; `create` makes a backup. What fails is written down: it rejects only if nothing can be written. */
  async carryOut(
    order: BackupOrder,
    context: Pick<DutyContext, "signal">,
    create: (telling: Telling) => Promise<Found>,
  ): Promise<void> {
    const { clock, node, region, store } = this.#options;
    const startedMs = clock.wallMs();
    let work: BackupWork = {
      ...order,
      state: "running",
      ...{ node, startedMs, toldMs: startedMs, step: "beginning", done: 0, of: 0, lines: [] },
    };
    const tell = async (audit: readonly AuditEvent[] = []): Promise<void> => {
      work = { ...work, toldMs: clock.wallMs() };
      await noteWork(store, region, work, audit);
    };
    await tell();
    const telling: Telling = {
      show: (step, done, of) => {
        work = { ...work, step, done, of };
      },
      turn: async () => {
        await setImmediate();
        context.signal.throwIfAborted();
        if (clock.wallMs() - work.toldMs >= tellMs) await tell();
      },
    };
    try {
      const lines = await this.#found(order, telling, create);
      work = { ...work, state: "done", lines: bounded(lines) };
    } catch (error) {
      // Another leader begins the order again.
      if (context.signal.aborted) throw error;
      work = { ...work, state: "failed", lines: bounded([reasonOf(error)]) };
    }
    await tell(order.what === "verify" ? [this.#verified(work)] : []);
  }

  async #found(
    order: BackupOrder,
    telling: Telling,
    create: (telling: Telling) => Promise<Found>,
  ): Promise<Found> {
    if (order.what === "create") return await create(telling);
    const { keyFile, directory } = this.#options;
    const keys = await readBackupKeys(keyFile);
    try {
      // Only the name counts, so that no record can name a file outside of the folder.
      const file = join(directory, basename(order.backup));
      await using reader = await ArchiveReader.open(file, keys);
      return await this.#read(order, reader, telling);
    } finally {
      for (const { key } of keys) key.fill(0);
    }
  }

  async #read(
    { what, backup }: BackupOrder,
    reader: ArchiveReader,
    { show, turn }: Telling,
  ): Promise<Found> {
    const reading = (bytes: number) => show("reading", bytes, reader.size);
    const scanned = await scanArchive(reader, reading, undefined, turn);
    const found = scannedLines(backup, reader.size, scanned, this.#options.clock.wallMs());
    if (what === "verify") return found;
    const { records } = scanned.trailer;
    const report = await restoreArchive(reader, scanned, this.#options.target(), {
      apply: false,
      progress: (done) => show("comparing", Math.min(done, records), records),
      turn,
    });
    return [...found, ...reportLines(report, false), "nothing was written"];
  }

  #verified({ by, backup, state, lines, toldMs }: BackupWork): AuditEvent {
    const { directory, ids } = this.#options;
    const isWhole = state === "done";
    return {
      time: toldMs,
      action: "backup.verify",
      outcome: isWhole ? "success" : "failure",
      initiator: by,
      target: join(directory, basename(backup)),
      requestId: ids.uuid(),
      ...(!isWhole && { reason: lines.join(" ") }),
    };
  }
}

function bounded(lines: Found): string[] {
  return lines.slice(0, linesMax).map((line) => line.slice(0, lineLengthMax));
}
