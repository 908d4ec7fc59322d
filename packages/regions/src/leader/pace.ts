import type { Timers } from "@holdfast/engine";

/**
 * Lateness of the event loop that clients do not notice, and the longest rest that more of it
 * causes.
 */
const tolerableMs = 5;
const restMaxMs = 25;

/**
 * Lets clients go first: work that fills a store calls it between two batches, and rests for as long as others were kept
 * waiting, measured by the event loop's lateness.
 */
export async function giveWay(timers: Timers): Promise<void> {
  const askedMs = timers.monotonicMs();
  await timers.sleep(0);
  const lateMs = timers.monotonicMs() - askedMs;
  if (lateMs > tolerableMs) await timers.sleep(Math.min(lateMs, restMaxMs));
}

/**
 * Runs `work` for each item, at most `width` at a time; rejects with the first failure when no work
 * runs any more.
 */
export async function forEachLimit<Item>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const item = items[next] as Item;
      next += 1;
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}

/** Parts of at most `size` items. */
export function slices<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const parts: (readonly Item[])[] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}
