import { type StoreFailure, StoreUnavailable, type Timers } from "@holdfast/engine";

/** Temporary failures: a lease that lapsed under load, a fail-over. */
const passing: ReadonlySet<StoreFailure> = new Set([
  "noLease",
  "keyClosed",
  "timeout",
  "barrierShort",
  "peerUnreachable",
  "reserved",
]);
const patienceMs = 60_000;
const pauseMs = 250;

/**
 * Repeats work that a store refuses temporarily, so that a long operation does not fail. Only for
 * work that may be done twice.
 */
export async function patiently<Value>(
  { monotonicMs, sleep }: Pick<Timers, "monotonicMs" | "sleep">,
  work: () => Promise<Value>,
  signal?: AbortSignal,
): Promise<Value> {
  const untilMs = monotonicMs() + patienceMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const passes = error instanceof StoreUnavailable && passing.has(error.failure);
      if (!passes || monotonicMs() >= untilMs) throw error;
    }
    await sleep(pauseMs, signal);
  }
}
