import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureLinesMax, shortFailures } from "../../scripts/short-failures.mjs";
import { tally } from "../../scripts/tally.mjs";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "holdfast-tally-"));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const file = (status: string, ...statuses: string[]) => ({
  name: "a.test.ts",
  status,
  assertionResults: statuses.map((each, at) => ({ status: each, fullName: `test ${at}` })),
});
const green = file("passed", "passed", "passed", "pending", "todo");
const two: ReturnType<typeof tally>["skipped"] = [["a.test.ts", ["test 2", "test 3"]]];

test.each<[string, unknown[], number, number, ReturnType<typeof tally>]>([
  ["passed tests", [green], 0, 0, { passed: 2, failed: 0, skipped: two }],
  ["a failure", [green, file("failed", "failed")], 1, 0, { passed: 2, failed: 1, skipped: two }],
  [
    "a file that does not load",
    [green, file("failed")],
    1,
    0,
    { passed: 2, failed: 1, skipped: two },
  ],
  [
    "a failed hook after passed tests",
    [file("failed", "passed")],
    1,
    0,
    { passed: 1, failed: 1, skipped: [] },
  ],
  ["an unhandled error", [green], 1, 0, { passed: 2, failed: 1, skipped: two }],
  ["two failed checks", [green], 0, 2, { passed: 2, failed: 2, skipped: two }],
  ["no test at all", [], 1, 0, { passed: 0, failed: 1, skipped: [] }],
])("counts %s", (_name, testResults, exitCode, failedChecks, expected) => {
  const report = join(directory, "report.json");
  writeFileSync(report, JSON.stringify({ testResults }));
  expect(tally(report, exitCode, failedChecks)).toEqual(expected);
});

test("counts a report that was never written as a failure", () => {
  expect(tally(join(directory, "none.json"), 137, 0)).toEqual({
    passed: 0,
    failed: 1,
    skipped: [],
  });
});

test("cuts a long failure, and passes on everything else", () => {
  const long = Array.from({ length: 200 }, (_, at) => `property ${at}`);
  const lines = [
    " FAIL  unit  a.test.ts > one",
    ...long,
    "⎯⎯⎯⎯[1/2]⎯",
    " FAIL  unit  b.test.ts",
    "short",
  ];
  const cut = shortFailures();
  const shown = [...lines, "", "done"].flatMap((line) => cut(line));
  expect(shown.slice(0, 3)).toEqual([lines[0], "property 0", "property 1"]);
  expect(shown.indexOf("⎯⎯⎯⎯[1/2]⎯")).toBe(failureLinesMax - 1);
  expect(shown).toContain("  … 173 more lines");
  expect(shown.slice(failureLinesMax)).toEqual([" FAIL  unit  b.test.ts", "short", "", "done"]);
});
