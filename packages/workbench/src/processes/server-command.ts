import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { checkout, StartError } from "@holdfast/server/base";

/** The server's own entry: nodes are processes of it, and so are the commands for the store. */
export const serverEntry = join(checkout, "packages", "server", "src", "main.ts");

/** Runs one of the server's commands to its end; rejects with what it said where it fails. */
export async function runServer(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [serverEntry, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [words, [code]] = await Promise.all([text(child.stderr), once(child, "exit")]);
  if (code !== 0) throw new StartError(words.trim() || `${args.join(" ")}: exit code ${code}`);
}
