import { monthOf } from "@holdfast/engine";

/** Below how many months since the month of its Initial Date an object has which age. */
const bounds = [
  ["below1month", 1],
  ["below3months", 3],
  ["below12months", 12],
  ["below24months", 24],
  ["older", Number.POSITIVE_INFINITY],
] as const;

/** How many objects are of which age, every age included; `months` is that of `InstanceCounts`. */
export function ages(
  months: ReadonlyMap<number, number>,
  nowMs: number,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>(bounds.map(([age]) => [age, 0]));
  const now = monthOf(nowMs);
  for (const [month, count] of months) {
    const [age] = bounds.find(([, below]) => now - month < below) ?? bounds[4];
    counts.set(age, (counts.get(age) ?? 0) + count);
  }
  return counts;
}
