import { expect, test } from "vitest";
import { firstFailure, histories, told } from "./first-failure.ts";
import { focusOf } from "./flaw-focus.ts";
import { flawNames } from "./flaws.ts";

/** Every planted fault must show within so many histories; with today's code 47 are enough. */
const faultyMax = 400;
/** The timeout, for a machine that is busy with other work. */
const longMs = 900_000;
/** Up to which seed the unchanged product breaks no promise, by the kind of fault that its histories have. */
const soundTo = new Map<string | undefined, number>([[undefined, histories]]);

test.each(flawNames)(
  "a planted fault is found by random histories: %s",
  async (flaw) => {
    const focus = focusOf[flaw];
    const found = await firstFailure({ flaw, focus }, faultyMax);
    if (found === undefined) return expect.fail(`not found in ${faultyMax} histories`);
    process.stdout.write(`found "${flaw}" at seed ${found.seed}: ${String(found.failure)}\n`);
    // The unchanged product breaks no promise in as many of the same histories.
    const already = soundTo.get(focus) ?? 0;
    const sound = await firstFailure({ focus }, found.seed, already + 1);
    expect(sound === undefined, told(sound)).toBe(true);
    soundTo.set(focus, Math.max(already, found.seed));
  },
  longMs,
);
