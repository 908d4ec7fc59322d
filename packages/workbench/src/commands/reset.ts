import { existsSync, rmdirSync, rmSync } from "node:fs";
import { codeOf, OperatorError } from "@holdfast/server/base";
import { type Folder, isCluster, isOldCluster, oldPaths, stopCommand } from "../base/folder.ts";
import { isAlive } from "../processes/process-identity.ts";
import { endLeft, readRun } from "../processes/run-file.ts";

/** Deletes everything that a cluster has stored in its folder, including keys; returns the exit code. */
export async function reset(
  folder: Folder,
  confirmed: boolean,
  say: (line: string) => void,
): Promise<number> {
  const { root, ...paths } = folder;
  const isOld = isOldCluster(folder);
  // Deletes by name, so that other files in the folder stay.
  const kept = [...Object.values(paths), ...(isOld ? oldPaths(folder) : [])];
  if (!isCluster(folder) && !isOld) {
    if (![folder.settings, folder.pki, ...oldPaths(folder)].some(existsSync)) {
      say(`Nothing is kept in ${folder.root}.`);
      return 0;
    }
    throw new OperatorError(
      `${root} has files, but no settings.json of a development cluster: nothing was deleted; give the folder of the cluster with --dir`,
    );
  }
  if (!confirmed) {
    throw new OperatorError(
      `this deletes every key that the cluster in ${folder.root} holds, and its certificates: give --yes to do it`,
    );
  }
  const run = readRun(folder);
  if (run !== undefined && isAlive(run.supervisor)) {
    throw new OperatorError(
      `a cluster runs in ${folder.root}: end it first with \`${stopCommand(folder)}\``,
      "conflicting",
    );
  }
  await endLeft(folder, run);
  for (const path of kept) rmSync(path, { recursive: true, force: true });
  removeIfEmpty(root);
  say(`Deleted what ${root} held.`);
  return 0;
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOTEMPTY") throw error;
  }
}
