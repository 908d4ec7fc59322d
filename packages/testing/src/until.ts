import { setTimeout as sleep } from "node:timers/promises";

/** Nothing should take this long; the margin is for a busy machine. */
const patienceMs = 300_000;
const pollMs = 25;
const linesMax = 30;

/** `true` ends the wait; the error of a timeout contains any other result. */
export type ConditionResult = boolean | string | Error;

/**
 * Asks until there is an answer, and returns it. Asks again after an error for which `passes` is true; any other error ends
 * the wait at once.
 */
export async function answerOf<Answer>(
  what: string,
  ask: () => Promise<Answer>,
  passes: (error: unknown) => boolean,
): Promise<Answer> {
  const answers: Answer[] = [];
  await until(what, async () => {
    try {
      answers.push(await ask());
      return true;
    } catch (error) {
      if (!passes(error)) throw error;
      return error as Error;
    }
  });
  return answers[0] as Answer;
}

/** Waits until `condition` returns true. An error that it throws ends the wait at once. */
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
