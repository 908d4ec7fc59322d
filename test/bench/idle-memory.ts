import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Region } from "../support/region.ts";
import { type BareRequest, BareServer } from "./bare.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { Target } from "./load-plan.ts";
import { discoverVersions } from "./messages.ts";
import type { Extent } from "./options.ts";
import { residentBytes } from "./process-figures.ts";
import type { Side } from "./sides.ts";

/** Resident memory of a new process before and after opening connections that then stay idle. */
export interface IdleMemory {
  readonly side: Side["name"];
  readonly connections: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

const settleMs = 2000;
/** Open files that the bench needs besides connections. */
const filesBesides = 300;

/** Measures the second node and the bare server in turn, each as a new process. */
export async function measureIdleMemory(
  region: Region,
  bare: BareRequest,
  generator: LoadGenerator,
  extent: Extent,
): Promise<IdleMemory[]> {
  const connections = Math.min(extent.idleConnections, openFilesMax() - filesBesides);
  const node = region.node(1);
  const target = region.target("bench", 1);
  const found: IdleMemory[] = [];
  for (let round = 0; round < extent.idleRounds; round++) {
    await node.stop();
    await node.start();
    const ours = await hold(node.pid, target, connections, generator);
    found.push({ side: "holdfast", ...ours });
    await using server = await BareServer.start(bare);
    const theirs = await hold(server.pid, { ...target, port: server.port }, connections, generator);
    found.push({ side: "bare", ...theirs });
  }
  return found;
}

async function hold(pid: number, target: Target, connections: number, generator: LoadGenerator) {
  await sleep(settleMs);
  const bytesBefore = residentBytes(pid);
  await generator.hold({ connections, target, message: discoverVersions });
  await sleep(settleMs);
  const bytesAfter = residentBytes(pid);
  await generator.release();
  return { connections, bytesBefore, bytesAfter };
}

/** How many files a process may open once it has raised its limit to the maximum. */
function openFilesMax(): number {
  const limits = readFileSync("/proc/self/limits", "latin1");
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1];
  return hard === undefined ? Number.POSITIVE_INFINITY : Number(hard);
}
