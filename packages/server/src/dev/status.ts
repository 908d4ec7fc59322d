import type { Folder } from "./folder.ts";
import { readJson, stopCommand } from "./folder.ts";
import { isAlive } from "./process-identity.ts";
import { readRun } from "./run-file.ts";

interface ClusterFile {
  readonly ready: boolean;
  readonly nodes: readonly {
    readonly node: string;
    readonly kmip: string;
    readonly http: string;
  }[];
  readonly redis: readonly { readonly role: string; readonly address: string }[];
}

/** As in the scripts of services: 3 where nothing runs (LSB, "program is not running"). */
const notRunning = 3;
const probeTimeoutMs = 1000;

/** Says what runs in a folder; the exit code is 0 only where all of it does. */
export async function status(folder: Folder, say: (line: string) => void): Promise<number> {
  const run = readRun(folder);
  if (run === undefined || !isAlive(run.supervisor)) {
    const left = (run?.processes ?? []).filter(isAlive).length;
    say(
      left === 0
        ? `Nothing runs in ${folder.root}: start it with \`npm start\`.`
        : `The cluster's own process is gone and left ${left} others in ${folder.root}: end them with \`${stopCommand(folder)}\`.`,
    );
    return notRunning;
  }
  const cluster = readJson<ClusterFile>(folder.cluster);
  say(
    `${folder.root}: ${cluster?.ready === true ? "ready" : "starting"} (process ${run.supervisor.pid})`,
  );
  for (const { name, ...identity } of run.processes) {
    say(`  ${name.padEnd(16)} ${isAlive(identity) ? `process ${identity.pid}` : "ENDED"}`);
  }
  for (const { node, kmip, http } of cluster?.nodes ?? []) {
    say(`  KMIP ${node.padEnd(11)} ${kmip} ${await readiness(http)}`);
  }
  const all = cluster?.ready === true && run.processes.every(isAlive);
  return all ? 0 : 1;
}

async function readiness(http: string): Promise<string> {
  try {
    const { ok } = await fetch(`http://${http}/readyz`, {
      signal: AbortSignal.timeout(probeTimeoutMs),
    });
    return ok ? "ready" : "NOT READY";
  } catch {
    return "NOT ANSWERING";
  }
}
