import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeCommand } from "./server-command.ts";

test("a node writes no core dump, has no inspector signal, and gets its arguments as they are", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-command-"));
  try {
    const script = join(folder, "says.mjs");
    writeFileSync(
      script,
      `import { readFileSync } from "node:fs";
       const core = /^Max core file size +(\\S+) +(\\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
       console.log(JSON.stringify([core?.slice(1), process.execArgv, process.argv.slice(2)]));`,
    );
    const { command, args } = nodeCommand(script, ["serve", "a b", "$HOME"]);
    const said: unknown = JSON.parse(execFileSync(command, args, { encoding: "utf8" }));
    expect(said).toEqual([["0", "0"], ["--disable-sigusr1"], ["serve", "a b", "$HOME"]]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
