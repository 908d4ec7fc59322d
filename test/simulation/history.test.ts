import { describe, expect, test } from "vitest";
import { focusOf } from "./flaw-focus.ts";
import { flawNames } from "./flaws.ts";
import { type HistoryOptions, type HistoryResult, runHistory } from "./history.ts";

/** The number of histories of the unchanged product, from seed 1 on. */
const histories = 150;
/** Every planted fault must show within so many histories; with today's code 47 are enough. */
const faultyMax = 400;
/** The timeout, for a machine that is busy with other work. */
const longMs = 900_000;

async function firstFailure(
  options: HistoryOptions,
  count: number,
): Promise<HistoryResult | undefined> {
  for (let seed = 1; seed <= count; seed += 1) {
    const result = await runHistory(seed, options);
    if (result.failure !== undefined) return result;
  }
  return undefined;
}

function told(result: HistoryResult | undefined): string {
  if (result === undefined) return "nothing was found";
  return `seed ${result.seed}: ${String(result.failure)}\n${result.lines.slice(-60).join("\n")}`;
}

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

describe("a planted fault is found by random histories:", () => {
  test.each(flawNames)(
    "%s",
    async (flaw) => {
      const focus = focusOf[flaw];
      const found = await firstFailure({ flaw, focus }, faultyMax);
      expect(found?.failure, `not found in ${faultyMax} histories`).toBeDefined();
      // The unchanged product breaks no promise in as many of the same histories.
      const more = focus !== undefined || (found?.seed ?? 0) > histories;
      const sound = more ? await firstFailure({ focus }, found?.seed ?? 0) : undefined;
      expect(sound === undefined, told(sound)).toBe(true);
      process.stdout.write(`found "${flaw}" at seed ${found?.seed}: ${String(found?.failure)}\n`);
    },
    longMs,
  );
});
