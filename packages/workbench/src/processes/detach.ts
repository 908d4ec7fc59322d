import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Folder, makeFolder } from "../base/folder.ts";
import { entry } from "./server-command.ts";

/** A message from the background process to the process that started it. */
export type Report = { readonly line: string } | { readonly ready: true };

/** Starts the cluster in a separate process, shows its output until it is ready; returns the exit code. */
export async function startDetached(
  folder: Folder,
  args: readonly string[],
  say: (line: string) => void,
  complain: (line: string) => void,
): Promise<number> {
  makeFolder(folder);
  const log = join(folder.log, "supervisor.log");
  const output = openSync(log, "a", 0o600);
  const { size } = statSync(log);
  const child = spawn(process.execPath, [entry, "dev", "start", "--report", ...args], {
    detached: true,
    stdio: ["ignore", output, output, "ipc"],
  });
  closeSync(output);
  const end = () => child.kill("SIGTERM");
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, end);
  return await new Promise((resolve) => {
    child.on("message", (report: Report) => {
      if ("line" in report) say(report.line);
      else {
        child.disconnect();
        child.unref();
        resolve(0);
      }
    });
    child.once("exit", (code) => {
      const words = readFileSync(log).subarray(size).toString("utf8").trimEnd().split("\n").at(-1);
      complain(words || "holdfast: it ended and printed nothing");
      resolve(code ?? 1);
    });
  });
}

/** Sends a line, or the message that all is ready, to the waiting process, if it still waits. */
export function report(news: Report): void {
  if (process.connected) process.send?.(news, undefined, undefined, () => {});
}
