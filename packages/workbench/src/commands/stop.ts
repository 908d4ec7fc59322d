import { setTimeout as sleep } from "node:timers/promises";
import type { Folder } from "../base/folder.ts";
import { isAlive, signal } from "../processes/process-identity.ts";
import { endLeft, readRun } from "../processes/run-file.ts";

const pollMs = 20;
/** Longer than the stop of nodes and Redis may take together. */
const giveUpMs = 40_000;

/** Ends the cluster that runs in a folder, and processes left by a killed one; returns the exit code. */
export async function stop(folder: Folder, say: (line: string) => void): Promise<number> {
  const run = readRun(folder);
  if (run === undefined) {
    say(`Nothing runs in ${folder.root}.`);
    return 0;
  }
  const supervised = isAlive(run.supervisor);
  signal(run.supervisor, "SIGTERM");
  for (let waited = 0; isAlive(run.supervisor); waited += pollMs) {
    if (waited > giveUpMs) signal(run.supervisor, "SIGKILL");
    await sleep(pollMs);
  }
  const left = await endLeft(folder, readRun(folder) ?? (supervised ? undefined : run));
  const also = left === 0 ? "" : `, ${left} processes that it had left`;
  say(`Ended the cluster in ${folder.root}${also}. The data stays for the next start.`);
  return 0;
}
