import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fingerprintOf, type PlantedFault } from "./fault.ts";
import type { Place } from "./killers.ts";

/** The output file of `npm run mutants -- --report`; docs/mutants.md is made from it. */
const file = join(import.meta.dirname, "results.json");

/** What became of a fault. */
export type Verdict =
  | {
      readonly result: "killed";
      readonly place: Place;
      /** What failed: a test's title, or a seed and the broken promise. */
      readonly what: string;
      readonly command: string;
      readonly seconds: number;
    }
  | {
      /** A command ended without a verdict, or did not end, and no other one found the fault. */
      readonly result: "crashed";
      readonly what: string;
      readonly command: string;
      readonly seconds: number;
    }
  | {
      readonly result: "survived";
      /** The commands that passed although the fault was there. */
      readonly passed: readonly string[];
      readonly seconds: number;
    };

/** The results of one fault; `simulator` is that of a run with `--simulator`, `chaos` that of one with `--chaos`. */
export interface FaultResult {
  readonly name: string;
  /** Of the edit that was planted; results of another edit are not shown. */
  readonly edit: string;
  readonly usual?: Verdict;
  readonly simulator?: Verdict;
  readonly chaos?: Verdict;
}

/** The results that are committed. */
export function readResults(): readonly FaultResult[] {
  return JSON.parse(readFileSync(file, "utf8")) as readonly FaultResult[];
}

/** The result of a fault as it is now; undefined if it was not run, or was changed since. */
export function resultOf(
  fault: PlantedFault,
  results: readonly FaultResult[],
): FaultResult | undefined {
  const result = results.find(({ name }) => name === fault.name);
  return result?.edit === fingerprintOf(fault) ? result : undefined;
}

/** Adds verdicts to the committed results, and drops those of faults that are gone or changed. */
export function saveResults(
  faults: readonly PlantedFault[],
  verdicts: ReadonlyMap<string, Verdict>,
  way: "usual" | "simulator" | "chaos",
): void {
  const known = readResults();
  const results = faults.flatMap((fault): readonly FaultResult[] => {
    const before = resultOf(fault, known);
    const verdict = verdicts.get(fault.name);
    if (verdict === undefined) return before === undefined ? [] : [before];
    const { name } = fault;
    return [{ name, edit: fingerprintOf(fault), ...before, [way]: verdict }];
  });
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
}
