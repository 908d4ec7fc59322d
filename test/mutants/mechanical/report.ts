import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type MutatedModule, mutatedModules } from "./modules.ts";
import { type Survivor, survivors } from "./survivors.ts";

const root = join(import.meta.dirname, "..", "..", "..");
/** The output file of `npm run mutants -- --mechanical --report`; docs/mutants.md is made from it. */
const file = join(import.meta.dirname, "results.json");

interface Place {
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** A mutant in Stryker's report. */
export interface Mutant {
  readonly mutatorName: string;
  readonly replacement: string;
  readonly location: { readonly start: Place; readonly end: Place };
  readonly status: string;
  readonly statusReason?: string;
}

/** A mutant that no test found, so that a reader finds its place. */
export interface Left {
  /** The line that it begins in, without indentation. */
  readonly line: string;
  /** The code before and after. */
  readonly edit: string;
}

/** What became of a module's mutants. */
export interface ModuleResult {
  readonly module: string;
  /** Of the source that was mutated; results of another source are not shown. */
  readonly source: string;
  /** Mutants that were run. */
  readonly mutants: number;
  readonly killed: number;
  /** Among the killed: those with which the tests did not end. */
  readonly late: number;
  /** Mutants of texts for people, which were not run. */
  readonly ignored: number;
  readonly left: readonly Left[];
  readonly seconds: number;
}

/** The lowest share of mutants that tests must find, in percent. */
export const scoreMin = 95;

/** Percent of the mutants that tests found, with one decimal. */
export function scoreOf({ killed, mutants }: ModuleResult): number {
  return Math.floor((1_000 * killed) / mutants) / 10;
}

/** A module's result from Stryker's report; throws a `RangeError` if a mutant did not run. */
export function resultOfReport(
  { name }: MutatedModule,
  { source, mutants }: { readonly source: string; readonly mutants: readonly Mutant[] },
  seconds: number,
): ModuleResult {
  const having = (...states: readonly string[]) =>
    mutants.filter(({ status }) => states.includes(status));
  const ignored = having("Ignored").length;
  const left = having("Survived", "NoCoverage");
  const late = having("Timeout").length;
  const killed = having("Killed").length + late;
  const known = ["Ignored", "Survived", "NoCoverage", "Timeout", "Killed"];
  const failed = mutants.find(({ status }) => !known.includes(status));
  if (failed !== undefined) {
    const { edit } = leftOf(source, failed);
    throw new RangeError(`${name}: ${edit} could not be run: ${failed.statusReason}`);
  }
  return {
    module: name,
    source: fingerprint(source),
    mutants: killed + left.length,
    killed,
    late,
    ignored,
    left: left.map((mutant) => leftOf(source, mutant)),
    seconds,
  };
}

/** Longer code is shortened in the middle. */
const codeMax = 80;

function leftOf(source: string, { location, replacement }: Mutant): Left {
  const lines = source.split("\n");
  const { start, end } = location;
  const place = lines.slice(start.line - 1, end.line);
  const last = place.length - 1;
  const before = place
    .map((line, at) =>
      line.slice(at === 0 ? start.column - 1 : 0, at === last ? end.column - 1 : undefined),
    )
    .join(" ");
  return {
    line: (place[0] ?? "").trim(),
    edit: `${shortened(before)} → ${shortened(replacement)}`,
  };
}

function shortened(code: string): string {
  const text = code.replaceAll(/\s+/g, " ").trim();
  if (text.length <= codeMax) return text;
  return `${text.slice(0, codeMax / 2)} … ${text.slice(-codeMax / 2)}`;
}

/** Why a mutant cannot be found; undefined if nobody has said so. */
export function explanationOf(
  module: string,
  { line, edit }: Left,
  known = survivors,
): Survivor | undefined {
  return known.find(
    (each) => each.module === module && each.line === line && each.edits.includes(edit),
  );
}

/** What is wrong with a result, one line each: a low score, mutants without an explanation, and idle explanations. */
export function complaints(result: ModuleResult, known = survivors): readonly string[] {
  const { module, left } = result;
  const score = scoreOf(result);
  const low = score < scoreMin ? [`${module}: ${score} % is below ${scoreMin} %`] : [];
  const open = left
    .filter((each) => explanationOf(module, each, known) === undefined)
    .map(({ line, edit }) => `SURVIVED: ${module}: ${edit} in: ${line}`);
  const idle = known
    .filter((each) => each.module === module)
    .flatMap(({ line, edits }) =>
      edits
        .filter((edit) => !left.some((each) => each.line === line && each.edit === edit))
        .map((edit) => `is found, or gone: ${module}: ${edit} in: ${line}`),
    );
  return [...low, ...open, ...idle];
}

/** The results that are committed, of modules as they are now. */
export function readMechanical(): readonly ModuleResult[] {
  const known = JSON.parse(readFileSync(file, "utf8")) as readonly ModuleResult[];
  return mutatedModules.flatMap((module) => {
    const source = fingerprint(readFileSync(join(root, module.file), "utf8"));
    return known.filter((each) => each.module === module.name && each.source === source);
  });
}

/** Adds a result to the committed ones. */
export function saveMechanical(result: ModuleResult): void {
  const known = [...readMechanical().filter(({ module }) => module !== result.module), result];
  const ordered = mutatedModules.flatMap(({ name }) =>
    known.filter(({ module }) => module === name),
  );
  writeFileSync(file, `${JSON.stringify(ordered, undefined, 2)}\n`);
}

function fingerprint(source: string): string {
  return createHash("sha256").update(source).digest("hex").slice(0, 12);
}
