import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { writeHistory } from "../linearizability/history-file.ts";
import { type Judgement, judge } from "../linearizability/judge.ts";
import { createKey, keyBytes } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { type RegionName, startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell, caughtUp } from "../support/vitals.ts";
import { checkAll, lookAt } from "./check.ts";
import { Clients, digestOf, endpointsOf } from "./clients.ts";
import { Duels } from "./duels.ts";
import { Edits } from "./edits.ts";
import { type FaultContext, makers, primaryOf, revive } from "./faults.ts";
import { Gaps, longest, longestByFault, type Made } from "./gaps.ts";
import { type Entry, History } from "./history.ts";
import { Monitor } from "./monitor.ts";
import type { ChaosOptions } from "./options.ts";
import { PacketFilter } from "./packet-filter.ts";
import { type FaultKind, faultKinds, type PlannedFault, planOf, type Step } from "./plan.ts";
import { Probes } from "./probes.ts";
import { type ChaosReport, countViolations } from "./report.ts";
import { differences } from "./same-stores.ts";
import { readAt, Workload } from "./workload.ts";

const instance = "vcenter";
const patience = { connectTimeoutMs: 2_000, requestTimeoutMs: 5_000 };
const recoveryMaxMs = 90_000;
/** Leaders end what nobody ends any more, and look at the rest again. */
const sameMaxMs = 60_000;
const textsMax = 100;
/** Keys at the same time that clients of both regions fight for. */
const duels = 2;
/** By then the metrics of every node were read again, also of one that is silent. */
const suspicionMs = 7_000;
/** As much of a violation's text as names the object. */
const namedLength = 44;

