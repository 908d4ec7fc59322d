import { readFileSync } from "node:fs";
import { readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WorkingCopy } from "./copy.ts";
import type { PlantedFault } from "./fault.ts";
import { faults } from "./faults.ts";
import { runKiller } from "./kill.ts";
import { runFaults } from "./run.ts";

const root = join(import.meta.dirname, "..", "..");
const agreeFormat = "packages/regions/src/leader/agree-format.ts";

/** Three of the table, of three packages, whose tests are quick. */
const sample = ["lease-by-one-clock", "format-of-one-region", "old-list-is-used"];

const harmless: PlantedFault = {
  name: "harmless",
  kind: "duty",
  file: agreeFormat,
  find: "const everyMs = 5_000;",
  replace: "const everyMs = 5_000 + 0;",
  rule: "nothing is broken",
  tests: ["packages/regions/src/leader/agree-format.test.ts"],
};
const unreadable: PlantedFault = {
  ...harmless,
  name: "unreadable",
  replace: "const everyMs = ;",
};
const withoutTest: PlantedFault = {
  ...harmless,
  name: "without a test",
  tests: ["packages/regions/src/leader/none.test.ts"],
};

test("packages of this repository lead to the copy, all others to those that are installed", async () => {
  await using copy = await WorkingCopy.of(root);
  const inCopy = async (path: string) => await realpath(join(copy.root, path));
  expect(await inCopy("test/node_modules/@holdfast/regions")).toBe(
    join(copy.root, "packages/regions"),
  );
  expect(await inCopy("packages/regions/node_modules/@holdfast/engine")).toBe(
    join(copy.root, "packages/engine"),
  );
  expect(await inCopy("node_modules/vitest")).toBe(
    await realpath(join(root, "node_modules/vitest")),
  );
  expect(await readlink(join(copy.root, "node_modules/.pnpm"))).toBe(
    join(await realpath(root), "node_modules/.pnpm"),
  );
});

test("each fault is found by a test of the copy, and a harmless edit, one that does not load and a failing command are reported", async () => {
  const chosen = faults.filter(({ name }) => sample.includes(name));
  const lines: string[] = [];
  const before = readFileSync(join(root, agreeFormat), "utf8");
  const report = await runFaults([...chosen, harmless, unreadable, withoutTest], {
    root,
    upTo: "unit",
    seed: 1,
    jobs: 1,
    say: (line) => lines.push(line),
  });
  const results = chosen.map(({ name }) => {
    const verdict = report.verdicts.get(name);
    return [name, verdict?.result, verdict?.result === "killed" ? verdict.place : ""];
  });
  expect(results.toSorted()).toEqual(sample.map((name) => [name, "killed", "unit"]).toSorted());
  expect(report.verdicts.get("lease-by-one-clock")).toMatchObject({
    command: "packages/redis/src/session/lease.test.ts",
    what: expect.stringContaining("lease"),
  });
  expect(report.verdicts.get("harmless")).toMatchObject({
    result: "survived",
    passed: harmless.tests,
  });
  expect(report.verdicts.get("unreadable")).toMatchObject({
    result: "crashed",
    command: unreadable.tests[0],
    what: expect.stringMatching(/^no test ran: Transform failed with 1 error: ./),
  });
  expect(report.unjudged).toEqual([
    expect.stringMatching(/^without a test: packages\/regions.* fails without a fault: /),
  ]);
  expect(lines).toHaveLength(6);
  expect(readFileSync(join(root, agreeFormat), "utf8")).toBe(before);
});

test.each([
  ["a broken promise", "seed 7: VIOLATION: it is gone", "failed", "seed 7: VIOLATION: it is gone"],
  ["chaos that found something", "FAILED: missing: 1", "failed", "FAILED: missing: 1"],
  ["gaps that were too long", "FAILED: gap of 9 ms; gap of 8 ms", "passed", ""],
  [
    "a gap and more",
    "FAILED: gap of 9 ms; missing: 1",
    "failed",
    "FAILED: gap of 9 ms; missing: 1",
  ],
  ["an error of the simulator", "seed 7: TypeError: no", "crashed", "seed 7: TypeError: no"],
  ["an error at its start", "x.ts:1\nSyntaxError: no\n\nNode.js", "crashed", "SyntaxError: no"],
  ["chaos that could not begin", "chaos: no port", "crashed", "chaos: no port"],
])("only a broken promise finds a fault: %s", async (_what, output, ended, what) => {
  const script = `process.stdout.write(${JSON.stringify(output)} + "\\n"); process.exitCode = 1`;
  const killer = { place: "simulator", text: "", args: ["-e", script] } as const;
  expect(await runKiller(killer, root, 60_000)).toMatchObject({ ended, what });
});
