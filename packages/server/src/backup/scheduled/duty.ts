import { basename, join } from "node:path";
import {
  type AuditEvent,
  type BackupOrder,
  type BackupRun,
  type Ids,
  type ObjectStore,
  StoreUnavailable,
  systemInstance,
  type Timers,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import { whyIncomplete } from "../archive/archive-entries.ts";
import { renameArchive } from "../archive/archive-files.ts";
import { readBackupKeys } from "../archive/backup-keys.ts";
import { type BackupSource, createBackup } from "../create.ts";
import type { OrderedWork, Telling } from "./ordered.ts";
import { type BackupRuns, lastGoodMs, noteRun, runsOf } from "./runs.ts";
import {
  backupNames,
  dueAfter,
  keptMs,
  retire,
  retireIncomplete,
  type Schedule,
} from "./schedule.ts";

export interface ScheduledBackupsOptions {
  readonly source: BackupSource;
  /** The store that holds the record of backups. */
  readonly store: Pick<ObjectStore, "read" | "commit" | "appendAudit">;
  readonly keyFile: string;
  readonly directory: string;
  readonly schedule: Schedule;
  readonly keep: number;
  /** Carries out what administrators order. */
  readonly ordered: Pick<OrderedWork, "carryOut">;
  readonly clock: Timers;
  readonly ids: Ids;
}

/** An administrator waits for what they ordered. */
const lookMs = 2_000;
/** The pause after a backup that failed or is not complete. */
const againMs = 10 * 60_000;

/** For whom a backup is made, where not by schedule. */
interface Ordered {
  readonly order: BackupOrder;
  readonly telling: Telling;
}

/** Makes the region's backups when they are due or ordered, and deletes the oldest; does what else is ordered with them. */
export class ScheduledBackups implements Duty {
  readonly name = "backup";
  readonly everyMs = lookMs;
  readonly #options: ScheduledBackupsOptions;
  /** The last backup of this node, while the region's record lacks it: it counts nevertheless. */
  #unnoted: { readonly run: BackupRun; readonly by: string | undefined } | undefined;

  constructor(options: ScheduledBackupsOptions) {
    this.#options = options;
  }

  /** See `Duty.run`. */
  readonly run = async (context: DutyContext): Promise<DutyResult> => {
    const { source, store, ordered } = this.#options;
    await this.#noteLate();
    const runs = await runsOf(store, source.region);
    const { order } = runs;
    const isDue = this.#isDue(runs);
    if (!context.active() || (order === undefined && !isDue)) return { done: 0, left: 0 };
    // Orders must not keep the region from the backups that are due.
    if (order === undefined || (isDue && order.what !== "create")) await this.#backUp(context);
    else {
      await ordered.carryOut(order, context, async (telling) => {
        const { file, records, bytes } = await this.#backUp(context, { order, telling });
        return [`${basename(file)}: ${records} records, ${bytes} bytes`];
      });
    }
    return { done: 1, left: 0 };
  };

  /** Makes one, and records how it went. */
  async #backUp({ signal }: Pick<DutyContext, "signal">, ordered?: Ordered): Promise<BackupRun> {
    const { source, clock, directory, keep, schedule } = this.#options;
    const startedMs = clock.wallMs();
    const names = backupNames(source.region, startedMs);
    const failed = {
      ...{ file: join(directory, names.complete), startedMs },
      ...{ records: 0, bytes: 0, ok: false },
    };
    let failure: unknown;
    const run = await this.#make(names, startedMs, signal, ordered?.telling).catch(
      (error: unknown): BackupRun => {
        if (signal.aborted) throw error;
        failure = error;
        return { ...failed, endedMs: clock.wallMs(), reason: reasonOf(error) };
      },
    );
    await this.#note(run, ordered?.order.by);
    if (failure !== undefined) throw failure;
    if (!run.ok) {
      // The complete ones stay, however many incomplete ones follow.
      await retireIncomplete(directory, source.region, 1, this.#evident);
      throw new StoreUnavailable("corrupt", `backup ${run.file} is not complete: ${run.reason}`);
    }
    const kept = { keep, ageMs: keptMs(keep, schedule) };
    await retire(directory, source.region, kept, clock.wallMs(), this.#evident);
    return run;
  }

  #isDue({ region, runs }: BackupRuns): boolean {
    const nowMs = this.#options.clock.wallMs();
    // Runs from before the clock was set back are in the future: they must not stop all backups.
    const all = [...(this.#unnoted ? [this.#unnoted.run] : []), ...runs];
    const past = all.filter(({ startedMs }) => startedMs <= nowMs + againMs);
    const [last] = past;
    // A run that failed a moment ago would fail again.
    if (last?.ok === false && nowMs - last.endedMs < againMs) return false;
    return dueAfter(lastGoodMs({ region, runs: past }), this.#options.schedule) <= nowMs;
  }

  async #make(
    names: ReturnType<typeof backupNames>,
    startedMs: number,
    signal: AbortSignal,
    telling: Telling | undefined,
  ): Promise<BackupRun> {
    const { source, keyFile, directory, ids, clock } = this.#options;
    const [incomplete, complete] = [
      join(directory, names.incomplete),
      join(directory, names.complete),
    ];
    const keys = await readBackupKeys(keyFile);
    try {
      const key = keys.at(-1);
      if (key === undefined) throw new Error("backup.keyFile: it has no version");
      const { show, turn } = telling ?? {};
      const { bytes, trailer } = await createBackup(incomplete, source, {
        ...{ key, ids, clock, signal },
        ...(show && { progress: (done, of) => show("writing", done, of) }),
        ...(turn && { turn }),
      });
      const { records } = trailer;
      const reason = whyIncomplete(trailer) ?? "";
      const ok = reason === "";
      if (ok) await renameArchive(incomplete, complete);
      const file = ok ? complete : incomplete;
      return { file, startedMs, endedMs: clock.wallMs(), records, bytes, ok, reason };
    } finally {
      for (const { key } of keys) key.fill(0);
    }
  }

  /** Deletes an old backup between its audit events: without the first one, nothing is deleted. */
  readonly #evident = async (file: string, remove: () => Promise<void>): Promise<void> => {
    const { store, ids, clock } = this.#options;
    const fixed = { action: "backup.delete", initiator: "schedule", target: file } as const;
    const requestId = ids.uuid();
    const append = (ended: Pick<AuditEvent, "outcome" | "reason">) =>
      store.appendAudit(
        systemInstance,
        [{ ...fixed, requestId, time: clock.wallMs(), ...ended }],
        true,
      );
    await append({ outcome: "pending" });
    try {
      await remove();
    } catch (error) {
      await append({ outcome: "failure", reason: reasonOf(error) });
      throw error;
    }
    await append({ outcome: "success" });
  };

  /** Records the last backup, where that was not possible when it ended. */
  async #noteLate(): Promise<void> {
    if (this.#unnoted === undefined) return;
    const { run, by } = this.#unnoted;
    // The failure was reported then; until it can be recorded, this node remembers it.
    await this.#note(run, by).catch(() => undefined);
  }

  async #note(run: BackupRun, by: string | undefined): Promise<void> {
    const { store, source, ids } = this.#options;
    this.#unnoted = { run, by };
    const event = {
      time: run.endedMs,
      action: "backup.create",
      outcome: run.ok ? "success" : "failure",
      initiator: by ?? "schedule",
      target: run.file,
      requestId: ids.uuid(),
      ...(run.reason !== "" && { reason: run.reason }),
      detail: { records: run.records, bytes: run.bytes },
    } as const;
    await noteRun(store, source.region, run, [event]);
    this.#unnoted = undefined;
  }
}
