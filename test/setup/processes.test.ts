import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { endLeftovers, newMark } from "../../scripts/leftovers.mjs";

const root = join(import.meta.dirname, "../..");
const run = join(root, "scripts/run.mjs");
const folder = join(root, ".holdfast", `test-run-${process.pid}`);
const program = join(folder, "program.ts");
/** The path for `run.mjs`, relative to the root. */
const name = program.slice(root.length + 1);

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    program,
    `const versions: string = process.version;
     process.on("SIGTERM", () => process.exit(7));
     process.stdout.write(JSON.stringify([versions, process.pid, ...process.argv.slice(2)]) + "\\n");
     if (process.argv[2] === "stay") setInterval(() => undefined, 1000);
     else process.exitCode = 5;`,
  );
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("run.mjs passes on arguments and the exit code, with Node 24", () => {
  const { status, stdout } = spawnSync(process.execPath, [run, name, "--detach", "a b"], {
    encoding: "utf8",
  });
  expect(JSON.parse(stdout)).toEqual([
    expect.stringMatching(/^v24\./),
    expect.any(Number),
    "--detach",
    "a b",
  ]);
  expect(status).toBe(5);
});

test("run.mjs passes on signals", async () => {
  const child = spawn(process.execPath, [run, name, "stay"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([7, null]);
});

test("run.mjs names a file that does not exist", () => {
  const { status, stderr } = spawnSync(process.execPath, [run, "test/none.ts"], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([1, "set-up: test/none.ts is not in this checkout\n"]);
});

test("processes that a test leaves behind are ended, even in their own session", async () => {
  const { mark, value } = newMark();
  const env = { ...process.env, ...mark };
  const forever = ["-e", "process.stdout.write('up'); setInterval(() => undefined, 1000)"];
  const left = spawn(process.execPath, forever, {
    env,
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const other = spawn(process.execPath, forever, { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void [left, other].map((child) => child.kill("SIGKILL")));
  await Promise.all([once(left.stdout, "data"), once(other.stdout, "data")]);
  const ended = once(left, "exit");
  expect(endLeftovers(value)).toBe(1);
  expect(await ended).toEqual([null, "SIGKILL"]);
  expect(other.exitCode).toBeNull();
});
