import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MoveJournal } from "./move-journal.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-journal-"));
  file = join(folder, "journal");
});
afterEach(() => rmSync(folder, { recursive: true }));
const taken = /--journal .*another run of `vcenter move` uses it/;

test("a journal has what was begun and not ended, at its vCenter", () => {
  const journal = new MoveJournal(file, "one");
  expect(journal.begun("template").size).toBe(0);
  journal.note("open", { type: "VirtualMachine", value: "vm-1" });
  journal.note("open", { type: "VirtualMachine", value: "vm-2" });
  journal.note("closed", { type: "VirtualMachine", value: "vm-1" });
  journal.note("vsan-open", { type: "ClusterComputeResource", value: "c-1" }, "kek", "host");
  new MoveJournal(file, "two").note("open", { type: "VirtualMachine", value: "vm-9" });
  expect([...journal.begun("template").keys()]).toEqual(["vm-2"]);
  expect(journal.begun("vsan").get("c-1")).toEqual(["kek", "host"]);
});

test("a line that a full disk cut short names no other object, and the next one stands alone", () => {
  const journal = new MoveJournal(file, "one");
  journal.note("open", { type: "VirtualMachine", value: "vm-7" });
  // It was to be vm-123.
  appendFileSync(file, "open one vm-12");
  expect([...journal.begun("template").keys()]).toEqual(["vm-7"]);
  journal.note("open", { type: "VirtualMachine", value: "vm-123" });
  expect([...journal.begun("template").keys()]).toEqual(["vm-7", "vm-123"]);
  expect(readFileSync(file, "utf8")).toBe("open one vm-7\nopen one vm-123\n");
});

test("the lock of a process that runs is refused, and one that is given back leaves no file", () => {
  writeFileSync(`${file}.lock`, `${process.ppid}\n`);
  expect(() => new MoveJournal(file, "two").lock()).toThrow(taken);
  rmSync(`${file}.lock`);
  new MoveJournal(file, "one").lock()[Symbol.dispose]();
  expect(existsSync(`${file}.lock`)).toBe(false);
});

test("the lock of a process that has ended is taken over, and one that says nothing is not", () => {
  const { pid } = spawnSync(process.execPath, ["--version"]);
  // In a container, the next process may have the number of the one before.
  for (const ended of [pid, process.pid]) {
    writeFileSync(`${file}.lock`, `${ended}\n`);
    using _ = new MoveJournal(file, "one").lock();
    expect(readFileSync(`${file}.lock`, "utf8")).toBe(`${process.pid}\n`);
  }
  for (const text of ["", "a note"]) {
    writeFileSync(`${file}.lock`, text);
    expect(() => new MoveJournal(file, "one").lock()).toThrow(taken);
  }
});

test("a journal in a folder that is not there is a clear error before anything is changed", () => {
  expect(() => new MoveJournal(join(folder, "none", "journal"), "one").lock()).toThrow(
    /^--journal: ENOENT/,
  );
});
