import { type Ids, StoreUnavailable } from "@holdfast/engine";
import type { Timers } from "./ports.ts";

/** What a wait came to when its time was over first. */
export const late: unique symbol = Symbol("late");

/** What `work` comes to, or `late` where it takes longer than `ms`; what is not waited for any longer goes on. */
export async function within<Result>(
  timers: Timers,
  ms: number,
  work: Promise<Result>,
): Promise<Result | typeof late> {
  const over = new AbortController();
  try {
    const isLate = (): typeof late => late;
    const expired = timers.sleep(ms, over.signal).then(isLate, isLate);
    return await Promise.race([work, expired]);
  } finally {
    over.abort();
  }
}

/** Waits between half of `ms` and all of it, so that contenders part. */
export function jittered(timers: Timers, ids: Ids, ms: number): Promise<void> {
  const [chance = 0] = ids.randomBytes(1);
  return timers.sleep(ms * (0.5 + chance / 512));
}

/** Why a store did not answer; anything else is a fault of ours and thrown on. */
export function failureIn(error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  throw error;
}
