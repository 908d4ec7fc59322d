import { describe, expect, test } from "vitest";
import { judge } from "./judge.ts";
import { sampleHistory } from "./sample-history.ts";
import { spoiled } from "./spoiled.ts";

const seeds = Array.from({ length: 200 }, (_, at) => at + 1);

test("200 histories that keep every promise have no violation", () => {
  for (const seed of seeds) {
    const { violations, undecided } = judge(sampleHistory(seed));
    expect([...violations, ...undecided], `seed ${seed}`).toEqual([]);
  }
});

describe("is found in each of 25 good histories", () => {
  test.each(spoiled)("%s", (_, spoil, expected) => {
    for (const seed of seeds.slice(0, 25)) {
      const { violations } = judge(spoil(sampleHistory(seed)));
      expect(violations.length, `seed ${seed}`).toBeGreaterThan(0);
      for (const text of violations) expect(text, `seed ${seed}`).toMatch(expected);
    }
  });
});
