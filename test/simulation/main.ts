import { writeFileSync, writeSync } from "node:fs";
import { isViolation } from "./checker.ts";
import { Coverage, coverageLines } from "./coverage.ts";
import { enumerate } from "./enumeration.ts";
import { failureKind } from "./failure-kind.ts";
import { type HistoryResult, runHistory, runPlan } from "./history.ts";
import { BadOption, type Options, parseOptions } from "./options.ts";
import { planLines, planOf, shrunk } from "./plan.ts";
import { plans } from "./plans.ts";
import { storyText } from "./story/story.ts";
import { pageOf } from "./story/write-page.ts";

const say = (text: string): void => void writeSync(1, `${text}\n`);

function readOptions(): Options {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof BadOption)) throw error;
    return refuse(error.message);
  }
}

function refuse(line: string): never {
  writeSync(2, `${line}\n`);
  process.exit(2);
}

function add(to: Map<string, number>, from: ReadonlyMap<string, number>): void {
  for (const [name, count] of from) to.set(name, (to.get(name) ?? 0) + count);
}

function tell(title: string, counts: ReadonlyMap<string, number>): void {
  say(title);
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a);
  for (const [name, count] of sorted) say(`  ${String(count).padStart(8)}  ${name}`);
}

/** Seconds of a core since `before`, and how many a minute that makes: other work on the machine does not count. */
function rateOf(count: number, before: NodeJS.CpuUsage) {
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  return { seconds, rate: Math.round((count / seconds) * 60) };
}

/** Every order of the steps of each plan; whether nothing was found. */
async function enumerateAll({ flaw, states: statesMax }: Options): Promise<boolean> {
  for (const { name, plan } of plans) {
    const before = process.cpuUsage();
    const found = await enumerate(plan, { ...(flaw && { flaw }), statesMax });
    const { seconds, rate } = rateOf(found.executions, before);
    const size = `${found.states} states, ${found.interleavings} interleavings`;
    const done = `${found.executions} executions in ${seconds.toFixed(1)} s of a core`;
    say(`${name}: ${size}${found.cutShort ? " (a part)" : ""}; ${done}, ${rate} a minute`);
    if (found.failure === undefined) continue;
    for (const line of found.trace) say(`  ${line}`);
    say(`VIOLATION: ${String(found.failure)}`);
    return false;
  }
  return true;
}

function printTrace({ seed, lines, failure, digest }: HistoryResult, whole: boolean): void {
  if (whole) for (const line of lines) say(line);
  if (failure === undefined) say(`seed ${seed}: no violation, trace ${digest}`);
  else if (isViolation(failure)) say(`seed ${seed}: VIOLATION: ${failure.message}`);
  else say(`seed ${seed}: ${failure instanceof Error ? failure.stack : String(failure)}`);
}

/** Looks for the shortest history that fails in the same way as this seed's, and tells its story. */
async function tellShortest(
  seed: number,
  { message }: Error,
  { flaw, focus, limit }: Options,
): Promise<void> {
  const kind = failureKind(message);
  // A shorter history that breaks another promise would mislead.
  const fails = async (plan: ReturnType<typeof planOf>): Promise<boolean> => {
    const { failure } = await runPlan(plan, { flaw });
    return isViolation(failure) && failureKind(failure.message) === kind;
  };
  const plan = await shrunk(planOf(seed, focus), fails);
  say(`the shortest history of seed ${seed} that fails in this way:`);
  for (const line of planLines(plan)) say(`  ${line}`);
  const { steps } = await runPlan(plan, { flaw, recorded: true });
  for (const line of storyText(steps, limit)) say(line);
}

/** What many histories had together. */
class Totals {
  readonly #faults = new Map<string, number>();
  readonly #answers = new Map<string, number>();
  readonly #startedMs = performance.now();
  readonly #cpu = process.cpuUsage();
  #shared = 0;
  #alone = 0;
  #events = 0;
  #virtualMs = 0;
  #promotions = 0;
  done = 0;

  get minutes(): number {
    return (performance.now() - this.#startedMs) / 60_000;
  }

  add(result: HistoryResult): void {
    this.done += 1;
    this.#shared += result.acknowledged.shared;
    this.#alone += result.acknowledged.alone;
    this.#events += result.events;
    this.#virtualMs += result.virtualMs;
    this.#promotions += result.promotions;
    add(this.#faults, result.faults);
    add(this.#answers, result.answers);
  }

  say(): void {
    const { done } = this;
    tell("faults", this.#faults);
    tell("answers", this.#answers);
    say(
      `acknowledged: ${this.#shared} shared, ${this.#alone} alone; ${this.#promotions} promotions`,
    );
    const hours = (this.#virtualMs / 3_600_000).toFixed(1);
    const { seconds, rate } = rateOf(done, this.#cpu);
    say(
      `${done} histories in ${(this.minutes * 60).toFixed(1)} s; ${seconds.toFixed(1)} s of a core, ${rate} a minute; ${this.#events} events, ${hours} h`,
    );
  }
}

/** One history after the other, until one breaks a promise; whether none did. */
async function runAll(options: Options): Promise<boolean> {
  const { seed: first, histories, minutes, flaw, focus, trace } = options;
  const coverage = options.coverage ? await Coverage.begin() : undefined;
  const totals = new Totals();
  let failure: unknown;
  for (let seed = first; seed < first + histories && totals.minutes < minutes; seed += 1) {
    const result = await runHistory(seed, { flaw, focus });
    totals.add(result);
    ({ failure } = result);
    if (totals.done % 1_000 === 0) say(`${totals.done} histories`);
    if (trace || failure !== undefined) printTrace(result, trace || !isViolation(failure));
    if (failure !== undefined) break;
  }
  if (isViolation(failure)) await tellShortest(first + totals.done - 1, failure, options);
  totals.say();
  if (coverage !== undefined) for (const line of coverageLines(await coverage.end())) say(line);
  return failure === undefined;
}

/** One history as a story, as a page or both; whether it broke no promise. */
async function tellHistory({ seed, flaw, focus, ...asked }: Options): Promise<boolean> {
  const { story, limit, html } = asked;
  const { steps, failure } = await runHistory(seed, { flaw, focus, recorded: true });
  if (story) for (const line of storyText(steps, limit)) say(line);
  if (html !== undefined) {
    writePage(html, await pageOf(`Holdfast under faults: history ${seed}`, steps));
    const size = `${steps.length} events, ${failure === undefined ? "no" : "a"} broken promise`;
    say(`${html}: history ${seed}, ${size}; open it in a browser`);
  }
  return failure === undefined;
}

function writePage(file: string, page: string): void {
  try {
    writeFileSync(file, page);
  } catch (error) {
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split(",");
    refuse(`cannot write ${file}: ${reason}`);
  }
}

const options = readOptions();
// Stack traces help only with a single history; they would cost all others a tenth of their time.
if (!options.trace) Error.stackTraceLimit = 0;
const isTold = options.story || options.html !== undefined;
const work = options.enumerate ? enumerateAll : isTold ? tellHistory : runAll;
process.exitCode = (await work(options)) ? 0 : 1;
