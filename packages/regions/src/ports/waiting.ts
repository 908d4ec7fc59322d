import { type Ids, StoreUnavailable, type Timers } from "@holdfast/engine";

/** Waits a random time between half of `ms` and all of it, so that contenders do not meet again. */
export function jittered(timers: Timers, ids: Ids, ms: number): Promise<void> {
  const [chance = 0] = ids.randomBytes(1);
  return timers.sleep(ms * (0.5 + chance / 512));
}

/** Whether a failure is about one record, which may never be readable again. */
export function isOfOneRecord({ failure }: StoreUnavailable): boolean {
  return failure === "corrupt" || failure === "unknownFormat";
}

/** Why a store did not answer; rethrows anything else, which is a bug. */
export function failureIn(error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  throw error;
}
