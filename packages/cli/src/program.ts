import { OperatorError } from "@holdfast/server/operator-error";
import { version } from "@holdfast/server/version";
import { Command, CommanderError } from "commander";
import { addBackup } from "./server/backup.ts";
import { addDev } from "./server/dev.ts";
import { addNodeCommands } from "./server/node.ts";
import { exitCodes, ownExitOf } from "./terminal/exits.ts";
import { reasonOf } from "./terminal/failure.ts";

/** Commands that connect to other regions: a connection to an isolated one never ends by itself. */
const connecting: readonly (string | undefined)[] = [
  "region",
  "backup",
  "approval",
  "root",
  "store",
];
/** How long connections may take to close when a command is done. */
const lingerMs = 500;

/** The command line as a whole. */
export async function createProgram(): Promise<Command> {
  const program = nodeProgram();
  await addServices(program, []);
  return program;
}

/** Adds the commands that ask a service; completion of `args` offers its instances. */
async function addServices(program: Command, args: readonly string[]): Promise<void> {
  const { addServiceCommands } = await import("./service-commands.ts");
  await addServiceCommands(program, args);
}

/** The commands of a node and of the development cluster; each loads its code only when it runs. */
function nodeProgram(): Command {
  const program = new Command("holdfast")
    .description("Holdfast: KMIP key management for VMware vSphere and vSAN encryption.")
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(complaint(text)) })
    .showSuggestionAfterError(true)
    .addHelpText("after", "\nholdfast --version prints the version of this build.");
  addNodeCommands(program);
  addBackup(program);
  addDev(program);
  summarise(program.commands);
  return program;
}

/** Gives each command a summary, for lists of commands: its description in lower case. */
function summarise(commands: readonly Command[]): void {
  for (const command of commands) {
    const text = command.description();
    command.summary(text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, ""));
    summarise(command.commands);
  }
}

function complaint(text: string): string {
  const what = reasonOf(text).replace(/^error: /, "");
  const mend = /^unknown (command|option) \S+$/.test(what) ? "; --help lists what there is" : "";
  return `holdfast: ${what}${mend}\n`;
}

/** One line for each failure: a configuration may have several. */
function complaints(error: unknown): string {
  const faults = error instanceof OperatorError ? error.message.split("\n") : [error];
  return faults.map((fault) => complaint(reasonOf(fault))).join("");
}

/** Runs one command; the exit code. Every failure is one line on standard error. */
export async function run(given: readonly string[]): Promise<number> {
  const [first = ""] = given;
  // Not an option of the program: `kmip` has an option of this name, for the KMIP version.
  if (given.length === 1 && (first === "--version" || first === "-V")) {
    process.stdout.write(`${version}\n`);
    return exitCodes.done.code;
  }
  // Without a command, the program runs `serve`.
  const args = /^(-c|--config)/.test(first) ? ["serve", ...given] : given;
  // Nobody reads what goes wrong: the exit code says it, and a node keeps running.
  process.stderr.on("error", () => undefined);
  const code = await codeOf(args);
  if (connecting.includes(args[0])) setTimeout(() => process.exit(), lingerMs).unref();
  return code;
}

async function codeOf(args: readonly string[]): Promise<number> {
  try {
    const program = nodeProgram();
    const isNode = program.commands.some((command) => command.name() === args[0]);
    const goesOn = isNode || finishing.has(args[0] ?? "");
    process.stdout.on("error", (error: NodeJS.ErrnoException) => failOutput(error, goesOn));
    if (!isNode) await addServices(program, args);
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? exitCodes.done.code);
  } catch (error) {
    return await failed(error);
  }
}

/** Commands of many steps: nobody may take the end of their output for the end of their work. */
const finishing: ReadonlySet<string> = new Set([
  ...["apply", "backup", "migrate", "region", "root-of-trust", "vcenter"],
]);

/** A node, a cluster or a work of many steps keeps running without its standard output; every other command ends. */
function failOutput({ code, message }: NodeJS.ErrnoException, goesOn: boolean): void {
  const isClosed = code === "EPIPE";
  if (!isClosed) process.stderr.write(complaint(`standard output: ${message}`));
  const exitCode = isClosed ? exitCodes.done.code : exitCodes.failed.code;
  if (!goesOn) process.exit(exitCode);
  if (!isClosed) process.exitCode = exitCode;
}

async function failed(error: unknown): Promise<number> {
  const own = ownExitOf(error);
  if (own !== undefined) {
    // Commander has already printed what is wrong with the command line.
    if (!(error instanceof CommanderError)) process.stderr.write(complaints(error));
    return exitCodes[own].code;
  }
  const { exitCodeOf, isExpected } = await import("./terminal/exit-codes.ts");
  const what = isExpected(error) ? reasonOf(error) : `stopped: ${reasonOf(error)}`;
  process.stderr.write(complaint(what));
  return exitCodeOf(error);
}
