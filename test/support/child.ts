import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { text } from "node:stream/consumers";

const setpriv = "/usr/bin/setpriv";

/** What a program printed, and its exit code. */
export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Waits for the end of a program, whose output goes into pipes. */
export async function ranOf(child: ChildProcess): Promise<Ran> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("no pipes");
  const [out, err] = await Promise.all([
    text(stdout),
    text(stderr),
    child.exitCode === null ? once(child, "exit") : undefined,
  ]);
  return { code: child.exitCode, out, err };
}

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
