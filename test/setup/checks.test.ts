import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
/** Variables of continuous integration that make oxlint colour its output. */
const env = { ...process.env, CI: "true", FORCE_COLOR: "1", NO_COLOR: undefined };
const esc = String.fromCharCode(27);

test("a failed check prints what is wrong: without colours in a file, with colours on a terminal", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-checks-"));
  try {
    const faulty = join(folder, "faulty.ts");
    writeFileSync(faulty, "debugger;\n");
    const command = ["oxlint", "--deny", "no-debugger", faulty];
    const script = `
      import { runChecks } from ${JSON.stringify(join(root, "scripts/checks.mjs"))};
      process.exitCode = await runChecks([{ name: "one", command: ${JSON.stringify(command)} }]);`;
    const program = join(folder, "program.mjs");
    writeFileSync(program, script);
    const file = spawnSync(process.execPath, [program], { env, encoding: "utf8" });
    expect(file.stdout).toMatch(/^FAILED {2}one [\s\S]*no-debugger/);
    expect(file.stdout).not.toContain(esc);
    expect(file.status).toBe(1);
    const line = `${process.execPath} ${program}`;
    const terminal = spawnSync("script", ["--quiet", "--command", line, "/dev/null"], {
      env: { ...env, FORCE_COLOR: undefined },
      encoding: "utf8",
    });
    expect(terminal.stdout).toContain(esc);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
