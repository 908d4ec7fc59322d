import { monthOf } from "@holdfast/engine";

/** The ages, each with its upper limit in months since the month of the Initial Date. */
const bounds = [
  ["below1month", 1],
  ["below3months", 3],
  ["below12months", 12],
  ["below24months", 24],
  ["older", Number.POSITIVE_INFINITY],
] as const;

/** How many objects have each age, ages without objects included; `months` is that of `InstanceCounts`. */
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
