import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

/** What a process prints that runs this code with `say`, `sayJson`, `complain` and `reasonOf`. */
function printed(code: string) {
  const files = ["lines.ts", "output.ts", "failure.ts"].map((name) =>
    JSON.stringify(join(import.meta.dirname, name)),
  );
  const imports = files.map((file) => `...await import(${file})`).join(", ");
  const script = `const { say, sayJson, complain, reasonOf } = { ${imports} }; ${code}`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "--eval", script],
    { encoding: "utf8" },
  );
  return { stdout, stderr };
}

/** ESC, CSI as one character, a line end, a right-to-left override and an invisible space. */
const hostile = '"a\\u001b[2J\\u009b31m\\nholdfast: done\\u202e\\u200b"';
const escaped = "a\\u001b[2J\\u009b31m\\u000aholdfast: done\\u202e\\u200b";

test("a value that somebody else chose cannot move the cursor, forge a line, or hide a part of it", () => {
  expect(printed(`say(${hostile}, ["b", ${hostile}]); complain(${hostile});`)).toEqual({
    stdout: `${escaped}\nb\n${escaped}\n`,
    stderr: `holdfast: ${escaped}\n`,
  });
});

test("nor can the message of an error", () => {
  expect(printed(`complain(reasonOf(new Error(${hostile})));`).stderr).toBe(
    "holdfast: a [2J 31m holdfast: done\\u202e\\u200b\n",
  );
});

test("JSON has the same escapes, and is the same value", () => {
  const { stdout } = printed(`sayJson({ name: ${hostile}, more: [1] });`);
  expect(stdout).toMatch(/^[\n -~]+$/);
  expect(JSON.parse(stdout)).toEqual({ name: JSON.parse(hostile), more: [1] });
});
