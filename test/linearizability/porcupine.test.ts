import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { created, excused } from "./excused.ts";
import { writeHistory } from "./history-file.ts";
import { judge } from "./judge.ts";
import type { ClientHistory } from "./operation.ts";
import { placesWithoutOrder } from "./porcupine-model.ts";
import { sampleHistory } from "./sample-history.ts";
import { spoiled } from "./spoiled.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "history-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a reader that knows only docs/histories.md finds in the file, and what `judge` finds. */
async function bothOf(history: ClientHistory) {
  const path = join(folder, "history.jsonl");
  await writeHistory(path, history);
  const { violations, undecided } = judge(history);
  const places = violations.map((text) => {
    const [, object, region] =
      /^object (\S+) (?:in the store of region (\w+)|at any endpoint): /.exec(text) ?? [];
    return `${object} ${region ?? "any"}`;
  });
  expect(undecided).toEqual([]);
  const found = placesWithoutOrder(await readFile(path, "utf8")).toSorted();
  return { found, judged: [...new Set(places)].toSorted() };
}

describe("a reader of the file by Porcupine's algorithm comes to the same verdict", () => {
  test("of good histories", async () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const { found, judged } = await bothOf(sampleHistory(seed));
      expect(found, `seed ${seed}`).toEqual([]);
      expect(judged).toEqual([]);
    }
  });

  test.each(spoiled)("of %s", async (_, spoil) => {
    for (let seed = 1; seed <= 5; seed += 1) {
      const { found, judged } = await bothOf(spoil(sampleHistory(seed)));
      expect(found.length, `seed ${seed}`).toBeGreaterThan(0);
      expect(found, `seed ${seed}`).toEqual(judged);
    }
  });

  test.each(excused)("of %s", async (_, operations, events, expected) => {
    const history = { regions: ["a", "b"], operations: [created, ...operations], events };
    const { found, judged } = await bothOf(history);
    expect(found).toEqual(judged);
    expect(found.length === 0 ? "legal" : "illegal").toBe(expected);
  });
});
