import { expect, test } from "vitest";
import { coverageLines } from "./coverage.ts";

const covered = [
  { file: "a.lua", reached: 3, all: 4, lines: [7] },
  { file: "b.ts", reached: 0, all: 6, lines: [1, 2, 3, 9, 10, 12] },
  { file: "c.ts", reached: 0, all: 0, lines: [] },
];

test("a percentage for each file and for all, with what was not reached", () => {
  expect(coverageLines(covered)).toEqual([
    " 75.0 %  a.lua  not reached: 7",
    "  0.0 %  b.ts  not reached: 1-3, 9-10, 12",
    "100.0 %  c.ts",
    " 30.0 %  of 10 lines",
  ]);
});
