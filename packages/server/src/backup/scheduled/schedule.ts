import { constants } from "node:fs";
import { lstat, open, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../base/operator-error.ts";
import { wordsFor } from "../archive/archive-files.ts";
import { ArchiveFault, magic } from "../archive/archive-format.ts";

/** When backups are made. */
export interface Schedule {
  readonly everyMs: number;
  /** Minutes after midnight (UTC) at which one is made each day, in place of `everyMs`. */
  readonly atMinutes?: number;
}

const dayMs = 86_400_000;
const minuteMs = 60_000;
const nameForm = /^holdfast-([a-z0-9-]+)-(\d{8}T\d{6}Z)\.backup$/;
/** A backup without the records that were damaged, or one that is not known to be complete yet. */
const incompleteForm = /^holdfast-([a-z0-9-]+)-(\d{8}T\d{6}Z)\.incomplete\.backup$/;
const partialForm =
  /^holdfast-([a-z0-9-]+)-\d{8}T\d{6}Z(?:\.incomplete)?\.backup\.[0-9a-f]{8}\.partial$/;
/** A partial file that has not changed for so long is no longer being written. */
const partialAgeMs = 6 * 3_600_000;

/** When to make the backup that follows the one of `lastMs`; at once without one. */
export function dueAfter(lastMs: number | undefined, { everyMs, atMinutes }: Schedule): number {
  if (lastMs === undefined) return 0;
  if (atMinutes === undefined) return lastMs + everyMs;
  const midnight = Math.floor(lastMs / dayMs) * dayMs;
  const today = midnight + atMinutes * minuteMs;
  return today > lastMs ? today : today + dayMs;
}

/** Minutes after midnight of `HH:MM`. */
export function minutesOf(at: string): number {
  const [hours = 0, minutes = 0] = at.split(":").map(Number);
  return hours * 60 + minutes;
}

/** The names of a scheduled backup: the one that it has once it is complete, and the one before. */
export function backupNames(region: string, wallMs: number) {
  const time = new Date(wallMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const name = `holdfast-${region}-${time}`;
  return { complete: `${name}.backup`, incomplete: `${name}.incomplete.backup` };
}

/** A region's complete scheduled backups in a folder, oldest first; name and first bytes identify them. */
export function backupsIn(folder: string, region: string): Promise<readonly string[]> {
  return archivesIn(folder, region, nameForm);
}

/** When a backup was begun, by its name. */
function startedMsOf(name: string): number {
  const [, , time = ""] = nameForm.exec(name) ?? [];
  return Date.parse(time.replace(/(....)(..)(..T..)(..)/, "$1-$2-$3:$4:"));
}

async function archivesIn(
  folder: string,
  region: string,
  form: RegExp,
): Promise<readonly string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw new ArchiveFault(`backup.directory: ${folder}: ${wordsFor(error)}`);
  });
  const own = names.filter((name) => form.exec(name)?.[1] === region).toSorted();
  const found: string[] = [];
  for (const name of own) if (await isArchive(join(folder, name))) found.push(name);
  return found;
}

/** Deletes a backup by calling its `remove`. */
type Deleting = (file: string, remove: () => Promise<void>) => Promise<void>;

/** How long a backup is kept: so many by the schedule, so that ordered ones never push these out. */
export function keptMs(keep: number, { everyMs, atMinutes }: Schedule): number {
  return keep * (atMinutes === undefined ? everyMs : dayMs);
}

/**
 * Deletes all but the newest `keep` complete backups of a region that are older than `ageMs`, the incomplete ones, and old
 * partial files of interrupted ones; returns their names. `evident` deletes each backup by calling its `remove`.
 */
export async function retire(
  folder: string,
  region: string,
  { keep, ageMs }: { readonly keep: number; readonly ageMs: number },
  wallMs: number,
  evident: Deleting = (_, remove) => remove(),
): Promise<readonly string[]> {
  const backups = await backupsIn(folder, region);
  const beyond = backups.slice(0, Math.max(0, backups.length - keep));
  const old = beyond.filter((name) => wallMs - startedMsOf(name) >= ageMs);
  const partial: string[] = [];
  for (const name of await readdir(folder)) {
    if (partialForm.exec(name)?.[1] !== region) continue;
    const stats = await lstat(join(folder, name)).catch(() => undefined);
    if (stats?.isFile() === true && wallMs - stats.mtimeMs > partialAgeMs) partial.push(name);
  }
  for (const name of partial) await remove(folder, name);
  for (const name of old) await evident(join(folder, name), () => remove(folder, name));
  return [...old, ...(await retireIncomplete(folder, region, 0, evident)), ...partial];
}

/** Deletes all but the newest `keep` incomplete scheduled backups of a region; returns their names. */
export async function retireIncomplete(
  folder: string,
  region: string,
  keep: number,
  evident: Deleting,
): Promise<readonly string[]> {
  const found = await archivesIn(folder, region, incompleteForm);
  const old = found.slice(0, Math.max(0, found.length - keep));
  for (const name of old) await evident(join(folder, name), () => remove(folder, name));
  return old;
}

async function remove(folder: string, name: string): Promise<void> {
  await unlink(join(folder, name)).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw new ArchiveFault(`${name}: ${wordsFor(error)}`);
  });
}

async function isArchive(file: string): Promise<boolean> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => undefined);
  if (handle === undefined) return false;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(magic.length));
    return bytesRead === magic.length && buffer.equals(magic);
  } finally {
    await handle.close();
  }
}
