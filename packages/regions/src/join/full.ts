import { type CommitOutcome, type LeaderStore, StoreUnavailable } from "@holdfast/engine";
import type { Peer } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";

/** Whether a store refused since it has no room; then it wrote nothing. */
export function isFull(error: unknown): error is StoreUnavailable {
  return error instanceof StoreUnavailable && error.failure === "full";
}

/**
 * Writes another region's data into the own store. A store without room then lacks something: it
 * stops counting as level, for every node, before the caller gets its answer.
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
 * A change that another region makes since the own store has no room: then that store is no longer level. The push that
 * would tell it so may be lost.
 */
export function madeElsewhere(
  own: Pick<LeaderStore, "loseLevel">,
  make: (peer: Peer) => Promise<CommitOutcome>,
): (peer: Peer) => Promise<CommitOutcome> {
  return async (peer) => {
    const outcome = await make(peer);
    if (outcome.kind === "committed") await own.loseLevel().catch(failureIn);
    return outcome;
  };
}

/**
 * Lets another region with room do the work, where the own store has no room and wrote nothing. If
 * the own store cannot take the result, it is no longer level; this node sees that before the
 * client gets its answer.
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
