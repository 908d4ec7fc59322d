import { setTimeout as delay } from "node:timers/promises";
import { AdminProblem } from "@holdfast/admin";

/** How long a command waits altogether for a service that says "too many", before it gives up. */
const waitMaxMs = 600_000;

/** Carries `call` out; where the service answers 429, waits as long as it says and asks again. */
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
