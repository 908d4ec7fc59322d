import { expect, test } from "vitest";
import { longMs, missedFlaw } from "./first-failure.ts";
import { focusOf } from "./flaw-focus.ts";
import { flawNames } from "./flaws.ts";

// `history.test.ts` has those that any kind of fault reveals: two files run at the same time.
test.each(flawNames.filter((flaw) => focusOf[flaw] !== undefined))(
  "a planted fault is found by histories with the fault that reveals it: %s",
  async (flaw) => expect(await missedFlaw(flaw)).toBe(""),
  longMs,
);
