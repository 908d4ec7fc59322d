import { setTimeout as sleep } from "node:timers/promises";

/** Nothing takes that long; a busy machine only needs more than a quiet one. */
const patienceMs = 300_000;
const pollMs = 25;
const linesMax = 30;

/** `true` ends the wait; anything else is what the error says when time has run out. */
export type ConditionResult = boolean | string | Error;

/** Waits until `condition` answers true. What it throws is thrown at once. */
export async function until(
  what: string,
  condition: () => Promise<ConditionResult> | ConditionResult,
  withinMs = patienceMs,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await condition();
    if (answer === true) return;
    if (performance.now() > deadline) {
      const last = answer === false ? "" : `; last: ${String(answer)}`;
      const lines = `not within ${withinMs} ms: ${what}${last}`.split("\n");
      throw new Error(lines.slice(0, linesMax).join("\n"), { cause: answer });
    }
    await sleep(pollMs);
  }
}
