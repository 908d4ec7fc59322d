import { expect, test } from "vitest";
import { brokenPromise, longMs, missedFlaw } from "./first-failure.ts";
import { focusOf } from "./flaw-focus.ts";
import { flawNames } from "./flaws.ts";
import { runHistory } from "./history.ts";

/** The number of histories of the unchanged product, from seed 1 on. */
const histories = 150;

test("a seed always makes the same history, whatever ran before", async () => {
  const first = [];
  for (const seed of [3, 11, 12]) first.push((await runHistory(seed)).digest);
  for (const [at, seed] of [3, 11, 12].entries()) {
    expect((await runHistory(seed)).digest).toBe(first[at]);
  }
  expect(new Set(first).size).toBe(3);
});

test(
  `${histories} histories under faults break no promise`,
  async () => expect(await brokenPromise(undefined, histories)).toBe(""),
  longMs,
);

test.each(flawNames.filter((flaw) => focusOf[flaw] === undefined))(
  "a planted fault is found by random histories: %s",
  async (flaw) => expect(await missedFlaw(flaw)).toBe(""),
  longMs,
);
