import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exportSubject } from "../export.ts";
import { type PlanRow, readPlan, writePlan } from "./plan-file.ts";
import { failedLines, ReportFile } from "./report-file.ts";

let folder: string;
let count = 0;
const fresh = () => {
  count += 1;
  return join(folder, `file-${count}`);
};
const header = {
  madeAt: "2026-11-30T10:00:00Z",
  source: { endpoints: ["127.0.0.1:5696"], version: "1.4", vendor: "Other" },
  instance: { id: "instance-1", name: "prod" },
  transportKey: false,
};
const rows: readonly PlanRow[] = [
  { id: "a", type: "SymmetricKey", names: ["line\nbreak", "\u202ename"], comes: true },
  { id: "b", type: "Template", names: [], comes: false, why: "unknown type" },
  { id: "", type: "", names: [], comes: false, why: "the source does not show its attributes" },
];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-migrate-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a plan", () => {
  test("is read as it was written, and only its owner can read it", () => {
    const path = fresh();
    writePlan(path, header, rows);
    const plan = readPlan(path);
    expect(plan.header).toEqual(header);
    expect(plan.rows).toEqual(rows);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("never replaces a file", () => {
    const path = fresh();
    writeFileSync(path, "mine");
    expect(() => writePlan(path, header, rows)).toThrow("exists already");
    expect(readFileSync(path, "utf8")).toBe("mine");
  });

  test.each<[string, (text: string) => string, string]>([
    ["cut short", (text) => text.slice(0, -5), "cut short"],
    ["without its last line", (text) => `${text.split("\n").slice(0, 3).join("\n")}\n`, "names 3"],
    ["with a line of something else", (text) => text.replace('{"id":"b"', '{"ib":"b"'), "line 3"],
    ["of another program", () => "id,name\n", "line 1"],
    ["that is empty", () => "\n", "line 1"],
  ])("%s is refused with its place", (_, change, why) => {
    const path = fresh();
    writePlan(path, header, rows);
    const changed = fresh();
    writeFileSync(changed, change(readFileSync(path, "utf8")));
    expect(() => readPlan(changed)).toThrow(why);
  });
});

