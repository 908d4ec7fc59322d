import { type StoreFailure, StoreUnavailable, type Timers } from "@holdfast/engine";

/** What passes: a lease that lapsed under load, a fail-over. */
const passing: ReadonlySet<StoreFailure> = new Set([
  "noLease",
  "timeout",
  "barrierShort",
  "peerUnreachable",
  "reserved",
]);
const patienceMs = 60_000;
const pauseMs = 250;

/** Does again what a store refuses for a moment: long work must not end by it. Only for what may be done twice. */
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
