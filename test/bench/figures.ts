import type { LoadResult } from "./load-plan.ts";
import type { Side } from "./sides.ts";
import { Histogram, median, pairedRatio } from "./statistics.ts";

/** One kind of load at one number of connections, on every side. */
export interface LoadFigures {
  /** The name for `--only`. */
  readonly name: string;
  readonly title: string;
  readonly connections: number;
  /** The rounds of each side that ran, in order. */
  readonly sides: Readonly<Partial<Record<Side["name"], readonly LoadResult[]>>>;
}

/** Operations per second, round by round. */
function rates(rounds: readonly LoadResult[] | undefined): number[] {
  return (rounds ?? []).map(({ operations, seconds }) => operations / seconds);
}

/** The median of the rounds. */
export function rate(rounds: readonly LoadResult[] | undefined): number | undefined {
  return median(rates(rounds));
}

/** Microseconds of processor time per operation, over all rounds. */
export function cpuUs(
  rounds: readonly LoadResult[] | undefined,
  process: string,
): number | undefined {
  const operations = sum(rounds, (round) => round.operations);
  const seconds = sum(rounds, (round) => round.cpuSeconds[process] ?? Number.NaN);
  return operations === 0 || Number.isNaN(seconds) ? undefined : (seconds / operations) * 1e6;
}

/** Microseconds of the load generator's processor time per operation. */
export function loadCpuUs(rounds: readonly LoadResult[] | undefined): number | undefined {
  const operations = sum(rounds, (round) => round.operations);
  const seconds = sum(rounds, (round) => round.loadCpuSeconds);
  return operations === 0 ? undefined : (seconds / operations) * 1e6;
}

/** The latency in milliseconds that `share` of all operations did not exceed. */
export function latencyMs(
  rounds: readonly LoadResult[] | undefined,
  share: number,
): number | undefined {
  const all = new Histogram();
  for (const { histogram } of rounds ?? []) all.merge(Histogram.of(histogram));
  const us = all.percentile(share);
  return us === undefined ? undefined : us / 1000;
}

export function failures(rounds: readonly LoadResult[] | undefined): number {
  return sum(rounds, (round) => round.failures);
}

/** Holdfast's operations per second divided by another side's, paired round by round. */
export function rateRatio(
  figures: LoadFigures | undefined,
  other: Side["name"],
): number | undefined {
  return pairedRatio(rates(figures?.sides.holdfast), rates(figures?.sides[other]));
}

/** Processor time per operation of Holdfast's node, divided by that of another side's server. */
export function cpuRatio(
  figures: LoadFigures | undefined,
  other: Side["name"],
): number | undefined {
  const [ours, theirs] = [
    cpuUs(figures?.sides.holdfast, "server"),
    cpuUs(figures?.sides[other], "server"),
  ];
  return ours === undefined || theirs === undefined || theirs === 0 ? undefined : ours / theirs;
}

function sum(
  rounds: readonly LoadResult[] | undefined,
  pick: (round: LoadResult) => number,
): number {
  return (rounds ?? []).reduce((total, round) => total + pick(round), 0);
}
