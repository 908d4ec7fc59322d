import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "@holdfast/testing";
import { makeBundle } from "../../scripts/build/bundle.ts";
import { nodeEnvironment, nodeOptions } from "../../scripts/build/tree.ts";
import { type NodeProcess, ownProgram } from "../support/node-process.ts";
import type { Region } from "../support/region.ts";
import type { Target } from "./load-plan.ts";
import { discoverVersions } from "./messages.ts";
import type { Extent } from "./options.ts";
import { residentBytes } from "./process-figures.ts";
import { Contexts, Wire } from "./wire.ts";

/** Milliseconds from the start of a process. */
export interface StartUp {
  /** `npm start` in a folder where it ran before, to the first answered request. */
  readonly npmFirstAnswerMs: readonly number[];
  /** The same, until vCenter's whole sequence succeeded and the cluster says that it is ready. */
  readonly npmReadyMs: readonly number[];
  /** A node's process alone, with a running store. */
  readonly nodes: Readonly<Record<(typeof forms)[number], NodeStarts>>;
}

interface NodeStarts {
  /** The time to the first answered request. */
  readonly firstAnswerMs: readonly number[];
  /** Resident memory of an idle node that has served one client before. */
  readonly idleBytes: readonly number[];
}

/** From source, and from the bundle that packages and images have. */
const forms = ["source", "bundle"] as const;
const settleMs = 10_000;

const root = join(import.meta.dirname, "../..");
const host = "127.0.1.1";
const startMs = 60_000;
const endMs = 30_000;
const pollMs = 10;

/** Measures starts one after another. */
export async function measureStartUp(
  region: Region,
  extent: Extent,
  signal: AbortSignal,
): Promise<StartUp> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-start-"));
  try {
    // The first start makes certificates and an empty store; the later starts are warm.
    await start(folder, signal);
    const npmFirstAnswerMs: number[] = [];
    const npmReadyMs: number[] = [];
    const found = () => ({ firstAnswerMs: [] as number[], idleBytes: [] as number[] });
    const nodes = { source: found(), bundle: found() };
    const bundle = join(folder, "bundle");
    await makeBundle(bundle);
    const programs = {
      source: ownProgram,
      bundle: [
        ...["env", ...nodeEnvironment, process.execPath],
        ...[...nodeOptions, join(bundle, "holdfast.mjs")],
      ],
    };
    const node = region.node(1);
    for (let round = 0; round < extent.starts; round++) {
      const { firstAnswerMs, readyMs } = await start(folder, signal);
      npmFirstAnswerMs.push(firstAnswerMs);
      npmReadyMs.push(readyMs);
      for (const form of forms) {
        node.program = programs[form];
        nodes[form].firstAnswerMs.push(await startNode(node, region.target("bench", 1)));
        await sleep(settleMs, undefined, { signal });
        nodes[form].idleBytes.push(residentBytes(node.pid));
      }
    }
    return { npmFirstAnswerMs, npmReadyMs, nodes };
  } finally {
    await region.node(1).stop();
    region.node(1).program = ownProgram;
    await region.node(1).start();
    await rm(folder, { recursive: true, force: true });
  }
}

async function startNode(node: NodeProcess, target: Target): Promise<number> {
  await node.stop();
  const sinceMs = performance.now();
  const [firstAnswerMs] = await Promise.all([firstAnswer(() => target, sinceMs), node.start()]);
  return firstAnswerMs;
}

/** Runs `npm start` once for a cluster with its own folder and port, and ends it again. */
async function start(
  folder: string,
  signal: AbortSignal,
): Promise<{ firstAnswerMs: number; readyMs: number }> {
  const port = await freePort(host);
  const args = ["start", "--", "--dir", folder, "--port", String(port)];
  const sinceMs = performance.now();
  const child = spawnNpm(args);
  try {
    const ended = once(child, "exit").then(() => {
      throw new Error("npm start ended before it was ready");
    });
    const interrupted = once(signal, "abort").then(() => signal.throwIfAborted() as never);
    return await Promise.race([ended, interrupted, answers(folder, port, sinceMs)]);
  } finally {
    await stop(folder, child);
  }
}

async function answers(folder: string, port: number, sinceMs: number) {
  const before = clusterFile(folder)?.text;
  const target = () => targetIn(folder, port);
  const firstAnswerMs = await firstAnswer(target, sinceMs);
  for (;;) {
    const now = clusterFile(folder);
    if (now?.ready === true && now.text !== before) break;
    await pause(sinceMs);
  }
  return { firstAnswerMs, readyMs: performance.now() - sinceMs };
}

/** Asks for the versions until a node answers. */
async function firstAnswer(targetOf: () => Target | undefined, sinceMs: number): Promise<number> {
  const contexts = new Contexts();
  let target: Target | undefined;
  for (;;) {
    target ??= targetOf();
    if (target !== undefined && (await answersOnce(target, contexts))) {
      return performance.now() - sinceMs;
    }
    await pause(sinceMs);
  }
}

async function answersOnce(target: Target, contexts: Contexts): Promise<boolean> {
  let wire: Wire | undefined;
  try {
    wire = await Wire.open(target, contexts);
    await wire.exchange(Buffer.from(discoverVersions.bytes, "base64"));
    return true;
  } catch {
    return false;
  } finally {
    await wire?.destroy();
  }
}

async function pause(sinceMs: number): Promise<void> {
  if (performance.now() - sinceMs > startMs) throw new Error(`not started within ${startMs} ms`);
  await sleep(pollMs);
}

/** The file that the cluster writes for tools that attach. */
function clusterFile(folder: string) {
  const path = join(folder, "cluster.json");
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, "utf8");
  const { ready, ca, clientCertificate, clientKey } = JSON.parse(text) as {
    readonly ready: boolean;
    readonly ca: string;
    readonly clientCertificate: string;
    readonly clientKey: string;
  };
  return { text, ready, ca, clientCertificate, clientKey };
}

function targetIn(folder: string, port: number): Target | undefined {
  const found = clusterFile(folder);
  if (found === undefined) return undefined;
  const read = (path: string) => readFileSync(path, "utf8");
  const { ca, clientCertificate, clientKey } = found;
  return {
    host,
    port,
    ca: read(ca),
    certificate: read(clientCertificate),
    key: read(clientKey),
  };
}

/** Starts npm in its own process group; it ends with the bench, however the bench ends. */
function spawnNpm(args: readonly string[]): ChildProcess {
  const setpriv = "/usr/bin/setpriv";
  const command = existsSync(setpriv) ? [setpriv, "--pdeathsig", "SIGTERM", "npm"] : ["npm"];
  const [file = "npm", ...first] = command;
  return spawn(file, [...first, ...args], { cwd: root, stdio: "ignore", detached: true });
}

/** Ends the cluster and its remaining processes. */
async function stop(folder: string, started: ChildProcess): Promise<void> {
  const stopping = spawnNpm(["stop", "--", "--dir", folder]);
  await once(stopping, "exit");
  if (started.exitCode !== null || started.signalCode !== null || started.pid === undefined) return;
  const gone = once(started, "exit");
  const timer = setTimeout(() => process.kill(-(started.pid ?? 0), "SIGKILL"), endMs);
  await gone;
  clearTimeout(timer);
}
