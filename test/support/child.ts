import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";

const setpriv = "/usr/bin/setpriv";

/** Starts a program that ends with this process, however it ends; `rights`: `setpriv` options. */
export function spawnBound(
  command: string,
  args: readonly string[],
  options: SpawnOptions,
  rights: readonly string[] = [],
): ChildProcess {
  return existsSync(setpriv)
    ? spawn(setpriv, ["--pdeathsig", "SIGKILL", ...rights, command, ...args], options)
    : spawn(command, args, options);
}

export function isRunning(child: ChildProcess | undefined): boolean {
  return child?.exitCode === null && child.signalCode === null;
}

/** Kills a process with SIGKILL, frozen or not, and waits for its end. */
export async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || !isRunning(child)) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}
