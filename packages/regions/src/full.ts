import { type OwnStore, StoreUnavailable } from "@holdfast/engine";
import { failureIn } from "./waiting.ts";

/** Whether a store refused since it has no room; then it wrote nothing. */
export function isFull(error: unknown): error is StoreUnavailable {
  return error instanceof StoreUnavailable && error.failure === "full";
}

/**
 * Writes what another region has into the own store. Where that has no room for it, it lacks something: no node takes it
 * for level any more, before whoever waits for this is told.
 */
export async function losingLevel<Result>(
  own: Pick<OwnStore, "loseLevel">,
  write: () => Promise<Result>,
): Promise<Result> {
  try {
    return await write();
  } catch (error) {
    if (isFull(error)) await own.loseLevel().catch(failureIn);
    throw error;
  }
}
