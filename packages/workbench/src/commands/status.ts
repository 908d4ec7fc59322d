import { type Address, parseAddress } from "@holdfast/server/base";
import { type Folder, readJson, stopCommand } from "../base/folder.ts";
import { inWords, type NodeView, view } from "../cluster/view.ts";
import { isAlive, isFrozen, type ProcessIdentity } from "../processes/process-identity.ts";
import { type Run, readRun } from "../processes/run-file.ts";

interface ClusterFile {
  readonly ready: boolean;
  readonly wanMs: number;
  readonly nodes: readonly ClusterNode[];
}

interface ClusterNode {
  readonly region: string;
  readonly node: string;
  readonly kmip: string;
  readonly http: string;
}

/** The exit code if nothing runs, as in service scripts (LSB, "program is not running"). */
const notRunning = 3;

/** Prints what runs in a folder; returns the exit code, which is 0 only if everything runs. */
export async function status(folder: Folder, say: (line: string) => void): Promise<number> {
  const run = readRun(folder);
  if (run === undefined || !isAlive(run.supervisor)) {
    say(nothingRuns(folder, run));
    return notRunning;
  }
  const cluster = readJson<ClusterFile>(folder.cluster);
  const ready = cluster?.ready === true;
  const wan = cluster?.wanMs ? `, ${cluster.wanMs} ms each way between the regions` : "";
  say(`${folder.root}: ${ready ? "ready" : "starting"} (process ${run.supervisor.pid})${wan}`);
  const seen = await Promise.all((cluster?.nodes ?? []).map(look));
  for (const line of regionLines(seen)) say(line);
  say("processes");
  for (const { name, ...identity } of run.processes) {
    say(`  ${name.padEnd(16)} process ${identity.pid}${conditionOf(identity)}`);
  }
  const well = run.processes.every((one) => conditionOf(one) === "");
  return ready && well && seen.every(({ ready: can }) => can) ? 0 : 1;
}

function nothingRuns(folder: Folder, run: Run | undefined): string {
  const left = (run?.processes ?? []).filter(isAlive).length;
  return left === 0
    ? `Nothing runs in ${folder.root}: start it with \`npm start\`.`
    : `The cluster's own process is gone and left ${left} others in ${folder.root}: end them with \`${stopCommand(folder)}\`.`;
}

type Seen = ClusterNode & NodeView;

/** Reads a node's state. Takes only some fields of the file, because others have the same names as in a view. */
async function look({ region, node, kmip, http }: ClusterNode): Promise<Seen> {
  return { region, node, kmip, http, ...(await view(parseAddress(http) as Address)) };
}

function regionLines(seen: readonly Seen[]): readonly string[] {
  return [...new Set(seen.map(({ region }) => region))].flatMap((region) => {
    const nodes = seen.filter((node) => node.region === region);
    const leader = nodes.find(({ leads }) => leads === true);
    return [
      `region ${region}: ${leader === undefined ? "nobody leads" : `${leader.node} leads`}`,
      ...nodes.map((one) => {
        const state = one.ready ? "ready" : "NOT READY";
        return `  KMIP ${one.node.padEnd(11)} ${one.kmip} ${state}: ${inWords(one)}`;
      }),
    ];
  });
}

/** Empty for a process that runs normally. */
function conditionOf(identity: ProcessIdentity): string {
  if (!isAlive(identity)) return " ENDED";
  return isFrozen(identity) ? " FROZEN" : "";
}
