import { type LeaderStore, StoreUnavailable } from "@holdfast/engine";
import type { Peer } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";

/** Whether a store refused since it has no room; then it wrote nothing. */
export function isFull(error: unknown): error is StoreUnavailable {
  return error instanceof StoreUnavailable && error.failure === "full";
}

/**
 * Writes what another region has into the own store. Where the store has no room, it lacks something: no node takes it
 * for level any more, before the caller gets its answer.
 */
export async function losingLevel<Result>(
  own: Pick<LeaderStore, "loseLevel">,
  write: () => Promise<Result>,
): Promise<Result> {
  try {
    return await write();
  } catch (error) {
    if (isFull(error)) await own.loseLevel().catch(failureIn);
    throw error;
  }
}

/**
 * The own store has no room, and wrote nothing: another region that has room does the work. What this one cannot take of
 * it ends its level, which is seen here before the client gets its answer.
 */
export async function doneElsewhere<Result>(
  full: StoreUnavailable,
  peer: Peer | undefined,
  work: (peer: Peer) => Promise<Result>,
  watch: { levelNow(): Promise<void> },
): Promise<Result> {
  if (peer === undefined) throw full;
  try {
    return await work(peer);
  } catch (error) {
    const { failure } = failureIn(error);
    throw failure === "full" || failure === "noLease" ? full : error;
  } finally {
    await watch.levelNow();
  }
}
