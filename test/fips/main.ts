// `npm run test:fips [-- FILTER...]` runs the tests that apply while every process, this one's children included, uses
// OpenSSL's FIPS provider. Arguments after `--` select files, as for vitest.

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { installProvider } from "@holdfast/server/fips-mode";
import { OperatorError } from "@holdfast/server/operator-error";
import { applies, doesNotApply } from "./applies.ts";

const root = join(import.meta.dirname, "../..");

/** Runs vitest with the provider; returns its exit code. */
function run(filters: readonly string[]): number {
  const { flags, provider, folder } = installProvider(process.env);
  process.stdout.write(`${provider}\n`);
  try {
    const excluded = Object.keys(doesNotApply).map((file) => `--exclude=${file}`);
    const args = ["run", ...excluded, ...(filters.length > 0 ? filters : applies)];
    const env = { ...process.env, NODE_OPTIONS: flags.join(" ") };
    const vitest = join(root, "node_modules", ".bin", "vitest");
    return spawnSync(vitest, args, { cwd: root, env, stdio: "inherit" }).status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = run(process.argv.slice(2));
  for (const [file, why] of Object.entries(doesNotApply)) {
    process.stdout.write(`not run: ${file}: ${why}\n`);
  }
} catch (error) {
  if (!(error instanceof OperatorError)) throw error;
  process.stderr.write(`test:fips: ${error.message}\n`);
  process.exitCode = 2;
}
