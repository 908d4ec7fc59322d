import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { strykerPlugins } from "./ignore-texts.ts";
import { type MutatedModule, mutatedModules } from "./modules.ts";
import { complaints, type ModuleResult, type Mutant, resultOfReport, scoreOf } from "./report.ts";
import { survivors } from "./survivors.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const source = "function f(a: number) {\n  if (a > 1) {\n    return a;\n  }\n}\n";
const module: MutatedModule = { name: "f", file: "f.ts", tests: [] };

function mutant(status: string, more: Partial<Mutant> = {}): Mutant {
  const location = { start: { line: 2, column: 7 }, end: { line: 2, column: 12 } };
  return { mutatorName: "EqualityOperator", replacement: "a >= 1", location, status, ...more };
}

test("each module and its tests exist, and each explanation names a line of its module", () => {
  const files = mutatedModules.flatMap(({ file, tests }) => [file, ...tests]);
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  const lines = new Map(
    mutatedModules.map(({ name, file }) => {
      const text = readFileSync(join(root, file), "utf8");
      return [name, text.split("\n").map((line) => line.trim())];
    }),
  );
  const wrong = survivors.filter(({ module: name, line }) => !lines.get(name)?.includes(line));
  expect(wrong).toEqual([]);
});

test("a mutant without a test survives too, one that never ends is found, and texts do not count", () => {
  const block = { start: { line: 2, column: 14 }, end: { line: 4, column: 4 } };
  const mutants = [
    ...["Killed", "Killed", "Timeout", "Ignored", "Survived"].map((status) => mutant(status)),
    mutant("NoCoverage", { location: block, replacement: "{}" }),
  ];
  const result = resultOfReport(module, { source, mutants }, 3);
  expect(result).toMatchObject({ mutants: 5, killed: 3, late: 1, ignored: 1, seconds: 3 });
  expect(scoreOf(result)).toBe(60);
  const line = "if (a > 1) {";
  expect(result.left).toEqual([
    { line, edit: "a > 1 → a >= 1" },
    { line, edit: "{ return a; } → {}" },
  ]);
});

test("a mutant that could not be run is no result", () => {
  const failed = mutant("RuntimeError", { statusReason: "no test ran" });
  const run = () => resultOfReport(module, { source, mutants: [failed] }, 1);
  expect(run).toThrow("f: a > 1 → a >= 1 could not be run: no test ran");
});

test("a low score, a survivor without an explanation and an explanation without a survivor are reported", () => {
  const result: ModuleResult = {
    ...{ module: "f", source: "", mutants: 10, killed: 9, late: 0, ignored: 0, seconds: 1 },
    left: [{ line: "a", edit: "a → b" }],
  };
  expect(complaints(result, [])).toEqual(["f: 90 % is below 95 %", "SURVIVED: f: a → b in: a"]);
  const why = "it is the same";
  const known = { module: "f", line: "a", edits: ["a → b"], why };
  const idle = { ...known, edits: ["a → c"] };
  expect(complaints({ ...result, killed: 96, mutants: 100 }, [known, idle])).toEqual([
    "is found, or gone: f: a → c in: a",
  ]);
});

test("texts for people are left out, names and separators of the code are not", () => {
  const [plugin] = strykerPlugins;
  const texts = new (plugin as (typeof strykerPlugins)[0]).injectableClass();
  const template = (...parts: readonly string[]) => ({
    type: "TemplateLiteral",
    quasis: parts.map((raw) => ({ value: { raw } })),
  });
  const left = [
    { type: "StringLiteral", value: "no lease" },
    { type: "StringLiteral", value: "local" },
    { type: "NumericLiteral", value: 7 },
    template("region ", ""),
    template("", ":", ""),
  ].map((node) => texts.shouldIgnore({ node }) !== undefined);
  expect(left).toEqual([true, false, false, true, false]);
});
