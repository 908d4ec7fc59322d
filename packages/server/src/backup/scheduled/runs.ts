import {
  type AuditEvent,
  type BackupRun,
  changeRecord,
  makeRecord,
  type ObjectStore,
  readRecord,
  type StoredObject,
  type SystemRecord,
  systemIdentifier,
  systemInstance,
  updateRecord,
} from "@holdfast/engine";

/** The region of a record's backups, and the last of them, newest first. */
export interface BackupRuns {
  readonly region: string;
  readonly runs: readonly BackupRun[];
}

/** How many runs a record keeps. */
const slots = 20;

/** Reads a record of backups. */
export function readRuns({ region, run }: SystemRecord<"Backup">): BackupRuns {
  const runs = Object.values(run).flatMap((one) => one ?? []);
  return { region, runs: runs.toSorted((one, other) => other.startedMs - one.startedMs) };
}

/** When the last good backup began; undefined without one. */
export function lastGoodMs({ runs }: BackupRuns): number | undefined {
  return runs.find(({ ok }) => ok)?.startedMs;
}

/** A region's backups as its store has them. */
export async function runsOf(
  store: Pick<ObjectStore, "read">,
  region: string,
): Promise<BackupRuns> {
  const [stored] = await store.read(systemInstance, [identifierOf(region)]);
  const record = stored && readRecord("Backup", stored.object);
  return record === undefined ? { region, runs: [] } : readRuns(record);
}

/** Adds a run to a region's record, in place of its oldest. */
export async function noteRun(
  store: Pick<ObjectStore, "read" | "commit">,
  region: string,
  added: BackupRun,
  audit: readonly AuditEvent[],
): Promise<void> {
  const now = { us: Math.floor(added.endedMs * 1_000), region };
  const id = identifierOf(region);
  const edit = (before: StoredObject | undefined) => {
    const slot = slotFor(before && readRecord("Backup", before.object));
    const run = { [slot]: added };
    return before === undefined
      ? makeRecord("Backup", id, { region, run }, now)
      : changeRecord("Backup", before.object, { run }, now);
  };
  const what = `the record of region ${region}'s backups`;
  await updateRecord(store, id, edit, { what, evidence: audit });
}

/** A free slot, or else that of the oldest run. */
function slotFor(record: SystemRecord<"Backup"> | undefined): number {
  let [oldest, oldestMs] = [0, Number.POSITIVE_INFINITY];
  for (let slot = 0; slot < slots; slot++) {
    const said = record?.run[slot];
    if (said === undefined) return slot;
    if (said.startedMs < oldestMs) [oldest, oldestMs] = [slot, said.startedMs];
  }
  return oldest;
}

function identifierOf(region: string): string {
  return systemIdentifier("Backup", region);
}
