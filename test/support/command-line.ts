import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { until } from "@holdfast/testing";
import { exitCodes } from "../../packages/cli/src/terminal/exits.ts";
import { compileCache } from "../../scripts/setup/common.mjs";
import { program, sources } from "./program.ts";

/** What ends a command that hangs. */
const boundMs = 300_000;

/** What a command printed, and its exit code. */
export interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The input of a command apart from its arguments. */
export interface Surroundings {
  readonly env?: NodeJS.ProcessEnv;
  /** The folder in which it runs. */
  readonly cwd?: string;
  /** The text on standard input; empty unless given. */
  readonly input?: string;
  /** Ends the command like Ctrl-C. */
  readonly signal?: AbortSignal;
  /** How long it may run; 300 s unless given. */
  readonly withinMs?: number;
  /** Called with each piece of standard output. */
  readonly heard?: (text: string) => void;
}

/** Runs the command line as a user does, in its own process. Only a checkout has the development cluster. */
export async function commandLine(
  args: readonly string[],
  { env = {}, cwd, input = "", signal, heard, withinMs = boundMs }: Surroundings = {},
): Promise<Said> {
  const { PATH = "", HOME = "" } = process.env;
  const entry = args[0] === "dev" ? sources : program();
  const child = spawn(process.execPath, [entry, ...args], {
    env: { PATH, HOME, ...compileCache, ...env },
    timeout: withinMs,
    ...(cwd === undefined ? {} : { cwd }),
  });
  signal?.addEventListener("abort", () => child.kill("SIGINT"));
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  if (heard !== undefined) child.stdout.on("data", (chunk: Buffer) => heard(chunk.toString()));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}

/**
 * Runs a command again while it asks for that: a busy machine may keep a node from its store or the other region. It also
 * runs again while it warns of `lack`.
 */
export async function settled(run: () => Promise<Said>, lack?: string): Promise<Said> {
  const all: Said[] = [];
  await until("a command does not ask to be tried again", async () => {
    const said = await run();
    all.push(said);
    const lacks = lack !== undefined && said.err.includes(lack);
    return (said.code !== exitCodes.again.code && !lacks) || said.err;
  });
  return all.at(-1) as Said;
}

/** The same with this process's environment, for commands such as `store init --config FILE`. */
export function holdfast(...args: readonly string[]): Promise<Said> {
  return commandLine(args, { env: process.env });
}
