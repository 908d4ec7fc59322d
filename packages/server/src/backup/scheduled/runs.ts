import {
  type AuditEvent,
  type BackupOrder,
  type BackupRun,
  type BackupWork,
  changeRecord,
  type FieldChanges,
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

/** A region's backups as its store has them, and the order that its leader has to carry out. */
export async function runsOf(
  store: Pick<ObjectStore, "read">,
  region: string,
): Promise<BackupRuns & { readonly order?: BackupOrder | undefined }> {
  const [stored] = await store.read(systemInstance, [backupRecordId(region)]);
  const record = stored && readRecord("Backup", stored.object);
  if (record === undefined) return { region, runs: [] };
  return { ...readRuns(record), order: openOrder(record) };
}

/** The last order, unless it was carried out. One whose leader stopped in the middle is begun again. */
export function openOrder({ order, work }: SystemRecord<"Backup">): BackupOrder | undefined {
  const taken = order && work[order.what];
  return taken?.id === order?.id && taken?.state !== "running" ? undefined : order;
}

/** Adds a run to a region's record, in place of its oldest. */
export async function noteRun(
  store: Pick<ObjectStore, "read" | "commit">,
  region: string,
  added: BackupRun,
  audit: readonly AuditEvent[],
): Promise<void> {
  const edit = (before: SystemRecord<"Backup"> | undefined) => ({
    run: { [slotFor(before, added)]: added },
  });
  await changeRuns(store, region, added.endedMs, edit, audit);
}

/** Notes in a region's record how far its leader is with an order. */
export async function noteWork(
  store: Pick<ObjectStore, "read" | "commit">,
  region: string,
  work: BackupWork,
  audit: readonly AuditEvent[] = [],
): Promise<void> {
  await changeRuns(store, region, work.toldMs, () => ({ work: { [work.what]: work } }), audit);
}

async function changeRuns(
  store: Pick<ObjectStore, "read" | "commit">,
  region: string,
  wallMs: number,
  changes: (before: SystemRecord<"Backup"> | undefined) => FieldChanges<"Backup">,
  audit: readonly AuditEvent[],
): Promise<void> {
  const now = { us: Math.floor(wallMs * 1_000), region };
  const id = backupRecordId(region);
  const edit = (before: StoredObject | undefined) =>
    before === undefined
      ? makeRecord("Backup", id, { region, ...changes(undefined) }, now)
      : changeRecord("Backup", before.object, changes(readRecord("Backup", before.object)), now);
  const what = `the record of region ${region}'s backups`;
  await updateRecord(store, id, edit, { what, evidence: audit });
}

/** The slot of the same backup, which may be added twice; or a free one, or else that of the oldest run. */
function slotFor(record: SystemRecord<"Backup"> | undefined, { file }: BackupRun): number {
  let [oldest, oldestMs] = [0, Number.POSITIVE_INFINITY];
  for (let slot = 0; slot < slots; slot++) {
    const said = record?.run[slot];
    if (said === undefined || said.file === file) return slot;
    if (said.startedMs < oldestMs) [oldest, oldestMs] = [slot, said.startedMs];
  }
  return oldest;
}

/** The identifier of the record of a region's backups. */
export function backupRecordId(region: string): string {
  return systemIdentifier("Backup", region);
}
