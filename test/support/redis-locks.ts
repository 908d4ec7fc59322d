import { randomUUID } from "node:crypto";
import type { Locks } from "@holdfast/engine";
import { until } from "@holdfast/testing";

/** A lock master may be as slow as a busy machine makes it, and no lock ends before its holder does. */
export const patientLocks = { commandTimeoutMs: 5_000, lockMs: 300_000 };

/** Opening waits for lock masters for a bounded time: waits until they give locks, and forgets what was tried. */
export async function connected(locks: Locks, results: string[]): Promise<void> {
  await until("the lock masters are connected", async () => {
    results.length = 0;
    await locks.withLock(randomUUID(), async () => undefined);
    return results.join() === "acquired";
  });
  results.length = 0;
}
