import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { revive } from "../chaos/faults.ts";
import { allWell } from "../support/vitals.ts";
import { type Fault, faults } from "./faults.ts";
import { type Arrival, Monitoring } from "./monitoring.ts";
import { type AlertWorld, startAlertWorld } from "./world.ts";

export interface MatrixOptions {
  /** Names of faults; empty means all. */
  readonly only: readonly string[];
  /** The shipped times are divided by this. */
  readonly factor: number;
  /** How long each client rests between its keys. */
  readonly restMs: number;
  /** How many minutes a healthy cluster under load is watched first. */
  readonly healthyMinutes: number;
}

/** An alert that arrived, and after how many seconds. */
interface Came {
  readonly alert: string;
  readonly about: string;
  readonly seconds: number;
}

/** The alerts that one fault raised. */
interface Outcome {
  readonly fault: string;
  readonly text: string;
  readonly boundSeconds: number;
  /** Present where the factor was smaller than in the rest of the report. */
  readonly factor?: number;
  readonly expected: readonly string[];
  readonly came: readonly Came[];
}

export interface MatrixReport {
  readonly format: 1;
  readonly factor: number;
  readonly healthyMinutes: number;
  /** Alerts of the healthy cluster; there must be none. */
  readonly healthy: readonly Came[];
  readonly outcomes: readonly Outcome[];
}

/** An alert that comes after its bound is reported as late: a busy machine may be the reason. */
const patienceS = 300;
/** How long, in shipped seconds, the run then watches for further alerts. */
const settleS = 75;
const isDog = ({ alert }: Arrival) => alert === "HoldfastWatchdog";

/** Makes each fault in a cluster under load, and notes which alerts arrive and when. */
export async function runMatrix(
  options: MatrixOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<MatrixReport> {
  const { only, factor, healthyMinutes, restMs } = options;
  say("starting two regions");
  await using world = await startAlertWorld(restMs);
  const healthy = await watchHealthy(world, options, say, stopped);
  const outcomes: Outcome[] = [];
  for (const fault of faults) {
    if (stopped.aborted) break;
    if (only.length > 0 && !only.includes(fault.name)) continue;
    say(`${fault.name}: ${fault.text}`);
    const outcome = await tryFault(world, fault, factor, stopped);
    outcomes.push(outcome);
    say(outcomeLine(outcome));
  }
  return { format: 1, factor, healthyMinutes, healthy, outcomes };
}

/** An alert and its subject, in the form in which faults list the alerts that they expect. */
function nameOf({ alert, about }: Came): string {
  return `${alert} ${about}`.trim();
}

/** What is wrong with a report; time bounds are checked only if `times` is set. */
export function faultsOf(
  { healthy, outcomes }: MatrixReport,
  { times }: { readonly times: boolean },
): readonly string[] {
  return [
    ...healthy.map(({ alert, about }) => `healthy: ${alert} ${about}`),
    ...outcomes.flatMap(({ fault, expected, came, boundSeconds }) => {
      const names = came.map(nameOf);
      const late = came.filter(({ seconds }) => times && seconds > boundSeconds);
      return [
        ...expected.filter((name) => !names.includes(name)).map((name) => `${fault}: no ${name}`),
        ...names.filter((name) => !expected.includes(name)).map((name) => `${fault}: ${name}`),
        ...late.map(({ alert, seconds }) => `${fault}: ${alert} after ${seconds} s`),
      ];
    }),
  ];
}

async function watchHealthy(
  world: AlertWorld,
  { healthyMinutes, factor }: MatrixOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<readonly Came[]> {
  if (healthyMinutes === 0) return [];
  await using monitoring = await watch(world, factor);
  const sinceMs = performance.now();
  say(`healthy under load for ${healthyMinutes} minutes`);
  await sleep(healthyMinutes * 60_000, undefined, { signal: stopped }).catch(() => undefined);
  const came = arrivalsOf(monitoring, sinceMs);
  say(`  ${came.length === 0 ? "no alert" : came.map(({ alert }) => alert).join(", ")}`);
  return came;
}

async function tryFault(
  world: AlertWorld,
  fault: Fault,
  factorOfAll: number,
  stopped: AbortSignal,
): Promise<Outcome> {
  const factor = Math.min(factorOfAll, fault.factorMax ?? factorOfAll);
  await allWell(world.both);
  await using monitoring = await watch(world, factor);
  await until("no alert", async () => {
    const raised = await monitoring.raised();
    return raised.length === 0 || raised.join(", ");
  });
  const before = new Set(monitoring.arrivals);
  const sinceMs = performance.now();
  const mend = await fault.make(world);
  const untilMs = sinceMs + Math.max(patienceS, fault.boundS) * 1_000;
  const came = () => arrivalsOf(monitoring, sinceMs, before);
  while (performance.now() < untilMs && !stopped.aborted) {
    const names = came().map(nameOf);
    if (fault.alerts.every((name) => names.includes(name))) break;
    await sleep(200);
  }
  await sleep((settleS * 1_000) / factor, undefined, { signal: stopped }).catch(() => undefined);
  const all = came();
  await mend();
  await revive(world.both);
  await allWell(world.both);
  const { name, text, alerts, boundS } = fault;
  const own = factor === factorOfAll ? {} : { factor };
  return { fault: name, text, boundSeconds: boundS, ...own, expected: alerts, came: all };
}

function watch({ both }: AlertWorld, factor: number): Promise<Monitoring> {
  const targets = both.nodes.map((node) => ({ node, region: both.regionOf(node).name }));
  return Monitoring.start(targets, factor);
}

function arrivalsOf(
  { arrivals }: Monitoring,
  sinceMs: number,
  before: ReadonlySet<Arrival> = new Set(),
): readonly Came[] {
  return arrivals
    .filter((one) => !before.has(one) && !isDog(one))
    .map(({ alert, about, atMs }) => ({
      alert,
      about,
      seconds: Math.max(0, Math.round((atMs - sinceMs) / 100) / 10),
    }));
}

/** One line about the alerts that a fault raised. */
function outcomeLine(outcome: Outcome): string {
  const { came } = outcome;
  const wrong = faultsOf(
    { format: 1, factor: 1, healthyMinutes: 0, healthy: [], outcomes: [outcome] },
    { times: true },
  );
  const list = came.map(({ alert, about, seconds }) => `${alert} ${about} ${seconds} s`);
  const said = list.length === 0 ? "no alert" : list.join(", ");
  return `  ${said}${wrong.length === 0 ? "" : `  WRONG: ${wrong.join("; ")}`}`;
}