/** Runs faults against two regions under load and reports what clients saw. */
export async function runChaos(
  options: ChaosOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<ChaosReport> {
  await using stack = new AsyncDisposableStack();
  const filter = stack.use(new PacketFilter());
  const kinds = kindsOf(options, missingOf(options, filter));
  const both = stack.use(await startCluster(options, filter));
  const run = new Run(options, both, filter, kinds, say, stopped);
  stack.defer(() => run.end());
  return await run.run();
}

async function startCluster(options: ChaosOptions, filter: PacketFilter): Promise<TwoRegions> {
  const { wanMs, replicas = 1 } = options;
  const shape = { instances: [instance], replicas, sentinels: 3, lockMasters: 1 };
  const both = await startTwoRegions({ ...shape, wanMs, unstarted: true });
  for (const [at, node] of both.nodes.entries()) node.groupId = filter.groupOf(at);
  try {
    await Promise.all(both.nodes.map((node) => node.start()));
    await allWell(both);
    return both;
  } catch (error) {
    await both[Symbol.asyncDispose]();
    throw error;
  }
}

/** The kinds of faults that this machine cannot make, and why: what it lacks. */
function missingOf(
  { other }: ChaosOptions,
  { missing }: PacketFilter,
): Partial<Readonly<Record<FaultKind, string>>> {
  return {
    ...(missing !== undefined && { partition: missing }),
    ...(!existsSync("/usr/bin/prlimit") && { "full-disk": "needs prlimit" }),
    ...(other === undefined && { "replace-node": "needs --other" }),
  };
}

/** The kinds that are made; throws if this machine cannot make any that was asked for. */
function kindsOf(
  { only }: ChaosOptions,
  missing: Partial<Readonly<Record<FaultKind, string>>>,
): readonly FaultKind[] {
  const all = Object.keys(faultKinds) as FaultKind[];
  const asked = only.length === 0 ? all : all.filter((kind) => only.includes(kind));
  const able = asked.filter((kind) => !(kind in missing));
  if (able.length > 0) return able;
  const why = asked.map((kind) => `${kind} ${missing[kind]}`).join(", ");
  throw new RangeError(`--only leaves no fault that this machine can make: ${why}`);
}

/** One run and its state. */
class Run {
  readonly #options: ChaosOptions;
  readonly #both: TwoRegions;
  readonly #filter: PacketFilter;
  readonly #kinds: readonly FaultKind[];
  readonly #say: (line: string) => void;
  readonly #stopped: AbortSignal;
  readonly #history = new History();
  readonly #gaps = new Gaps();
  readonly #monitor: Monitor;
  readonly #clients: Clients;
  readonly #made: Made[] = [];
  /** Kinds of the faults that were made alone and took no effect. */
  readonly #idle: FaultKind[] = [];
  readonly #recoveries = new Map<string, number[]>();
  readonly #delay = monitorEventLoopDelay({ resolution: 5 });
  readonly #afterwards: { readonly what: string; readonly check: () => Promise<boolean> }[] = [];
  #workload: Workload | undefined;
  #edits: Edits | undefined;
  #duels: Duels | undefined;
  #probes: Probes | undefined;
  #steps = 0;
  #bailed = false;

  constructor(
    options: ChaosOptions,
    both: TwoRegions,
    filter: PacketFilter,
    kinds: readonly FaultKind[],
    say: (line: string) => void,
    stopped: AbortSignal,
  ) {
    this.#options = options;
    this.#both = both;
    this.#filter = filter;
    this.#kinds = kinds;
    this.#say = say;
    this.#stopped = stopped;
    this.#monitor = new Monitor(both);
    this.#clients = new Clients(endpointsOf(both, instance), this.#history, patience);
  }

  async run(): Promise<ChaosReport> {
    const { seed, minutes, workers, atLeast = { steps: 0, shared: 0 } } = this.#options;
    const known = await this.#firstKey();
    this.#workload = new Workload(this.#clients, this.#history, workers, seed);
    const edits = { count: this.#options.clients ?? 4, seed, restMs: this.#options.restMs ?? 40 };
    this.#edits = new Edits(this.#clients, this.#history, this.#workload, edits);
    this.#duels = new Duels(this.#clients, this.#history, { count: duels, seed });
    this.#probes = new Probes(this.#clients, this.#history, this.#gaps, known, 2);
    await sleep(3_000);
    this.#gaps.all.length = 0;
    this.#delay.enable();
    const untilMs = performance.now() + minutes * 60_000;
    for (const step of planOf(seed, this.#kinds)) {
      await this.#step(step);
      this.#bailed = await this.#isBroken();
      const done = performance.now() > untilMs && this.#steps >= atLeast.steps;
      if (done || this.#stopped.aborted || this.#gaveUp || this.#bailed) break;
    }
    await until("changes acknowledged by both regions", () => {
      const { shared } = this.#history.acknowledged(this.#monitor.circumstances);
      return shared >= atLeast.shared || this.#stopped.aborted || this.#gaveUp || `${shared}`;
    });
    this.#delay.disable();
    await this.end();
    await this.#converge("in the end");
    await this.#compare();
    this.#say(`reading ${this.#history.entries.size} objects at every endpoint`);
    await checkAll(this.#clients.endpoints, this.#history);
    return await this.#report();
  }

  /** From then on both regions must show every change that was acknowledged by now. */
  async #converge(when: string): Promise<void> {
    if (this.#gaveUp || this.#bailed) return;
    const sinceMs = performance.now();
    try {
      await caughtUp(this.#both, recoveryMaxMs);
      this.#history.recorder.converged(sinceMs);
    } catch (error) {
      this.#history.violation("notRecovered", `${when}: ${(error as Error).message}`);
    }
  }

  /** Nothing is under way any more, and no read has repaired anything: the stores have the same records. */
  async #compare(): Promise<void> {
    if (this.#gaveUp || this.#bailed) return;
    const { a, b } = this.#both;
    const [one, other] = await Promise.all([primaryOf(a), primaryOf(b)]);
    try {
      const check = async (): Promise<boolean | string> => {
        const found = await differences(one, other);
        return found.length === 0 || found.join("; ");
      };
      await until("the same records in both stores", check, sameMaxMs);
    } catch (error) {
      this.#history.violation("storesDiffer", (error as Error).message);
    }
  }

  /** Ends load, probes and monitor. */
  async end(): Promise<void> {
    const load = [this.#probes, this.#duels, this.#edits, this.#workload];
    await Promise.all(load.map(async (one) => await one?.stop()));
    await this.#clients[Symbol.asyncDispose]();
    await this.#monitor[Symbol.asyncDispose]();
  }

  get #gaveUp(): boolean {
    return this.#history.count("notRecovered") > 0;
  }

  /** Whether a promise is broken, if that ends the run. */
  async #isBroken(): Promise<boolean> {
    if (this.#options.bail !== true) return false;
    const suspected = new Set(this.#suspicions());
    if (suspected.size === 0) return false;
    // The circumstances of an answer are known only a while later.
    await sleep(suspicionMs);
    return this.#suspicions().some((each) => suspected.has(each));
  }

  /** What seems to be broken by now; an object is named first. */
  #suspicions(): readonly string[] {
    const { circumstances } = this.#monitor;
    const { recorder } = this.#history;
    const told = this.#history.judge(circumstances).map(({ text }) => text);
    const { violations } = judge(recorder.history(circumstances, this.#clients.knownMs));
    return [...told, ...violations].map((text) => text.slice(0, namedLength));
  }

  /** The key that probes read. */
  async #firstKey(): Promise<Entry> {
    const [endpoint] = this.#clients.endpoints;
    if (endpoint === undefined) throw new RangeError("no endpoint");
    const made = await this.#clients.plain("Create", endpoint, async (client) => {
      const id = await createKey(client);
      return { id, bytes: await keyBytes(client, id) };
    });
    if (made.kind !== "done") throw new Error("the first key could not be made");
    const entry = this.#history.created(made.answer.id, made.moment);
    entry.bytes = digestOf(made.answer.bytes);
    const { recorder } = this.#history;
    const { id, bytes } = made.answer;
    recorder.outcome("first", id, { operation: "Create" }, made);
    recorder.got("first", id, { ...made, answer: bytes });
    return entry;
  }

  /** Makes the faults of a step, ends them, and waits until all is healthy. */
  async #step(step: Step): Promise<void> {
    this.#steps += 1;
    const fromMs = performance.now();
    const names = step.faults.map(({ kind, region }) => `${kind} ${region}`);
    this.#say(`step ${this.#steps}: ${names.join(", ")}`);
    if (step.faults.some(({ kind }) => kind === "flush")) await caughtUp(this.#both);
    for (const { kind, region } of step.faults) {
      this.#monitor.disturb(region, kind === "full-memory" || kind === "full-disk");
    }
    const took = await Promise.all(step.faults.map((fault) => this.#makeAndMend(fault)));
    const mendedMs = performance.now();
    await this.#recover(step, mendedMs);
    const recoveredMs = performance.now();
    this.#monitor.settle(recoveredMs);
    const single = step.faults.length === 1;
    for (const [at, { kind }] of step.faults.entries()) {
      if (took[at] !== true) {
        this.#say(`  ${kind} took no effect`);
        if (single) this.#idle.push(kind);
        continue;
      }
      this.#made.push({ kind, single, fromMs, recoveredMs });
      const times = this.#recoveries.get(kind) ?? [];
      times.push(Math.round(recoveredMs - mendedMs));
      this.#recoveries.set(kind, times);
    }
    const within = longest(this.#gaps.all, (gap) => gap.toMs >= fromMs);
    this.#say(
      `  healthy again ${Math.round(recoveredMs - mendedMs)} ms after the faults ended; longest gap: write ${within.writeMs} ms, read ${within.readMs} ms`,
    );
    await this.#converge(names.join(", "));
    const changed = this.#history.recorder.changedSince(fromMs);
    const entries = [...this.#history.entries.values()].filter(({ id }) => changed.has(id));
    await lookAt(this.#clients.endpoints, this.#history, entries);
    await sleep(step.calmMs);
  }

  /** Whether it took effect. */
  async #makeAndMend(fault: PlannedFault): Promise<boolean> {
    const { kind, region, atMs, forMs } = fault;
    await sleep(atMs);
    let took = true;
    const idle = (): void => {
      took = false;
    };
    try {
      const mend = await makers[kind](fault, this.#both.region(region), this.#context(idle));
      await sleep(kind === "depose-redis" || kind === "reset-links" ? 0 : forMs);
      await mend();
    } catch (error) {
      // The run ends, and its history is judged and written all the same.
      this.#history.violation("notRecovered", `${kind} ${region}: ${(error as Error).message}`);
    }
    return took;
  }

  async #recover(step: Step, sinceMs: number): Promise<void> {
    try {
      await revive(this.#both);
      const supervise = setInterval(() => void revive(this.#both).catch(() => undefined), 1_000);
      try {
        await allWell(this.#both, recoveryMaxMs);
        for (const { what, check } of this.#afterwards.splice(0)) {
          await until(what, check, recoveryMaxMs);
        }
      } finally {
        clearInterval(supervise);
      }
    } catch (error) {
      const what = step.faults.map(({ kind, region }) => `${kind} ${region}`).join(", ");
      const ms = Math.round(performance.now() - sinceMs);
      this.#history.violation("notRecovered", `${what}: ${(error as Error).message} (${ms} ms)`);
    }
  }

  #context(idle: () => void): FaultContext {
    return {
      both: this.#both,
      filter: this.#filter,
      wanMs: this.#options.wanMs,
      other: this.#options.other,
      anyObject: (dice) => this.#workload?.any(dice)?.id,
      readAt: (region, id) => this.#readAt(region, id),
      afterwards: (what, check) => this.#afterwards.push({ what, check }),
      died: (node: NodeProcess) => this.#monitor.died(node.name),
      emptied: (region) => this.#monitor.emptied(region),
      isolated: (name, isolated) => this.#monitor.isolate(name, isolated),
      idle,
      stopped: this.#stopped,
    };
  }

  async #readAt(region: RegionName, id: string): Promise<void> {
    const entry = this.#history.entries.get(id);
    if (entry === undefined) return;
    const endpoints = this.#clients.endpoints.filter((one) => one.region === region);
    await Promise.all(
      endpoints.map((endpoint) => {
        const asker = { client: `looker at ${endpoint.node}`, endpoint };
        return readAt(this.#clients, this.#history, entry, asker);
      }),
    );
  }

  /** Whether some order explains all answers. */
  async #linearizability(): Promise<Judgement> {
    const history = this.#history.recorder.history(this.#monitor.circumstances);
    if (this.#options.history !== undefined) await writeHistory(this.#options.history, history);
    const judgement = judge(history);
    for (const text of judgement.violations) this.#history.violation("notLinearizable", text);
    for (const text of judgement.undecided) this.#history.violation("undecided", text);
    return judgement;
  }

  async #report(): Promise<ChaosReport> {
    const { seed, minutes, wanMs } = this.#options;
    const circumstances = this.#monitor.circumstances;
    const { shared, alone } = this.#history.acknowledged(circumstances);
    const { objects, operations } = await this.#linearizability();
    const violations = this.#history.judge(circumstances);
    const gaps = this.#gaps.all;
    return {
      format: 1,
      seed,
      minutes,
      wanMs,
      steps: this.#steps,
      faults: countBy(this.#made.map(({ kind }) => kind)),
      idle: countBy(this.#idle),
      notAvailable: missingOf(this.#options, this.#filter),
      objects: this.#history.entries.size,
      operations: Object.fromEntries([...this.#clients.operations].sort()),
      acknowledgedShared: shared,
      acknowledgedAlone: alone,
      linearizability: { objects, operations },
      aloneRecords: this.#monitor.aloneRecords,
      violations: countViolations(violations),
      violationTexts: violations.slice(0, textsMax).map(({ kind, text }) => `${kind}: ${text}`),
      longestGap: longest(gaps),
      longestGapByFault: longestByFault(gaps, this.#made),
      recoveryMs: Object.fromEntries(
        [...this.#recoveries].map(([kind, times]) => [kind, summaryOf(times)]),
      ),
      stallMs: Math.round(this.#delay.max / 1e6),
      loadAverage: loadavg()[0] ?? 0,
    };
  }
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function summaryOf(times: readonly number[]): { longest: number; median: number } {
  const sorted = [...times].sort((a, b) => a - b);
  return { longest: sorted.at(-1) ?? 0, median: sorted[Math.floor(sorted.length / 2)] ?? 0 };
}
