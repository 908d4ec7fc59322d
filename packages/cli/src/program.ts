import { AdminProblem, AdminUnreachable } from "@holdfast/admin";
import { ConnectionError, KmipClientError, MalformedResponseError } from "@holdfast/client";
import { KmipError } from "@holdfast/kmip";
import { Command, CommanderError } from "commander";
import { addAdminCommands } from "./admin/build.ts";
import { addApply } from "./apply/apply.ts";
import { addCompletion, instancesFor } from "./complete.ts";
import { addDecode } from "./kmip/decode.ts";
import { addKmip } from "./kmip/kmip.ts";
import { serverCommands } from "./server-entry.ts";
import { addProfileCommands } from "./sites/profile-commands.ts";
import { exitCodeOf } from "./terminal/exit-codes.ts";
import { Failure, reasonOf } from "./terminal/failure.ts";

/** The version of this build; the package's own, held by a test. */
export const version = "0.1.0";

/** The command line as a whole; completion knows these instances. */
export function createProgram(instances: readonly string[] = []): Command {
  const program = new Command("holdfast")
    .description("Holdfast: KMIP key management for VMware vSphere and vSAN encryption.")
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(complaint(text)) })
    .showSuggestionAfterError(true)
    .addHelpText("after", "\nholdfast --version prints the version of this build.");
  // For the list of commands only: they never come here.
  for (const [name, what] of serverCommands) {
    program.command(name).description(what).argument("[arguments...]").allowUnknownOption();
  }
  addDecode(program);
  addKmip(program);
  addAdminCommands(program);
  addApply(program);
  addProfileCommands(program);
  addCompletion(program, instances);
  return program;
}

function complaint(text: string): string {
  const what = reasonOf(text).replace(/^error: /, "");
  const mend = /^unknown (command|option) \S+$/.test(what) ? "; --help lists what there is" : "";
  return `holdfast: ${what}${mend}\n`;
}

/** Runs one command; the exit code. Whatever goes wrong is one line on standard error. */
export async function run(args: readonly string[]): Promise<number> {
  // No option of the program: `kmip` has one of that name, for KMIP's versions.
  if (args.length === 1 && (args[0] === "--version" || args[0] === "-V")) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  try {
    const program = createProgram(await instancesFor(args));
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return exitCodeOf(error);
    process.stderr.write(
      complaint(expected(error) ? reasonOf(error) : `stopped: ${reasonOf(error)}`),
    );
    return exitCodeOf(error);
  }
}

/** Failures that are not the fault of this program. */
function expected(error: unknown): boolean {
  return [
    Failure,
    AdminProblem,
    AdminUnreachable,
    ConnectionError,
    KmipClientError,
    MalformedResponseError,
    KmipError,
  ].some((kind) => error instanceof kind);
}
