import { setTimeout as delay } from "node:timers/promises";
import { AdminProblem } from "@holdfast/admin";

/** How long a command waits in total while the service answers 429, before it fails. */
const waitMaxMs = 600_000;

/** Runs `call`; if the service answers 429, waits as long as it says and tries again. */
export async function patiently<Answer>(
  call: () => Promise<Answer>,
  wait: (ms: number) => Promise<unknown> = delay,
): Promise<Answer> {
  let waited = 0;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof AdminProblem) || error.status !== 429) throw error;
      const ms = 1000 * Math.max(1, error.retryAfterSeconds ?? 1);
      waited += ms;
      if (waited > waitMaxMs) throw error;
      await wait(ms);
    }
  }
}
