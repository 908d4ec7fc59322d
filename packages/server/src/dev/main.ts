import { isIPv4 } from "node:net";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { reachOf } from "../address.ts";
import { report, startDetached } from "./detach.ts";
import { defaultFolder, type Folder, folderAt } from "./folder.ts";
import { devNodes } from "./node-config.ts";
import { ensurePki } from "./pki.ts";
import { reset } from "./reset.ts";
import { start } from "./start.ts";
import { status } from "./status.ts";
import { stop } from "./stop.ts";

const kmipPort = 5696;

interface Where {
  readonly dir?: string;
}

interface Start extends Where {
  readonly port: number;
  readonly addresses?: readonly string[];
  readonly nodes: number;
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
  dev
    .command("pki")
    .description(
      "make an authority, a server's and a client's certificate, a root key; keep what is there",
    )
    .requiredOption("--out <folder>", "where the files go")
    .option("--host <address>", "address or name of a server; may be given again", again)
    .action(async (options: { readonly out: string; readonly host?: readonly string[] }) => {
      const hosts = options.host ?? ["127.0.1.1", "127.0.1.2", "127.0.0.1", "localhost"];
      const files = await ensurePki(resolve(options.out), hosts);
      for (const file of Object.values(files)) say(file);
    });
}

function addStart(dev: Command, say: (line: string) => void): void {
  dev
    .command("start")
    .description("start one region with a real Redis, play vCenter's key sequence, and stay up")
    .option("--detach", "return when ready; `dev stop` ends it")
    .option("--dir <folder>", "where its data lies (default: .holdfast/dev in the checkout)")
    .option("--nodes <count>", "KMIP nodes", countOf(1, 8), 2)
    .option(
      "--port <number>",
      "KMIP port; with another one the next two are metrics and health",
      countOf(1, 65_533),
      kmipPort,
    )
    .option(
      "--addresses <list>",
      "loopback addresses of the nodes, separated by commas (default: 127.0.1.1,127.0.1.2)",
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
  const addresses =
    options.addresses ?? Array.from({ length: options.nodes }, (_, at) => `127.0.1.${at + 1}`);
  return await start({
    folder,
    nodes: devNodes(addresses, portsFrom(options.port)),
    commandOptions: options.dir === undefined ? "" : ` --dir ${folder.root}`,
    detached: options.report === true,
    say: (line) => {
      say(line);
      if (options.report === true) report({ line });
    },
    ready: () => {
      if (options.report === true) report({ ready: true });
    },
    signal: ending.signal,
  });
}

/** The options as they were written, for the process in the background. */
function argumentsOf({ dir, nodes, port, addresses }: Start): string[] {
  return [
    ...["--nodes", String(nodes), "--port", String(port)],
    ...(dir === undefined ? [] : ["--dir", resolve(dir)]),
    ...(addresses === undefined ? [] : ["--addresses", addresses.join(",")]),
  ];
}

function folderOf({ dir }: Where): Folder {
  return folderAt(dir === undefined ? defaultFolder : resolve(dir));
}

function portsFrom(port: number) {
  return port === kmipPort
    ? { kmip: port, http: 9464, health: 9465 }
    : { kmip: port, http: port + 1, health: port + 2 };
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

function commaList(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim());
}

function loopbackList(text: string): readonly string[] {
  const list = commaList(text);
  const wrong = list.find((address) => !isIPv4(address) || reachOf(address) !== "loopback");
  if (wrong === undefined) return list;
  throw new InvalidArgumentError(`${wrong} is no loopback address, such as 127.0.1.1.`);
}
