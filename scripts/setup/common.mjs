import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root, with symbolic links resolved by the module loader. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** The folder for files that are created on this machine and never committed. */
export const localDirectory = join(root, ".holdfast");

/** The environment of processes that start again and again: without the cache, half of a start is spent compiling the same code. */
export const compileCache = { NODE_COMPILE_CACHE: join(localDirectory, "compile-cache") };

/** Says in one line what is missing and how to fix it: the only kind of error that a user sees here. */
export class SetUpError extends Error {}

/** @param {string} text */
export function say(text) {
  process.stderr.write(`set-up: ${text}\n`);
}

/**
 * Runs a program with its output in a log file, since the output only matters if it fails.
 * @param {string} log name of the log in `.holdfast/log`
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ ok: boolean, log: string, error: string }>}
 */
export async function run(log, program, args, options = {}) {
  const file = join(localDirectory, "log", `${log}.log`);
  mkdirSync(dirname(file), { recursive: true });
  const output = openSync(file, "w");
  const child = spawn(program, args, {
    cwd: options.cwd ?? root,
    env: options.env ?? process.env,
    stdio: ["ignore", output, output],
  });
  const code = await new Promise((resolve) => {
    child.once("error", () => resolve(127));
    child.once("exit", (status) => resolve(status ?? 1));
  });
  closeSync(output);
  return { ok: code === 0, log: relative(root, file), error: errorIn(file) };
}

/**
 * The line of a log that most likely says what went wrong: the first that is marked as an error, or else the last.
 * @param {string} file
 */
function errorIn(file) {
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const blamed = lines.find((line) => /^(E: |npm (error|ERR!) |Error: )|ERR_PNPM/.test(line));
  return (blamed ?? lines.at(-1) ?? "no output").slice(0, 200);
}
