import { isIPv4 } from "node:net";
import { join, resolve } from "node:path";
import { machine, reachOf } from "@holdfast/server/base";
import { type Command, InvalidArgumentError } from "commander";
import { defaultFolder, type Folder, folderAt } from "../base/folder.ts";
import { ask } from "../cluster/control.ts";
import type { FaultName } from "../cluster/faults.ts";
import { restMs } from "../cluster/faults.ts";
import {
  ensurePeerPki,
  ensurePki,
  ensureRegionFiles,
  ensureServerPki,
  type PeerNode,
} from "../cluster/pki.ts";
import { kmipPort, planOf } from "../cluster/plan.ts";
import { report, startDetached } from "../processes/detach.ts";
import { reset } from "./reset.ts";
import { start } from "./start.ts";
import { status } from "./status.ts";
import { stop } from "./stop.ts";

/** Regions of a cluster that is not told how many. */
const regionsUsual = 2;

interface Where {
  readonly dir?: string;
}

interface Start extends Where {
  readonly port: number;
  readonly addresses?: readonly string[];
  readonly regions: number;
  readonly nodes: number;
  readonly wan: number;
  readonly detach?: true;
  readonly report?: true;
}

/** Adds the commands for trying Holdfast on one machine; each one sets the process's exit code. */
export function addDevCommands(dev: Command): void {
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  addStart(dev, say);
  const withFolder = (name: string, description: string) =>
    dev.command(name).description(description).option("--dir <folder>", "the cluster's folder");
  withFolder("stop", "end the cluster; its keys stay").action(async (options: Where) => {
    process.exitCode = await stop(folderOf(options), say);
  });
  withFolder("status", "tell what runs").action(async (options: Where) => {
    process.exitCode = await status(folderOf(options), say);
  });
  withFolder("reset", "delete the cluster's keys, certificates and logs")
    .option("--yes", "yes, delete them")
    .action(async (options: Where & { readonly yes?: true }) => {
      process.exitCode = await reset(folderOf(options), options.yes === true, say);
    });
  addFaults(dev, say);
  addPki(dev, say);
  addLoad(dev, say);
}

/** Breaks and mends parts of the cluster that runs, so that a person can watch what happens. */
function addFaults(dev: Command, say: (line: string) => void): void {
  const add = (fault: FaultName, takes: string, description: string) => {
    const command = dev
      .command(`${fault}${takes}`)
      .description(description)
      .option("--dir <folder>", "the cluster's folder");
    if (fault === "kill") command.option("--stay", "do not start it again before `dev heal`");
    command.action(async (...given: readonly unknown[]) => {
      const [parts, options] = (takes === "" ? [[], given[0]] : given) as [
        readonly string[],
        Where & { readonly stay?: true },
      ];
      const request = { fault, parts, stay: options.stay === true };
      for (const line of await ask(folderOf(options), request)) say(line);
    });
  };
  const names = "a1, redis-a, replica-a, lock-a, or region-a for all of it";
  add("kill", " <part...>", `end at once (SIGKILL): ${names}; back after ${restMs / 1000} s`);
  add("freeze", " <part...>", "stop where it stands (SIGSTOP) until it is thawed");
  add("thaw", " <part...>", "let go on what is frozen (SIGCONT)");
  add("cut", "", "let nothing pass between the regions");
  add(
    "heal",
    " [part...]",
    "mend the line, thaw and start what was broken; all of it, or these parts",
  );
}

function addLoad(dev: Command, say: (line: string) => void): void {
  interface Load {
    readonly config: string;
    readonly instance: string;
    readonly keys: number;
  }
  dev
    .command("load")
    .description("make many Active keys in a store, to see how it does with them")
    .requiredOption("-c, --config <file>", "the configuration of a node")
    .requiredOption("--instance <name>", "whose keys")
    .requiredOption("--keys <number>", "how many", countOf(1, 100_000_000))
    .action(async ({ config, ...wish }: Load) => {
      const { loadKeys } = await import("@holdfast/server/load-keys");
      say(await loadKeys(config, machine, wish));
    });
}

