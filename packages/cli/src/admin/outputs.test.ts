import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandRow } from "@holdfast/admin";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { blockLines, keepOutputs, outputsOf, withoutBlocks } from "./outputs.ts";

const row: CommandRow = {
  words: "authority issue",
  output: [
    { field: "pem", option: "pem-out" },
    { field: "privateKey", option: "key-out" },
  ],
};
const answer = { name: "esx", pem: "BEGIN\nabc\nEND\n", privateKey: "BEGIN\nsecret\nEND" };

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-outputs-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("answers that are written to files", () => {
  test("a secret is written to a file that only its owner can read, and the path is printed instead", () => {
    const path = join(folder, "esx.key");
    const kept = keepOutputs(outputsOf(row, { keyOut: path }), answer);
    expect(kept).toEqual({ ...answer, privateKey: path });
    expect(readFileSync(path, "utf8")).toBe(`${answer.privateKey}\n`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("an existing file is never overwritten: the command is refused before anything is created", () => {
    const path = join(folder, "other.key");
    writeFileSync(path, "another key");
    expect(() => outputsOf(row, { keyOut: path })).toThrow(
      expect.objectContaining({ name: "Failure", message: expect.stringContaining("--key-out") }),
    );
    const late = { field: "privateKey", option: "key-out", path };
    expect(keepOutputs([late], answer)).toEqual(answer);
    expect(readFileSync(path, "utf8")).toBe("another key");
  });

  test("a secret is printed if its file cannot be written", () => {
    const path = join(folder, "missing", "esx.key");
    expect(keepOutputs(outputsOf(row, { keyOut: path }), answer)).toEqual(answer);
  });
});

describe("texts of several lines", () => {
  test("are printed below the fields, line by line, so that they can be copied", () => {
    expect(withoutBlocks(row, answer)).toEqual({ name: "esx" });
    expect(blockLines(row, answer)).toEqual([
      ...["", "pem:", "BEGIN", "abc", "END"],
      ...["", "privateKey:", "BEGIN", "secret", "END"],
    ]);
  });

  test("show control characters as text", () => {
    expect(blockLines(row, { pem: "BEGIN\na\u001b[2J\nEND" })).toContain("a\\u001b[2J");
  });

  test("do not include a path or a text of one line", () => {
    const kept = { pem: "/run/esx.pem" };
    expect(blockLines(row, kept)).toEqual([]);
    expect(withoutBlocks(row, kept)).toEqual(kept);
  });
});
