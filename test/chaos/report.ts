import { refusals } from "./clients.ts";
import type { Longest } from "./gaps.ts";
import { type Violation, type ViolationKind, violationKinds } from "./history.ts";
import { type FaultKind, faultKinds } from "./plan.ts";

/** The result of a run, as JSON. */
export interface ChaosReport {
  readonly format: 1;
  readonly seed: number;
  readonly minutes: number;
  readonly wanMs: number;
  readonly steps: number;
  /** The number of faults that took effect, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** Faults that were made alone and took no effect, by kind; they are not in `faults`. */
  readonly idle: Readonly<Record<string, number>>;
  /** Kinds that this machine cannot make, with the reason. */
  readonly notAvailable: Readonly<Record<string, string>>;
  readonly objects: number;
  /** Requests of clients by operation and result. */
  readonly operations: Readonly<Record<string, number>>;
  readonly acknowledgedShared: number;
  /** An upper bound: changes for which it is not certain that both regions acknowledged them. */
  readonly acknowledgedAlone: number;
  /** What was checked for an order that explains all answers. */
  readonly linearizability: { readonly objects: number; readonly operations: number };
  /** Records that the nodes counted as acknowledged by one region alone. */
  readonly aloneRecords: number;
  /** Broken promises; every one must be 0. */
  readonly violations: Readonly<Record<ViolationKind, number>>;
  /** The first hundred violations, one line each. */
  readonly violationTexts: readonly string[];
  readonly longestGap: Longest;
  /** Only of faults that were made alone. */
  readonly longestGapByFault: Readonly<Record<string, Longest>>;
  /** From the end of a step's faults until every endpoint reads and writes from its own store. */
  readonly recoveryMs: Readonly<
    Record<string, { readonly longest: number; readonly median: number }>
  >;
  /** The longest time in which this program itself did not run; it may cause gaps that long. */
  readonly stallMs: number;
  readonly loadAverage: number;
}

/** The longest gaps that a single fault may cause, in milliseconds. */
const gapBounds: Readonly<Partial<Record<FaultKind, number>>> = {
  "kill-node": 1_000,
  "kill-redis": 1_000,
  "kill-region": 3_000,
};

/** Counts violations by kind. */
export function countViolations(
  violations: readonly Violation[],
): Readonly<Record<ViolationKind, number>> {
  const count = (kind: ViolationKind) => violations.filter((one) => one.kind === kind).length;
  const entries = violationKinds.map((kind) => [kind, count(kind)] as const);
  return Object.fromEntries(entries) as Record<ViolationKind, number>;
}

/** A line for each kind of broken promise. */
export function violationsOf({ violations }: ChaosReport): readonly string[] {
  return violationKinds
    .filter((kind) => violations[kind] > 0)
    .map((kind) => `${kind}: ${violations[kind]}`);
}

/** A line for each result that fails the run. */
export function faultsOf(report: ChaosReport): readonly string[] {
  const slow = Object.entries(gapBounds).flatMap(([kind, boundMs]) => {
    const gap = report.longestGapByFault[kind];
    if (gap === undefined) return [];
    const longestMs = Math.max(gap.writeMs, gap.readMs);
    return longestMs > boundMs
      ? [`gap of ${longestMs} ms for ${textOf(kind)}, where ${boundMs} ms are allowed`]
      : [];
  });
  return [...violationsOf(report), ...slow];
}

/** So many requests of one kind do not all fail by chance. */
const triesMin = 10;
/** No fault and no recovery takes so long. */
const outageMs = 120_000;

/** A line for each reason for which the run proves less than it seems to: what was not done cannot have gone wrong. */
export function unprovenOf(report: ChaosReport): readonly string[] {
  const { acknowledgedShared, faults, idle, longestGap, operations } = report;
  const tried = new Map<string, { tries: number; done: number }>();
  for (const [text, count] of Object.entries(operations)) {
    const at = text.lastIndexOf(" ");
    const name = text.slice(0, at);
    const { tries, done } = tried.get(name) ?? { tries: 0, done: 0 };
    const result = text.slice(at + 1);
    const isDone = result === "Success" || refusals.has(result);
    tried.set(name, { tries: tries + count, done: done + (isDone ? count : 0) });
  }
  const gapMs = Math.max(longestGap.writeMs, longestGap.readMs);
  return [
    ...(acknowledgedShared === 0 ? ["nothing was acknowledged by both regions"] : []),
    ...(Object.keys(faults).length === 0 ? ["no fault took effect"] : []),
    ...Object.keys(idle)
      .filter((kind) => !(kind in faults))
      .map((kind) => `this fault never took effect: ${textOf(kind)}`),
    ...[...tried]
      .filter(([, { tries, done }]) => tries >= triesMin && done === 0)
      .map(([name, { tries }]) => `none of ${tries} × ${name} got a result`),
    ...(gapMs > outageMs ? [`a client had no success for ${gapMs} ms`] : []),
  ];
}

/** The report as lines of text. */
export function reportLines(report: ChaosReport): readonly string[] {
  const { longestGap, faults, longestGapByFault, recoveryMs } = report;
  const operations = Object.entries(report.operations).map(([name, count]) => `${count} × ${name}`);
  const gaps = (gap: Longest | undefined) =>
    gap === undefined ? "–" : `write ${gap.writeMs} ms, read ${gap.readMs} ms`;
  return [
    `${report.steps} steps, ${report.objects} objects; acknowledged by both regions ${report.acknowledgedShared}, perhaps by one alone ${report.acknowledgedAlone}; records that the nodes counted as alone ${report.aloneRecords}`,
    `operations: ${operations.join("; ")}`,
    `looked for an order of ${report.linearizability.operations} operations on ${report.linearizability.objects} objects; not linearizable ${report.violations.notLinearizable}, undecided ${report.violations.undecided}`,
    `longest gap: ${gaps(longestGap)}; this program itself did not run for ${report.stallMs} ms`,
    ...Object.entries(faults).map(([kind, count]) => {
      const recovery = recoveryMs[kind];
      const recovered =
        recovery === undefined
          ? ""
          : `; recovered after ${recovery.median} ms, at most ${recovery.longest} ms`;
      return `${count} × ${textOf(kind)}: longest gap ${gaps(longestGapByFault[kind])}${recovered}`;
    }),
    ...Object.entries(report.idle).map(
      ([kind, count]) => `without effect: ${count} × ${textOf(kind)}`,
    ),
    ...Object.entries(report.notAvailable).map(
      ([kind, why]) => `not made: ${textOf(kind)}: ${why}`,
    ),
    ...report.violationTexts,
  ];
}

function textOf(kind: string): string {
  return kind in faultKinds ? faultKinds[kind as FaultKind].text : kind;
}
