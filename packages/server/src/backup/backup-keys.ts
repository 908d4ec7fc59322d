import { createLocalRoot, readRootKeys, rotateLocalRoot } from "@holdfast/root-of-trust";
import { reasonOf, StartError } from "../start-error.ts";
import { systemClock, systemIds } from "../system.ts";
import type { BackupKey } from "./archive-format.ts";

const sources = { clock: systemClock, ids: systemIds };

/** All versions of the backup key, oldest first; the last seals. */
export async function readBackupKeys(file: string): Promise<readonly BackupKey[]> {
  const { versions } = await readRootKeys(file).catch((error: unknown) => {
    throw keyFault(error);
  });
  return versions;
}

/** Makes a key file with its first version, mode 0600; refuses to replace one. */
export async function initBackupKey(file: string): Promise<string> {
  await createLocalRoot(file, sources).catch((error: unknown) => {
    throw keyFault(error);
  });
  return `${file}: version 1 is made; give this file to every node of the region, and keep a copy where the backups are not: without it no backup can be read`;
}

/** Adds a version, under which backups are sealed from now on. */
export async function rotateBackupKey(file: string): Promise<string> {
  const version = await rotateLocalRoot(file, sources).catch((error: unknown) => {
    throw keyFault(error);
  });
  return `${file}: version ${version} seals backups from now on; give this file to every node of the region, and keep a copy where the backups are not`;
}

/** The key files of nodes are of one kind, whatever they are for. */
function keyFault(error: unknown): StartError {
  const reason = reasonOf(error).replaceAll("root key file", "key file");
  return new StartError(`backup.keyFile: ${reason}`);
}
