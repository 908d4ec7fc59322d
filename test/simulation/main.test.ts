import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

function simulate(...args: readonly string[]) {
  const main = ["scripts/run.mjs", "test/simulation/main.ts"];
  return spawnSync(process.execPath, [...main, ...args], { cwd: root, encoding: "utf8" });
}

test("tells the shortest history that fails in the same way", () => {
  const { status, stdout } = simulate("--histories", "3", "--flaw", "no tag check");
  expect(status, stdout).toBe(1);
  expect(stdout).toMatch(/^seed \d+: VIOLATION: /);
  expect(stdout).toMatch(
    /the shortest history of seed \d+ that fails in this way:\n {2}\d clients/,
  );
  expect(stdout).toContain("a promise is broken");
});

test("tells which lines of the product and of Lua a history reaches", () => {
  const { status, stdout } = simulate("--histories", "1", "--coverage");
  expect(status, stdout).toBe(0);
  expect(stdout).toMatch(/^ *[1-9][\d.]+ % {2}packages\/redis\/src\/session\/lease\.ts/m);
  // It is the memory of a real node's disk: no history uses it.
  expect(stdout).toMatch(
    /^ *0\.0 % {2}packages\/redis\/src\/memory\/memory-file\.ts {2}not reached/m,
  );
  expect(stdout).toMatch(/^ *[1-9][\d.]+ % {2}packages\/redis\/src\/connection\/lua\/commit\.lua/m);
  expect(stdout).toMatch(/^ *[1-9][\d.]+ % {2}of \d+ lines$/m);
});
