import { isIPv4 } from "node:net";
import { machine } from "@holdfast/server/machine";
import type { FaultName, PeerNode, StartOptions } from "@holdfast/workbench";
import { type Command, InvalidArgumentError } from "commander";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";

interface Where {
  readonly dir?: string;
}

/** `holdfast dev …`: tries Holdfast on one machine. Each command loads the workbench when it runs. */
export function addDev(program: Command): void {
  const dev = program.command("dev").description("Try Holdfast on this machine.");
  addStart(dev);
  const withFolder = (name: string, description: string) =>
    dev.command(name).description(description).option("--dir <folder>", "the cluster's folder");
  withFolder("stop", "End the cluster; its keys stay.").action(async (options: Where) => {
    const { folderOf, stop } = await workbench();
    process.exitCode = await stop(folderOf(options.dir), say);
  });
  withFolder("status", "Show what runs.").action(async (options: Where) => {
    const { folderOf, status } = await workbench();
    process.exitCode = await status(folderOf(options.dir), say);
  });
  withFolder("console", "Print a link that signs in to the web console, once.").action(
    async (options: Where) => {
      const { folderOf, printLink } = await workbench();
      printLink(folderOf(options.dir), say);
    },
  );
  withFolder("reset", "Delete the cluster's keys, certificates and logs.")
    .option("--yes", "confirm that they are deleted")
    .action(async (options: Where & { readonly yes?: true }) => {
      const { folderOf, reset } = await workbench();
      process.exitCode = await reset(folderOf(options.dir), options.yes === true, say);
    });
  addFaults(dev);
  addPki(dev);
  addLoad(dev);
}

/** Breaks and repairs parts of the running cluster, so that a person can watch what happens. */
function addFaults(dev: Command): void {
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
      const { ask, folderOf } = await workbench();
      for (const line of await ask(folderOf(options.dir), request)) say(line);
    });
  };
  const names = "a1, redis-a, replica-a, lock-a, or region-a for all of it";
  add("kill", " <part...>", `End at once (SIGKILL): ${names}; back after 5 s.`);
  add("freeze", " <part...>", "Stop it (SIGSTOP) until it is thawed.");
  add("thaw", " <part...>", "Continue what is frozen (SIGCONT).");
  add("cut", "", "Cut the regions off from each other.");
  add(
    "heal",
    " [part...]",
    "Repair the line, thaw and start what was broken; all of it, or these parts.",
  );
}

function addLoad(dev: Command): void {
  interface Load {
    readonly config: string;
    readonly instance: string;
    readonly keys: number;
  }
  dev
    .command("load")
    .description("Make many Active keys in a store, to test how the store performs with them.")
    .requiredOption("-c, --config <file>", "the configuration of a node")
    .requiredOption("--instance <name>", "whose keys")
    .requiredOption("--keys <number>", "how many", countOf(1, 100_000_000))
    .action(async ({ config, ...wish }: Load) => {
      const { loadKeys } = await import("@holdfast/server/load-keys");
      say(await loadKeys(config, machine, wish));
    });
}

function addPki(dev: Command): void {
  interface PkiOptions {
    readonly out: string;
    readonly host?: readonly string[];
    readonly peer?: readonly PeerNode[];
  }
  dev
    .command("pki")
    .description(
      "Make an authority, a server's and a client's certificate, a root key; keep existing files.",
    )
    .requiredOption("--out <folder>", "where the files go")
    .option("--host <address>", "address or name of a server; may be given again", again)
    .option(
      "--peer <region/node>",
      "a node of one of two regions: each gets a certificate of its own, each region its own root key; may be given again",
      peerList,
    )
    .action(async (options: PkiOptions) => {
      const { makePki } = await workbench();
      const hosts = options.host ?? ["127.0.1.1", "127.0.1.2", "127.0.0.1", "localhost"];
      const files = await makePki(options.out, hosts, options.peer ?? []);
      for (const file of files) say(file);
    });
}

function addStart(dev: Command): void {
  dev
    .command("start")
    .description("Start regions with a real Redis each, play vCenter's key sequence, and stay up.")
    .option("--detach", "return when the cluster is ready; `dev stop` ends it")
    .option("--dir <folder>", "folder of its data (default: .holdfast/dev in the checkout)")
    .option("--regions <count>", "regions, 1 or 2", countOf(1, 2), 2)
    .option("--nodes <count>", "KMIP nodes of each region", countOf(1, 8), 2)
    .option("--wan <ms>", "delay each way between the regions", countOf(0, 2000), 0)
    .option(
      "--port <number>",
      "KMIP port; with another one the next five are metrics, health, peers, the line to them and management",
      countOf(1, 65_531),
      5696,
    )
    .option(
      "--addresses <list>",
      "loopback addresses of the nodes, separated by commas, the first region's first (default: 127.0.1.1,127.0.1.2 and so on)",
      loopbackList,
    )
    .option(
      "--dashboards [port]",
      "also start Prometheus, and serve the dashboards at this port of 127.0.0.1 (default: 9470; Prometheus has the next one)",
      countOf(1, 65_534),
    )
    .addOption(dev.createOption("--report", "").hideHelp())
    .action(async (options: StartOptions) => {
      const { startCluster } = await workbench();
      process.exitCode = await startCluster(options, say);
    });
}

/** The workbench exists only in a checkout, not in an image. */
async function workbench(): Promise<typeof import("@holdfast/workbench")> {
  try {
    return await import("@holdfast/workbench");
  } catch (error) {
    const absent = error instanceof Error && "code" in error && error.code === absentCode;
    if (!absent) throw error;
    throw new Failure("dev is not in this installation: run holdfast from a checkout");
  }
}

const absentCode = "ERR_MODULE_NOT_FOUND";

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
  const wrong = list.find((address) => !isIPv4(address) || !address.startsWith("127."));
  if (wrong === undefined) return list;
  throw new InvalidArgumentError(`${wrong} is not a loopback address, such as 127.0.1.1.`);
}
