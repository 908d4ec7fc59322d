import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const entry = join(import.meta.dirname, "../../packages/cli/src/main.ts");
const boundMs = 60_000;

/** What a command printed, and its exit code. */
export interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command as an operator does, such as `store init --config FILE`. */
export async function holdfast(...args: readonly string[]): Promise<Said> {
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: boundMs,
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}
