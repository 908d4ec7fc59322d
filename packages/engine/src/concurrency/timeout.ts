import type { Timers } from "../base/clock.ts";

/** Thrown when something took too long. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
}

/** Without a reason, Node would make an exception with a stack for each call. */
const answered = "answered";

/** Resolves to the result of `work`; rejects with `TimedOut` after `ms`. The work itself is not cancelled. */
export async function withTimeout<Result>(
  { sleep }: Pick<Timers, "sleep">,
  ms: number,
  work: Promise<Result>,
): Promise<Result> {
  const over = new AbortController();
  const late = sleep(ms, over.signal).then(() => {
    throw new TimedOut(`no answer within ${ms} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort(answered);
  }
}
