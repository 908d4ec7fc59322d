import { expect, test } from "vitest";
import { rejoined } from "./region-commands.ts";

test("what a rejoin says names the records that were not given or not taken", () => {
  const all = { records: 7, quarantined: 0, refused: 0 };
  expect(rejoined("b", "a", { generation: 2, pushed: all, pulled: { ...all, records: 9 } })).toBe(
    "region b has rejoined as generation 2: 7 records given to region a, 9 taken from it",
  );
  const some = { records: 1, quarantined: 2, refused: 3 };
  const line = rejoined("b", "a", { generation: 2, pushed: some, pulled: some });
  expect(line.split("; ")).toEqual([
    "region b has rejoined as generation 2: 1 records given to region a, 1 taken from it",
    "2 contradict what region a has and lie in its quarantine",
    expect.stringMatching(/^3 were refused by region a: /),
    "2 of region a contradict what is here and lie in the quarantine here",
    expect.stringMatching(/^3 of region a were refused here: /),
  ]);
});
