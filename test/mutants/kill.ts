import { spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { endLeftovers, newMark } from "../../scripts/leftovers.mjs";
import { pathWithTools } from "../../scripts/redis-path.mjs";
import { node24 } from "../../scripts/setup/packages.mjs";
import type { Killer } from "./killers.ts";

/**
 * How a command ended: it passed, it failed and so found the fault, it ended without a verdict, or it did not end in
 * time.
 */
export interface KillerOutcome {
  readonly ended: "passed" | "failed" | "crashed" | "late" | "stopped";
  /** What failed: a test's title, or a seed and the broken promise. Where it crashed: what it said last. */
  readonly what: string;
  readonly seconds: number;
}

/** Runs a command in a copy. It and all that it started have ended when this resolves. */
export async function runKiller(
  killer: Killer,
  root: string,
  limitMs: number,
  stopping?: AbortSignal,
): Promise<KillerOutcome> {
  const report = join(root, ".holdfast", "mutants-report.json");
  await rm(report, { force: true });
  const reporting = killer.file === undefined ? [] : ["--reporter=json", `--outputFile=${report}`];
  const begunMs = performance.now();
  const { code, output, ended } = await runNode(
    [...killer.args, ...reporting],
    root,
    limitMs,
    stopping,
    killer.place === "simulator" ? simulatorFound : undefined,
  );
  const seconds = Math.round((performance.now() - begunMs) / 100) / 10;
  if (ended !== undefined) return { ended, what: "", seconds };
  if (code === 0 || onlyGaps.test(output)) return { ended: "passed", what: "", seconds };
  const results = await resultsIn(report);
  const failed = killer.file === undefined ? brokenPromise(output) : failedTest(results);
  if (failed !== undefined) return { ended: "failed", what: failed.slice(0, 240), seconds };
  const what = notLoaded(results) ?? blamed(output);
  return { ended: "crashed", what: what.slice(0, 240), seconds };
}

interface Ran {
  /** Null where it was ended, also once enough was known. */
  readonly code: number | null;
  readonly output: string;
  /** Why it was ended; undefined if it ended by itself, or was found to have failed. */
  readonly ended: "late" | "stopped" | undefined;
}

/** The line that tells of a broken promise: then the simulator looks for a shorter history, which takes minutes. */
const simulatorFound = /^seed \d+: .*\n/m;

const outputMax = 1 << 20;

/**
 * Runs Node 24 in a copy. The process and all that it started have ended when this resolves; it is ended as soon as its
 * output matches `enough`.
 */
export function runNode(
  args: readonly string[],
  root: string,
  limitMs: number,
  stopping?: AbortSignal,
  enough?: RegExp,
): Promise<Ran> {
  const run = newMark();
  const child = spawn(node24, ["--disable-warning=ExperimentalWarning", ...args], {
    cwd: root,
    env: { ...plainEnvironment(), PATH: pathWithTools(), ...run.mark },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-outputMax);
      if (enough?.test(output) === true) child.kill("SIGKILL");
    });
  }
  return new Promise((resolve, reject) => {
    let ended: Ran["ended"];
    const end = (why: "late" | "stopped"): void => {
      ended ??= why;
      child.kill("SIGKILL");
      endLeftovers(run.value);
    };
    const timer = setTimeout(() => end("late"), limitMs);
    const stop = () => end("stopped");
    stopping?.addEventListener("abort", stop);
    child.once("error", reject);
    child.once("exit", (code) => {
      clearTimeout(timer);
      stopping?.removeEventListener("abort", stop);
      endLeftovers(run.value);
      // Output that is still on its way arrives in this time.
      setTimeout(() => resolve({ code, output, ended }), 50);
    });
    if (stopping?.aborted === true) stop();
  });
}

/** The environment without what a vitest that runs this one has set. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const names = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|VITE_|NODE_OPTIONS$|NODE_V8_COVERAGE$|NODE_ENV$|TEST$)/.test(name),
  );
  return { ...Object.fromEntries(names), CI: "true", NO_COLOR: "1" };
}

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** The title of the first test that failed; undefined if none did, or none ran. */
function failedTest(results: Report["testResults"]): string | undefined {
  return results
    .flatMap(({ assertionResults }) => assertionResults)
    .find(({ status }) => status === "failed")?.fullName;
}

/** What vitest said where a file did not load, or its set-up failed. */
function notLoaded(results: Report["testResults"]): string | undefined {
  const message = results.map((each) => each.message).find((each) => each !== "");
  return message === undefined
    ? undefined
    : `no test ran: ${message.trim().replaceAll(/\s+/g, " ")}`;
}

/** What vitest reported of its files; nothing where it wrote no report, as the simulator and chaos do not. */
async function resultsIn(report: string): Promise<Report["testResults"]> {
  const text = await readFile(report, "utf8").catch(() => undefined);
  return text === undefined ? [] : (JSON.parse(text) as Report).testResults;
}

/** Chaos found nothing but gaps that were too long: the machine may have been busy. */
const onlyGaps = /^FAILED: (?:gap of [^;\n]*(?:; |$))+$/m;

/** The line with which the simulator or chaos tells of a broken promise. Any other failure of theirs shows none. */
function brokenPromise(output: string): string | undefined {
  const broken = /^seed \d+: VIOLATION: |^FAILED: /;
  return output.split("\n").find((each) => broken.test(each));
}

/** The line of an output that says why the program ended, or else its last line. */
function blamed(output: string): string {
  const lines = output.trim().split("\n");
  return (lines.find((line) => /\b\w*Error\b|\bheap\b/.test(line)) ?? lines.at(-1) ?? "").trim();
}
