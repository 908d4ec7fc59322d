import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bringStryker, stryker } from "../../../scripts/setup/stryker.mjs";
import { WorkingCopy } from "../copy.ts";
import { runNode } from "../kill.ts";
import { ignorer } from "./ignore-texts.ts";
import type { MutatedModule } from "./modules.ts";
import { type ModuleResult, type Mutant, resultOfReport } from "./report.ts";

/** What a run needs. */
export interface MechanicalRun {
  /** The working tree that is copied. */
  readonly root: string;
  /** How many mutants are tested at the same time. */
  readonly jobs: number;
  readonly stopping?: AbortSignal | undefined;
}

/** No module needs as long. */
const limitMs = 7_200_000;
/** A mutant that runs for so much longer than the tests without it hangs, on a busy machine too. */
const hangsMs = 20_000;
const unitTestMs = 60_000;

/** Makes the mutants of modules and runs their tests with each; calls `judged` after each module. */
export async function runMechanical(
  modules: readonly MutatedModule[],
  run: MechanicalRun,
  judged: (result: ModuleResult) => void,
): Promise<void> {
  await bringStryker();
  await using copy = await WorkingCopy.of(run.root);
  for (const module of modules) {
    if (run.stopping?.aborted === true) return;
    judged(await mutate(module, copy.root, run));
  }
}

/** Mutates one module in a copy, with all mutants in the file at once: Stryker switches them on one by one. */
async function mutate(
  module: MutatedModule,
  root: string,
  { jobs, stopping }: MechanicalRun,
): Promise<ModuleResult> {
  const config = join(root, "stryker.config.json");
  const vitestConfig = join(root, "stryker.vitest.config.mjs");
  const report = join(root, ".holdfast", "stryker.json");
  const limits = { testTimeout: unitTestMs, hookTimeout: unitTestMs };
  const test = { include: module.tests, ...limits };
  await writeFile(vitestConfig, `export default ${JSON.stringify({ test })};\n`);
  await writeFile(config, JSON.stringify(settings(module, { vitestConfig, report, jobs })));
  const begunMs = performance.now();
  const { code, output, ended } = await runNode([stryker, "run", config], root, limitMs, stopping);
  if (ended !== undefined) throw new RangeError(`${module.name}: ended before it was done`);
  if (code !== 0) throw new RangeError(`${module.name}: Stryker failed: ${blamed(output)}`);
  const seconds = Math.round((performance.now() - begunMs) / 1_000);
  const { files } = JSON.parse(await readFile(report, "utf8")) as Report;
  const [file] = Object.values(files);
  if (file === undefined) throw new RangeError(`${module.name}: Stryker made no mutants`);
  return resultOfReport(module, file, seconds);
}

interface Report {
  readonly files: Readonly<
    Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>
  >;
}

function settings(
  { file }: MutatedModule,
  {
    vitestConfig,
    report,
    jobs,
  }: { readonly vitestConfig: string; readonly report: string; readonly jobs: number },
): object {
  return {
    mutate: [file],
    // The copy is thrown away, and its links between packages lead to the mutated file.
    inPlace: true,
    testRunner: "vitest",
    vitest: { configFile: vitestConfig, related: false },
    plugins: ["@stryker-mutator/vitest-runner", join(import.meta.dirname, "ignore-texts.ts")],
    ignorers: [ignorer],
    // Sources run without compiling. Stryker cannot read the settings of TypeScript 7.
    tsconfigFile: "none.json",
    disableTypeChecks: false,
    coverageAnalysis: "perTest",
    concurrency: jobs,
    timeoutMS: hangsMs,
    reporters: ["json"],
    jsonReporter: { fileName: report },
    allowConsoleColors: false,
    logLevel: "error",
  };
}

/** The line of the output that says what went wrong. */
function blamed(output: string): string {
  const lines = output.trim().split("\n");
  return lines.find((line) => line.includes("ERROR")) ?? lines.at(-1) ?? "";
}
