import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, SetUpError, say } from "./common.mjs";
import { runPnpm } from "./packages.mjs";

/** Stryker has a lock file of its own: it brings 171 others, which only one command needs. */
const folder = join(root, "test", "mutants", "mechanical", "stryker");

/** The program, which makes mutants of a module and runs its tests with each. */
export const stryker = join(
  folder,
  "node_modules",
  "@stryker-mutator",
  "core",
  "bin",
  "stryker.js",
);

/** Installs Stryker if it is missing; throws a `SetUpError` that says what is needed. */
export async function bringStryker() {
  if (existsSync(stryker)) return;
  say("installing Stryker");
  const { ok, log, error } = await runPnpm("stryker", ["install", "--frozen-lockfile"], folder);
  if (!ok) throw new SetUpError(`Stryker could not be installed: ${error} (see ${log})`);
}
