import { type Ids, StoreUnavailable, type Timers } from "@holdfast/engine";

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