describe("a report", () => {
  const subject = { of: "hash", target: "instance-1" };
  const line = (id: string, outcome: string) => ({ id, outcome, at: "2026-11-30T10:00:00Z" });

  test("has the last line of each object, after it was opened again", () => {
    const path = fresh();
    const first = ReportFile.open(path, subject);
    first.add([line("a", "TryAgain"), line("b", "Imported")]);
    first.add([line("a", "Imported")]);
    const again = ReportFile.open(path, subject);
    expect([...again.lines.values()].map(({ id, outcome }) => [id, outcome])).toEqual([
      ["a", "Imported"],
      ["b", "Imported"],
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("that a kill cut anywhere has the whole lines, and takes new ones", () => {
    const path = fresh();
    ReportFile.open(path, subject).add([line("a", "Imported"), line("b", "Imported")]);
    const whole = readFileSync(path, "utf8");
    const firstEnd = whole.indexOf("\n") + 1;
    for (let at = firstEnd; at <= whole.length; at++) {
      const cut = fresh();
      writeFileSync(cut, whole.slice(0, at));
      const known = [...ReportFile.open(cut, subject).lines.keys()];
      const ends = whole.slice(firstEnd, at).split("\n").length - 1;
      // A line is whole even without its end.
      expect(known.length).toBeGreaterThanOrEqual(ends);
      ReportFile.open(cut, subject).add([line("c", "Imported")]);
      expect([...ReportFile.open(cut, subject).lines.keys()]).toEqual([...known, "c"]);
    }
  });

  test.each([
    ["of another plan", { of: "other", target: "instance-1" }],
    ["of another instance", { of: "hash", target: "instance-2" }],
  ])("%s is refused", (_, other) => {
    const path = fresh();
    ReportFile.open(path, other);
    expect(() => ReportFile.open(path, subject)).toThrow("another move");
  });

  test("is refused if the file is something else, and is then unchanged", () => {
    const path = fresh();
    writeFileSync(path, "my notes");
    appendFileSync(path, "\n");
    expect(() => ReportFile.open(path, subject)).toThrow("is not a report");
    expect(readFileSync(path, "utf8")).toBe("my notes\n");
  });

  test("that is only read is not made", () => {
    expect(ReportFile.read(fresh(), subject).size).toBe(0);
  });

  test("that a kill cut in its first line begins again", () => {
    const path = fresh();
    ReportFile.open(path, subject)[Symbol.dispose]();
    const whole = readFileSync(path, "utf8");
    for (let at = 0; at < whole.length; at++) {
      const cut = fresh();
      writeFileSync(cut, whole.slice(0, at));
      expect(ReportFile.read(cut, subject).size).toBe(0);
      ReportFile.open(cut, subject).add([line("a", "Imported")]);
      expect([...ReportFile.read(cut, subject).keys()]).toEqual(["a"]);
    }
  });

  test("belongs to one process at a time, and to the next one once that was killed", () => {
    const path = fresh();
    const lock = `${path}.lock`;
    const first = ReportFile.open(path, subject);
    expect(readFileSync(lock, "utf8")).toBe(`${process.pid}\n`);
    first[Symbol.dispose]();
    expect(existsSync(lock)).toBe(false);
    writeFileSync(lock, `${process.ppid}\n`);
    expect(() => ReportFile.open(path, subject)).toThrow(`process ${process.ppid} works with it`);
    writeFileSync(lock, "");
    expect(() => ReportFile.open(path, subject)).toThrow("another process works with it");
    // Higher than any process has.
    writeFileSync(lock, "99999999\n");
    using again = ReportFile.open(path, subject);
    expect(again.lines.size).toBe(0);
    expect(readFileSync(lock, "utf8")).toBe(`${process.pid}\n`);
    expect(() => ReportFile.open(path, { ...subject, of: "other" })).toThrow("another move");
    expect(existsSync(lock)).toBe(false);
  });

  test("that cannot be read is named", () => {
    expect(() => ReportFile.read(folder, subject)).toThrow(`--report ${folder}: is a directory`);
  });
});

describe("the report of an export", () => {
  const sources = ["a1.example:5696", "b1.example:5696"];
  const targets = ["new.example"];

  test.each<[string, readonly string[], readonly string[]]>([
    ["the same servers", sources, targets],
    ["another order", sources.toReversed(), targets],
    ["a node more", [...sources, "c1.example:5696"], targets],
    ["a node less", sources.slice(1), targets],
    ["other spellings", ["A1.Example"], ["new.example:5696"]],
  ])("is continued with %s", (_, nowSources, nowTargets) => {
    const path = fresh();
    ReportFile.open(path, exportSubject(sources, targets, false))[Symbol.dispose]();
    const now = exportSubject(nowSources, nowTargets, false);
    expect(ReportFile.read(path, now).size).toBe(0);
  });

  test.each<[string, readonly string[], readonly string[]]>([
    ["another source", ["c1.example"], targets],
    ["another target", sources, ["other.example"]],
    ["both sides changed", targets, sources],
  ])(
    "is not continued with %s, unless the servers are the same under other names",
    (_, from, to) => {
      const path = fresh();
      ReportFile.open(path, exportSubject(sources, targets, false))[Symbol.dispose]();
      expect(() => ReportFile.read(path, exportSubject(from, to, false))).toThrow(
        "is the report of another move; give another path, or --same-servers if",
      );
      expect(ReportFile.read(path, exportSubject(from, to, true)).size).toBe(0);
    },
  );

  test("is never that of a plan", () => {
    const path = fresh();
    ReportFile.open(path, { of: "hash", target: "new.example" })[Symbol.dispose]();
    expect(() => ReportFile.open(path, exportSubject(sources, targets, true))).toThrow("another");
  });
});

test("lines of objects that were not moved show no character that misleads", () => {
  const [said] = failedLines([{ id: "a\n\u001b[31m\u202e", outcome: "Left", at: "now" }]);
  expect(said).toBe("a\\u000a\\u001b[31m\\u202e: Left");
});
