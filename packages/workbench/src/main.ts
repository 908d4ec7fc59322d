import { reasonOf, StartError } from "@holdfast/server/base";
import { Command, CommanderError } from "commander";
import { addDevCommands } from "./commands/dev-commands.ts";

/** Exit code where the command line is at fault. */
const faultCode = 2;

const program = new Command("holdfast").exitOverride().configureOutput({
  outputError: (text, write) => write(`holdfast: ${text.replace(/^error: /, "")}`),
});
addDevCommands(program.command("dev").description("try Holdfast on this machine"));

// A closed pipe (`| head`) or a full disk does not end a cluster that runs.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`holdfast: standard output: ${reasonOf(error)}\n`);
  process.exitCode = 1;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : faultCode;
  else {
    const known = error instanceof StartError;
    const what = known ? error.message : `unexpected: ${reasonOf(error)}`;
    process.stderr.write(`holdfast: ${what}\n`);
    process.exitCode = known ? error.exitCode : 1;
  }
}
