import { spawn } from "node:child_process";
import { join } from "node:path";
import { colours } from "./colours.mjs";
import { pathWithTools } from "./redis-path.mjs";
import { root } from "./setup/common.mjs";

/** @type {readonly { readonly name: string, readonly command: readonly string[] }[]} */
const all = [
  { name: "format and lint", command: ["biome", "ci", "--colors=off", "."] },
  { name: "promises", command: ["oxlint", "--type-aware", "--deny-warnings"] },
  { name: "types", command: ["tsc"] },
  { name: "types of the pure packages", command: ["tsc", "-p", "tsconfig.pure.json"] },
  { name: "types of the console", command: ["tsc", "-p", "packages/console"] },
  {
    name: "types of the dashboards' page",
    command: ["tsc", "-p", "packages/workbench/src/dashboards/page"],
  },
  {
    name: "types of the page that plays a history",
    command: ["tsc", "-p", "test/simulation/story/page"],
  },
];

/**
 * Runs checks at the same time, prints a line for each, and the output of each failed one.
 * @returns {Promise<number>} how many failed
 */
export async function runChecks(checks = all) {
  const results = await Promise.all(checks.map(runCheck));
  return results.filter((passed) => !passed).length;
}

/**
 * @param {(typeof all)[number]} check
 * @returns {Promise<boolean>}
 */
async function runCheck({ name, command }) {
  const [program = "", ...args] = command;
  const started = performance.now();
  const child = spawn(join(root, "node_modules", ".bin", program), args, {
    cwd: root,
    // oxlint colours its output in CI, whatever NO_COLOR says.
    env: { ...process.env, CI: undefined, PATH: pathWithTools(), ...colours() },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  const passed = await new Promise((resolve) => {
    child.once("error", () => resolve(false));
    child.once("close", (code) => resolve(code === 0));
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${passed ? "passed" : "FAILED"}  ${name} (${program}, ${seconds} s)\n`);
  if (!passed) process.stdout.write(`${output.trimEnd()}\n`);
  return passed;
}
