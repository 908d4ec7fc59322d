import { type HistoryOptions, type HistoryResult, runHistory } from "./history.ts";

/** The number of histories of the unchanged product that `history.test.ts` runs, from seed 1 on. */
export const histories = 150;

/** The first history from `first` to `last` that breaks a promise; `undefined` if none does. */
export async function firstFailure(
  options: HistoryOptions,
  last: number,
  first = 1,
): Promise<HistoryResult | undefined> {
  for (let seed = first; seed <= last; seed += 1) {
    const result = await runHistory(seed, options);
    if (result.failure !== undefined) return result;
  }
  return undefined;
}

/** What a test prints of a history that broke a promise. */
export function told(result: HistoryResult | undefined): string {
  if (result === undefined) return "nothing was found";
  return `seed ${result.seed}: ${String(result.failure)}\n${result.lines.slice(-60).join("\n")}`;
}
