import { isViolation } from "./checker.ts";
import { firstSeedOf, focusOf } from "./flaw-focus.ts";
import type { Flaw } from "./flaws.ts";
import { type HistoryOptions, type HistoryResult, runHistory } from "./history.ts";

/** The timeout, for a machine that is busy with other work. */
export const longMs = 900_000;
/** Every planted fault must show within so many histories. */
const faultyMax = 400;
/** At most so many histories are played with the unchanged product too, besides the one that shows a flaw. */
const soundMax = 8;
/** Up to which seed the unchanged product breaks no promise, by the kind of fault that its histories have. */
const soundTo = new Map<string | undefined, number>();

/** How the unchanged product breaks a promise in the histories from seed 1 to `last`; empty if it does not. */
export async function brokenPromise(focus: string | undefined, last: number): Promise<string> {
  const already = soundTo.get(focus) ?? 0;
  const failed = await firstFailure({ focus }, already + 1, last);
  if (failed !== undefined) return told(failed);
  soundTo.set(focus, Math.max(already, last));
  return "";
}

/** Why a planted fault does not count as found; empty if it breaks a promise where the unchanged product breaks none. */
export async function missedFlaw(flaw: Flaw): Promise<string> {
  const focus = focusOf[flaw];
  const first = firstSeedOf[flaw] ?? 1;
  const found =
    (await firstFailure({ flaw, focus }, first)) ??
    (await firstFailure({ flaw, focus }, 1, first - 1));
  if (found === undefined) return `not found in ${faultyMax} histories`;
  // An error of another kind says nothing of the promises.
  if (!isViolation(found.failure)) return told(found);
  process.stdout.write(`found "${flaw}" at seed ${found.seed}: ${String(found.failure)}\n`);
  const same = await runHistory(found.seed, { focus });
  if (same.failure !== undefined) return told(same);
  return await brokenPromise(focus, Math.min(found.seed, soundMax));
}

/** The first history from seed `first` to seed `last` that breaks a promise, if any does. */
export async function firstFailure(
  options: HistoryOptions,
  first = 1,
  last = faultyMax,
): Promise<HistoryResult | undefined> {
  for (let seed = first; seed <= last; seed += 1) {
    const result = await runHistory(seed, options);
    if (result.failure !== undefined) return result;
  }
  return undefined;
}

function told({ seed, failure, lines }: HistoryResult): string {
  return `seed ${seed}: ${String(failure)}\n${lines.slice(-60).join("\n")}`;
}
