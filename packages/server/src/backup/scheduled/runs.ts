import {
  type AuditEvent,
  type Document,
  documentRecord,
  type ObjectStore,
  readDocument,
  type StoredObject,
  systemIdentifier,
  systemInstance,
  systemTypes,
  updateRecord,
  withFields,
} from "@holdfast/engine";
import { z } from "zod";
import { parsedText } from "../../base/parsed-text.ts";

const run = z.object({
  file: z.string(),
  startedMs: z.number(),
  endedMs: z.number(),
  records: z.number().int(),
  bytes: z.number().int(),
  ok: z.boolean(),
  reason: z.string(),
});

/** One scheduled backup, as the region's record of backups keeps it. */
export type BackupRun = z.output<typeof run>;

/** The region of a record's backups, and the last of them, newest first. */
export interface BackupRuns {
  readonly region: string;
  readonly runs: readonly BackupRun[];
}

/** Runs that a record keeps. */
const slots = 20;

/** What a record of backups says; undefined for any other document. */
export function readRuns({ type, fixed, fields }: Document): BackupRuns | undefined {
  const { region } = fixed;
  if (type !== systemTypes.Backup || region === undefined) return undefined;
  const runs = Object.entries(fields).flatMap(([name, value]) =>
    name.startsWith("run.") ? (parsedText(run, value) ?? []) : [],
  );
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
  const document = stored && readDocument(stored.object);
  return (document && readRuns(document)) ?? { region, runs: [] };
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
    const slot = slotFor(before && readDocument(before.object));
    const fields = { [`run.${slot}`]: JSON.stringify(added) };
    return before === undefined
      ? documentRecord({ type: systemTypes.Backup, id, fixed: { region }, fields }, now)
      : withFields(before.object, fields, now);
  };
  const what = `the record of region ${region}'s backups`;
  await updateRecord(store, id, edit, { what, evidence: audit });
}

/** A place that is free, or else the oldest run's. */
function slotFor(document: Document | undefined): number {
  let [oldest, oldestMs] = [0, Number.POSITIVE_INFINITY];
  for (let slot = 0; slot < slots; slot++) {
    const said = parsedText(run, document?.fields[`run.${slot}`]);
    if (said === undefined) return slot;
    if (said.startedMs < oldestMs) [oldest, oldestMs] = [slot, said.startedMs];
  }
  return oldest;
}

function identifierOf(region: string): string {
  return systemIdentifier(systemTypes.Backup, region);
}
