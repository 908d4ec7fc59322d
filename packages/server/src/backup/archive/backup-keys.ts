import {
  createLocalRoot,
  type KeyFile,
  readRootKeys,
  rotateLocalRoot,
} from "@holdfast/root-of-trust";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import type { Machine } from "../../base/system.ts";
import type { BackupKey } from "./archive-format.ts";

type KeySources = Pick<Machine, "clock" | "ids">;

const giveAll =
  "give this file to every node of the region, and keep a copy where the backups are not";

/** All versions of the backup key, oldest first; the last one seals new backups. */
export async function readBackupKeys(path: string): Promise<readonly BackupKey[]> {
  const { versions } = await readRootKeys(keyFile(path)).catch(blame);
  return versions;
}

/** Makes a key file with its first version, mode 0600; refuses to replace one. */
export async function initBackupKey(path: string, machine: KeySources): Promise<string> {
  await createLocalRoot(keyFile(path), machine).catch(blame);
  return `${path}: made, with version 1; ${giveAll}: without it no backup can be read`;
}

/** Adds a version, under which backups are sealed from now on. */
export async function rotateBackupKey(path: string, machine: KeySources): Promise<string> {
  const version = await rotateLocalRoot(keyFile(path), machine).catch(blame);
  return `${path}: version ${version} seals backups from now on; ${giveAll}`;
}

function keyFile(path: string): KeyFile {
  return { path, what: "backup key file" };
}

function blame(error: unknown): never {
  throw new OperatorError(`backup.keyFile: ${reasonOf(error)}`);
}
