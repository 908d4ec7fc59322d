import { AsyncLocalStorage } from "node:async_hooks";

const runs = new AsyncLocalStorage<true>();

/** Ends a dry run where the real one would begin to write: all checks before that have passed. */
class WouldWrite extends Error {
  override readonly name = "WouldWrite";
}

/** Whether this is a dry run. */
export function isDryRun(): boolean {
  return runs.getStore() === true;
}

/** Called before anything is written; does not return in a dry run. */
export function beforeWriting(): void {
  if (isDryRun()) throw new WouldWrite();
}

/** Runs a handler up to its first write; rejects with the refusal of the real run. */
export async function dryRun(work: () => Promise<unknown>): Promise<{ readonly dryRun: true }> {
  try {
    await runs.run(true, work);
  } catch (error) {
    if (!(error instanceof WouldWrite)) throw error;
  }
  return { dryRun: true };
}
