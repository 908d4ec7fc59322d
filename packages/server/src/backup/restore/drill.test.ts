import { stateCounts } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { type DrillReport, drillLines, isReliable } from "./drill.ts";

const trailer = {
  ...{ entries: 9, partitions: 65, records: 3, damaged: 0, counts: {}, finishedMs: 0 },
};
const restored = {
  ...{ made: 3, added: 0, known: 0, newer: 0, destroyed: 0, deleted: 0 },
  ...{ contradicting: 0, left: 0, instances: [] },
};

/** A drill of a good archive that opened two keys. */
const good: DrillReport = {
  scanned: { trailer, ends: [], statuses: [], system: [] },
  ...{ bytes: 100, restored, counts: stateCounts({ Active: 2 }), instances: 1, keks: 1 },
  ...{ sealed: 2, opened: 2, failed: [] },
};

function verdictOn(report: DrillReport): string | undefined {
  return drillLines("one.backup", report, 0).at(-1);
}

const withTrailer = (more: object): DrillReport => ({
  ...good,
  scanned: { ...good.scanned, trailer: { ...trailer, ...more } },
});

describe("a drill", () => {
  test.each([
    ["opened keys", good],
    ["found no key", { ...good, sealed: 0, opened: 0 }],
  ])("that %s proves that the backup can be restored", (_, report) => {
    expect(isReliable(report)).toBe(true);
    expect(verdictOn(report)).toBe("this backup can be restored");
  });

  test.each([
    ["lacks damaged records", withTrailer({ damaged: 1 })],
    ["is of a store that was not level", withTrailer({ lacks: "the store was not level" })],
    ["has keys that do not open", { ...good, failed: [{ uniqueIdentifier: "k", reason: "r" }] }],
    ["contradicts itself", { ...good, restored: { ...restored, contradicting: 1 } }],
    ["was not restored whole", { ...good, restored: { ...restored, left: 1 } }],
  ])("does not rely on an archive that %s", (_, report) => {
    expect(isReliable(report)).toBe(false);
    expect(verdictOn(report)).toBe("this backup cannot be relied on as it is");
  });

  test("that opened no key says what it did not prove", () => {
    const report = { ...good, opened: 0 };
    expect(isReliable(report)).toBe(true);
    expect(verdictOn(report)).toMatch(/no key was opened: give a larger number with --keys/);
  });

  test("says what an archive lacks", () => {
    const [, whole] = drillLines("one.backup", withTrailer({ damaged: 1, lacks: "it lacks" }), 0);
    expect(whole).toMatch(
      /not complete when it was made: 1 damaged records are not in it; it lacks/,
    );
  });
});
