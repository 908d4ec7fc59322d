import { existsSync } from "node:fs";
import { join } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, run, SetUpError, say } from "./common.mjs";
import { pnpm } from "./packages.mjs";

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
  const npx = findExecutable("npx");
  if (npx === undefined) {
    throw new SetUpError("npx is not on PATH: install npm (Debian: apt-get install npm)");
  }
  say("installing Stryker");
  const env = { ...process.env, CI: "true" };
  const args = ["-y", pnpm, "install", "--frozen-lockfile"];
  const { ok, log, error } = await run("stryker", npx, args, { cwd: folder, env });
  if (!ok) throw new SetUpError(`Stryker could not be installed: ${error} (see ${log})`);
}
