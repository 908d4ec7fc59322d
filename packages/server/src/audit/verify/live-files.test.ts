import { appendFileSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LiveFiles } from "./live-files.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-live-files-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Reads a file with these bytes; `meanwhile` is called at its first line. */
async function linesOf(text: string, meanwhile: (path: string) => void) {
  const path = join(folder, "audit-1.jsonl");
  writeFileSync(path, text);
  const lines: string[] = [];
  await using files = new LiveFiles([path], (line) => {
    if (lines.length === 0) meanwhile(path);
    lines.push(line);
  });
  await files.read();
  return lines;
}

test("a last line that is half-written is read when it is whole", async () => {
  const lines = await linesOf("one\ntw", (path) => appendFileSync(path, "o\nthree\n"));
  expect(lines).toEqual(["one", "two", "three"]);
});

test("a file that its sink deletes while it is read is read to its end", async () => {
  expect(await linesOf("one\ntwo\n", unlinkSync)).toEqual(["one", "two"]);
});
