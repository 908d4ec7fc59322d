import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Both } from "./both.ts";
import { Choices } from "./choices.ts";
import { randomCommand } from "./random-commands.ts";
import { seed, sequencesOr } from "./sequences.ts";

const sequences = sequencesOr(1_000);

let both: Both;
beforeAll(async () => {
  both = await Both.start();
});
afterAll(async () => both[Symbol.asyncDispose]());

test(`${sequences} random sequences of commands (seed ${seed}): the model answers as Redis`, async () => {
  const command = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 24 });
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { minLength: 1, maxLength: 60, size: "max" }),
      async (list) => {
        both.begin();
        for (const numbers of list) {
          const line = randomCommand(new Choices(numbers));
          both.execute(line);
          seen.set(line[0] ?? "", (seen.get(line[0] ?? "") ?? 0) + 1);
        }
        await both.compare();
      },
    ),
    { seed, numRuns: sequences },
  );
  expect([...seen].filter(([, times]) => times < 20)).toEqual([]);
});
