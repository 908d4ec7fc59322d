import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { checkout, OperatorError } from "@holdfast/server/base";

/** The entry of the command line, which runs the nodes and the commands for the store. */
export const entry = join(checkout, "packages", "cli", "src", "main.ts");

/** Runs a command to its end; if it fails, rejects with its output. */
export async function runServer(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [words, [code]] = await Promise.all([text(child.stderr), once(child, "exit")]);
  if (code !== 0) throw new OperatorError(words.trim() || `${args.join(" ")}: exit code ${code}`);
}

/** How a node is started: without core dumps, which would contain keys, and without the inspector signal. */
export function nodeCommand(
  script: string,
  args: readonly string[],
): { readonly command: string; readonly args: readonly string[] } {
  const run = 'ulimit -c 0; exec "$0" "$@"';
  return {
    command: "/bin/sh",
    args: ["-c", run, process.execPath, "--disable-sigusr1", script, ...args],
  };
}
