import { describe, expect, test } from "vitest";
import { busyHistory } from "./busy-history.ts";
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

describe("of an object that many clients change, with changes that come late or never:", () => {
  const histories = [1, 3, 4].map((seed) => busyHistory(seed, 600));

  test("keeps every promise", () => {
    for (const history of histories) {
      const { violations, undecided } = judge(history);
      expect([...violations, ...undecided]).toEqual([]);
    }
  });

  test("lacks a value in the end that nobody deleted", () => {
    for (const history of histories) {
      const last = history.operations.at(-1);
      if (last?.operation !== "GetAttributes") throw new Error("no read");
      const deleted = history.operations.flatMap((one) =>
        one.operation === "DeleteAttribute" ? one.value : [],
      );
      const { "Object Group": groups = [], ...others } = last.attributes ?? {};
      const lost = groups.find((value) => !deleted.includes(value));
      const attributes = { ...others, "Object Group": groups.filter((value) => value !== lost) };
      const operations = [...history.operations.slice(0, -1), { ...last, attributes }];
      const { violations, undecided } = judge({ ...history, operations });
      expect(undecided).toEqual([]);
      expect(violations.join("\n")).toContain("no order explains GetAttributes");
    }
  });
});
