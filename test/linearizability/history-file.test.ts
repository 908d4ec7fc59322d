import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkFile } from "./check-file.ts";
import { readHistory, writeHistory } from "./history-file.ts";
import { judge } from "./judge.ts";
import { sampleHistory } from "./sample-history.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "history-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("what was written is read again, and judged the same", async () => {
  const path = join(folder, "good.jsonl");
  const history = sampleHistory(3);
  await writeHistory(path, history);
  const read = await readHistory(path);
  expect(new Set(read.operations)).toEqual(new Set(history.operations));
  expect({ ...read, operations: [] }).toEqual({ ...history, operations: [] });
  expect(judge(read)).toMatchObject({ objects: 1, violations: [], undecided: [] });
});

test("a history without an operation is refused, since it proves nothing", async () => {
  const path = join(folder, "none.jsonl");
  await writeHistory(path, { ...sampleHistory(3), operations: [] });
  await expect(checkFile(path, () => undefined)).rejects.toThrow(/none\.jsonl: has no operation/);
});

const first = { format: "holdfast-history", version: 1, regions: ["a", "b"] };
const who = { object: "k", client: "c", node: "a1", region: "a", call: 1 };
const create = {
  operation: "Create",
  ...who,
  return: 2,
  outcome: "done",
  acknowledged: ["a", "b"],
};
const refused = { outcome: "refused", reason: "PermissionDenied", acknowledged: undefined };
const look = { operation: "GetAttributes", ...who, return: 2, outcome: "done", state: "Active" };
const text = (...lines: readonly object[]) => lines.map((line) => JSON.stringify(line)).join("\n");

describe("names what is wrong with a file, and where", () => {
  test.each<[string, string, RegExp]>([
    ["nothing", "", /bad\.jsonl: empty, where a header/],
    ["no header", text(create), /line 1: no header; the first line must be like \{"format"/],
    ["another version", text({ ...first, version: 2 }), /line 1: no header/],
    ["no JSON", `${text(first)}\n\n{"operation"`, /line 3: .*JSON/],
    ["an unknown operation", text(first, { ...create, operation: "Rekey" }), /line 2: operation: /],
    ["an unknown field", text(first, { ...create, tires: 2 }), /line 2: .*tires/],
    ["a missing field", text(first, { ...look, object: undefined }), /line 2: object: /],
    ["a wrong type", text(first, create, { ...look, call: "1" }), /line 3: call: .*number/],
    ["an unknown state", text(first, { ...look, state: "Gone" }), /line 2: state: /],
    ["an unknown region", text(first, { ...look, store: "c" }), /line 2: region c: the header/],
    [
      "an answer before its question",
      text(first, { ...look, return: 0 }),
      /line 2: return: before/,
    ],
    ["done without a return", text(first, { ...look, return: undefined }), /line 2: return: miss/],
    [
      "a refusal without a reason",
      text(first, { ...look, outcome: "refused" }),
      /line 2: reason: /,
    ],
    [
      "a read without an answer",
      text(first, { ...look, state: undefined }),
      /line 2: state or attributes: belongs to a read/,
    ],
    [
      "a change that nobody acknowledged",
      text(first, { ...create, acknowledged: undefined }),
      /line 2: acknowledged: belongs to a change/,
    ],
    [
      "tries of a change that never happened",
      text(first, { ...create, ...refused, tries: 2 }),
      /line 2: tries: belongs to a change that may have happened/,
    ],
    ["an unknown event", text(first, { event: "flood", at: 1 }), /line 2: event: /],
  ])("%s", async (_, content, expected) => {
    const path = join(folder, "bad.jsonl");
    await writeFile(path, content);
    await expect(readHistory(path)).rejects.toThrow(expected);
  });
});
