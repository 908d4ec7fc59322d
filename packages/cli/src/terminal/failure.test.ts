import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

/** Writes a file of so many bytes in a process whose files must not be larger than 1 KiB. */
function written(path: string, bytes: number) {
  const module = join(import.meta.dirname, "failure.ts");
  const code = `const { writeNew } = await import(${JSON.stringify(module)});
    try { writeNew("--keys-out", ${JSON.stringify(path)}, "x".repeat(${bytes})); }
    catch ({ message }) { process.stdout.write(message); }`;
  const script = 'ulimit -f 1; exec "$0" --input-type=module --eval "$1"';
  const done = spawnSync("bash", ["-c", script, process.execPath, code], { encoding: "utf8" });
  return { code: done.status, out: done.stdout };
}

test("a new file that cannot be written to its end is removed, and one that was there before is left alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-failure-"));
  const path = join(folder, "in-use.txt");
  try {
    expect(written(path, 2000)).toEqual({
      code: 0,
      out: expect.stringMatching(/^--keys-out .*in-use\.txt: .*EFBIG/),
    });
    expect(written(path, 1000)).toEqual({ code: 0, out: "" });
    const again = written(path, 2000);
    expect(again.out).toContain("exists already");
    expect(readFileSync(path, "utf8")).toBe("x".repeat(1000));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
