import { rmSync, writeFileSync } from "node:fs";
import { codeOf, OperatorError } from "@holdfast/server/base";
import { type Folder, readJson, stopCommand, writeJson } from "../base/folder.ts";
import { stopLeft } from "./child.ts";
import { identityOf, isAlive, type ProcessIdentity } from "./process-identity.ts";

/** A process of the cluster, by name. */
interface RunningProcess extends ProcessIdentity {
  readonly name: string;
}

/** The running processes, in the order in which to end them. */
export interface Run {
  readonly supervisor: ProcessIdentity;
  readonly processes: readonly RunningProcess[];
}

/** How long a process of an earlier run may take to end by itself. */
const graceMs = 10_000;

/** The processes in a folder, according to its file. */
export function readRun(folder: Folder): Run | undefined {
  return readJson<Run>(folder.run);
}

/** Makes this process the one that runs a cluster in the folder; ends processes left by a killed one. */
export async function claim(folder: Folder): Promise<Run> {
  const supervisor = identityOf(process.pid);
  if (supervisor === undefined) throw new OperatorError("/proc cannot be read: Linux is needed");
  const run: Run = { supervisor, processes: [] };
  for (;;) {
    try {
      writeFileSync(folder.run, JSON.stringify(run), { flag: "wx", mode: 0o600 });
      return run;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const other = readRun(folder);
    if (other !== undefined && isAlive(other.supervisor)) {
      throw new OperatorError(
        `a development cluster already runs in ${folder.root} (process ${other.supervisor.pid}): end it with \`${stopCommand(folder)}\`, or start another with --dir, --port and --addresses`,
      );
    }
    await endLeft(folder, other);
  }
}

/** Ends the processes of a run whose supervisor is gone, and removes its file. */
export async function endLeft(folder: Folder, run: Run | undefined): Promise<number> {
  const left = (run?.processes ?? []).filter(isAlive);
  for (const process of left) await stopLeft(process, graceMs);
  rmSync(folder.run, { force: true });
  rmSync(folder.cluster, { force: true });
  return left.length;
}

/** Writes which processes run now. */
export function writeRun(folder: Folder, run: Run): void {
  writeJson(folder.run, run);
}

/** Removes the file if it is this process's. */
export function releaseRun(folder: Folder): void {
  const run = readRun(folder);
  if (run?.supervisor.pid === process.pid) rmSync(folder.run, { force: true });
}