function addPki(dev: Command, say: (line: string) => void): void {
  interface PkiOptions {
    readonly out: string;
    readonly host?: readonly string[];
    readonly peer?: readonly PeerNode[];
  }
  dev
    .command("pki")
    .description(
      "make an authority, a server's and a client's certificate, a root key; keep what is there",
    )
    .requiredOption("--out <folder>", "where the files go")
    .option("--host <address>", "address or name of a server; may be given again", again)
    .option(
      "--peer <region/node>",
      "a node of one of two regions: each gets a certificate of its own, each region its own root key; may be given again",
      peerList,
    )
    .action(async (options: PkiOptions) => {
      const hosts = options.host ?? ["127.0.1.1", "127.0.1.2", "127.0.0.1", "localhost"];
      const files = await makePki(resolve(options.out), hosts, options.peer ?? []);
      for (const file of files) say(file);
    });
}

async function makePki(
  folder: string,
  hosts: readonly string[],
  peers: readonly PeerNode[],
): Promise<readonly string[]> {
  if (peers.length === 0) return Object.values(await ensurePki(folder, hosts));
  const server = await ensureServerPki(folder, hosts);
  const { ca, caKey, of } = await ensurePeerPki(folder, peers);
  const regions = [...new Set(peers.map(({ region }) => region))];
  const own = await Promise.all(regions.map((region) => ensureRegionFiles(join(folder, region))));
  const all = [...own, ...peers.map(({ node }) => of(node))];
  return [...Object.values(server), ca, caKey, ...all.flatMap((files) => Object.values(files))];
}

function addStart(dev: Command, say: (line: string) => void): void {
  dev
    .command("start")
    .description("start regions with a real Redis each, play vCenter's key sequence, and stay up")
    .option("--detach", "return when ready; `dev stop` ends it")
    .option("--dir <folder>", "where its data lies (default: .holdfast/dev in the checkout)")
    .option("--regions <count>", "regions, 1 or 2", countOf(1, 2), regionsUsual)
    .option("--nodes <count>", "KMIP nodes of each region", countOf(1, 8), 2)
    .option("--wan <ms>", "delay each way between the regions", countOf(0, 2000), 0)
    .option(
      "--port <number>",
      "KMIP port; with another one the next five are metrics, health, peers, the line to them and management",
      countOf(1, 65_531),
      kmipPort,
    )
    .option(
      "--addresses <list>",
      "loopback addresses of the nodes, separated by commas, the first region's first (default: 127.0.1.1,127.0.1.2 and so on)",
      loopbackList,
    )
    .addOption(dev.createOption("--report", "").hideHelp())
    .action(async (options: Start) => {
      process.exitCode = await run(options, say);
    });
}

async function run(options: Start, say: (line: string) => void): Promise<number> {
  const folder = folderOf(options);
  if (options.detach === true) {
    const complain = (line: string) => void process.stderr.write(`${line}\n`);
    return await startDetached(folder, argumentsOf(options), say, complain);
  }
  const ending = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => ending.abort());
  }
  return await start({
    folder,
    plan: planOf(options),
    commandOptions: options.dir === undefined ? "" : ` --dir ${folder.root}`,
    detached: options.report === true,
    say: (line) => {
      say(line);
      if (options.report === true) report({ line });
    },
    ready: () => {
      if (options.report === true) report({ ready: true });
    },
    ending,
  });
}

/** The options as they were written, for the process in the background. */
function argumentsOf({ dir, regions, nodes, wan, port, addresses }: Start): string[] {
  return [
    ...["--regions", String(regions), "--nodes", String(nodes)],
    ...["--wan", String(wan), "--port", String(port)],
    ...(dir === undefined ? [] : ["--dir", resolve(dir)]),
    ...(addresses === undefined ? [] : ["--addresses", addresses.join(",")]),
  ];
}

function folderOf({ dir }: Where): Folder {
  return folderAt(dir === undefined ? defaultFolder : resolve(dir));
}

function countOf(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

function again(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function peerList(text: string, before: readonly PeerNode[] = []): readonly PeerNode[] {
  const [, region, node] = /^([a-z0-9-]+)\/([a-z0-9-]+)$/.exec(text) ?? [];
  if (region !== undefined && node !== undefined) return [...before, { region, node }];
  throw new InvalidArgumentError("It must be REGION/NODE, such as a/a1.");
}

function commaList(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim());
}

function loopbackList(text: string): readonly string[] {
  const list = commaList(text);
  const wrong = list.find((address) => !isIPv4(address) || reachOf(address) !== "loopback");
  if (wrong === undefined) return list;
  throw new InvalidArgumentError(`${wrong} is not a loopback address, such as 127.0.1.1.`);
}
