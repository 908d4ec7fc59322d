import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { OperatorError } from "../base/operator-error.ts";
import { wordsFor } from "./archive/archive-files.ts";
import { readBackupKeys } from "./archive/backup-keys.ts";

/** The files that the settings of backups name. */
interface BackupFiles {
  readonly keyFile: string;
  readonly directory: string | undefined;
}

/** Checks the files that the settings of backups name; an `OperatorError` says what is wrong. */
export async function checkBackup(backup: BackupFiles | undefined): Promise<void> {
  if (backup === undefined) return;
  for (const { key } of await readBackupKeys(backup.keyFile)) key.fill(0);
  const { directory } = backup;
  if (directory === undefined) return;
  const what = `backup.directory: ${directory}`;
  const stats = await stat(directory).catch((error: unknown) => {
    throw new OperatorError(`${what}: ${wordsFor(error)}`);
  });
  if (!stats.isDirectory()) throw new OperatorError(`${what}: this is not a folder`);
  await access(directory, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw new OperatorError(`${what}: ${wordsFor(error)}`);
  });
}
