import { expect, test } from "vitest";
import { firstFailure, histories, told } from "./first-failure.ts";
import { runHistory } from "./history.ts";

/** The timeout, for a machine that is busy with other work. */
const longMs = 900_000;

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
  async () => {
    const found = await firstFailure({}, histories);
    expect(found === undefined, told(found)).toBe(true);
  },
  longMs,
);
