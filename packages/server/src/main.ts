import { once } from "node:events";
import { text } from "node:stream/consumers";
import { forgetReplica, initialiseStore, listReplicas } from "@holdfast/redis";
import { Command, CommanderError } from "commander";
import { loadConfig } from "./config.ts";
import type { Config } from "./config-table.ts";
import { loadInstances } from "./instances.ts";
import { describeCause } from "./log.ts";
import { startNode } from "./node.ts";
import { hashPassword } from "./passwords.ts";
import { reasonOf, StartError } from "./start-error.ts";
import { storeConnection } from "./store-access.ts";
import { storeFault } from "./store-faults.ts";
import { systemIds } from "./system.ts";
import { readIdentity, readTicketSecret } from "./tls.ts";
import { version } from "./version.ts";

const configFaultCode = 2;

interface WithConfig {
  readonly config: string;
}

const program = new Command("holdfast-server").version(version).exitOverride();
const config = ["-c, --config <file>", "the node's configuration"] as const;

program
  .command("serve", { isDefault: true })
  .description("run a node")
  .requiredOption(...config)
  .action((options: WithConfig) => serve(options.config));
for (const [parent, name] of [
  [program.command("config").description("the configuration"), "check"],
  [program, "config-check"],
] as const) {
  parent
    .command(name, { hidden: parent === program })
    .description("validate a configuration and the files that it names")
    .requiredOption(...config)
    .action((options: WithConfig) => checkConfig(options.config));
}
const store = program.command("store").description("the region's Redis");
for (const [parent, prefix] of [
  [store, ""],
  [program, "store-"],
] as const) {
  const hidden = parent === program;
  parent
    .command(`${prefix}init`, { hidden })
    .description("mark an empty Redis as this region's store")
    .requiredOption(...config)
    .action((options: WithConfig) => initStore(options.config));
  parent
    .command(`${prefix}replicas`, { hidden })
    .description("list the replicas that every change waits for, or forget one that is gone")
    .requiredOption(...config)
    .option("--forget <address>", "host:port of a replica that will not come back")
    .action((options: WithConfig & { readonly forget?: string }) =>
      replicas(options.config, options.forget),
    );
}
program
  .command("hash-password")
  .description("read a password from standard input and print its hash for the configuration")
  .action(printHash);
const dev = program.command("dev").description("try Holdfast on this machine");

await run();

async function run(): Promise<void> {
  try {
    if (process.argv[2] === "dev") (await import("./dev/main.ts")).addDevCommands(dev);
    await program.parseAsync();
  } catch (error) {
    // Commander has said what is wrong with the command line.
    if (error instanceof CommanderError)
      process.exitCode = error.exitCode === 0 ? 0 : configFaultCode;
    else fail(error);
  }
}

function fail(error: unknown): void {
  const known = error instanceof StartError;
  const lines = known ? error.message : `unexpected: ${reasonOf(error)}`;
  process.stderr.write(`${lines}\n`);
  process.exitCode = known ? configFaultCode : 1;
}

async function serve(configFile: string): Promise<void> {
  const node = await startNode(configFile, process.env);
  const fault = (cause: unknown): void => {
    node.log.say("error", "a fault ends this process", { cause: describeCause(cause) });
    node.log.flush();
    process.exit(1);
  };
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
  process.on("SIGHUP", () => void node.reload());
  // A second signal finds no listener and ends the process at once.
  await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  await node.drain();
  node.log.flush();
  process.exit(0);
}

function checkConfig(file: string): void {
  const parsed = loadConfig(file);
  readIdentity(parsed.tls);
  readTicketSecret(parsed.tls.ticketKeysFile);
  storeConnection(parsed.store, process.env);
  const instances = loadInstances(parsed.instances);
  process.stdout.write(
    `${file}: good (region ${parsed.region}, node ${parsed.node}, ${instances.length} instances)\n`,
  );
}

async function initStore(file: string): Promise<void> {
  const parsed = loadConfig(file);
  const connection = storeConnection(parsed.store, process.env);
  const made = await atStore(parsed, file, () =>
    initialiseStore({ ...connection, ids: systemIds }),
  );
  process.stdout.write(
    `store ${made.storeId} made at ${made.address}, held by ${made.replicas} replicas\n`,
  );
}

async function replicas(file: string, forget: string | undefined): Promise<void> {
  const parsed = loadConfig(file);
  const connection = storeConnection(parsed.store, process.env);
  if (forget !== undefined) {
    const known = await atStore(parsed, file, () => forgetReplica(connection, forget));
    if (!known) throw new StartError(`--forget ${forget}: no such replica is known`);
    process.stdout.write(`${forget} is forgotten\n`);
    return;
  }
  for (const replica of await atStore(parsed, file, () => listReplicas(connection))) {
    const since = new Date(replica.firstSeenMs).toISOString();
    const state = replica.connected ? "connected" : "not connected";
    process.stdout.write(`${replica.address} ${state}, known since ${since}\n`);
  }
}

function atStore<Result>(parsed: Config, file: string, work: () => Promise<Result>) {
  return work().catch((error: unknown) => {
    throw storeFault(error, parsed, file);
  });
}

async function printHash(): Promise<void> {
  const password = (await text(process.stdin)).replace(/\r?\n$/, "");
  if (password === "") throw new StartError("hash-password: give the password on standard input");
  process.stdout.write(`${await hashPassword(password)}\n`);
}
