// Runs the checks, then every vitest project, the fast ones first. The last line is the total:
// "N passed, N failed"; skipped tests are listed before it. Arguments are passed to vitest.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { runChecks } from "./checks.mjs";
import { colours } from "./colours.mjs";
import { endLeftovers, newMark } from "./leftovers.mjs";
import { pathWithTools } from "./redis-path.mjs";
import { compileCache, root } from "./setup/common.mjs";
import { shortFailures } from "./short-failures.mjs";
import { tally } from "./tally.mjs";

const failedChecks = await runChecks();
const directory = mkdtempSync(join(tmpdir(), "holdfast-test-"));
const report = join(directory, "report.json");
const run = newMark();

const vitest = spawn(
  join(root, "node_modules", ".bin", "vitest"),
  [
    ...["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    ...process.argv.slice(2),
  ],
  {
    cwd: root,
    env: { ...compileCache, ...process.env, PATH: pathWithTools(), ...colours(), ...run.mark },
    stdio: ["ignore", "pipe", "pipe"],
  },
);
for (const [from, to] of /** @type {const} */ ([
  [vitest.stdout, process.stdout],
  [vitest.stderr, process.stderr],
])) {
  const short = shortFailures();
  createInterface({ input: from }).on("line", (line) => {
    for (const shown of short(line)) to.write(`${shown}\n`);
  });
}
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => vitest.kill(signal));
}
const exitCode = await new Promise((resolve) => {
  vitest.once("error", () => resolve(1));
  vitest.once("close", (code) => resolve(code ?? 1));
});

const ended = endLeftovers(run.value);
if (ended > 0) process.stdout.write(`ended ${ended} processes that tests had left running\n`);
const { passed, failed, skipped } = tally(report, exitCode, failedChecks);
rmSync(directory, { recursive: true, force: true });
for (const [file, tests] of skipped) {
  process.stdout.write(`${tests.length} skipped in ${relative(root, file)}: ${tests[0]}\n`);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
