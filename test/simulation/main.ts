import { writeFileSync, writeSync } from "node:fs";
import { enumerate } from "./enumeration.ts";
import { type HistoryResult, runHistory } from "./history.ts";
import { BadOption, type Options, parseOptions } from "./options.ts";
import { plans } from "./plans.ts";
import { storyText } from "./story/story.ts";
import { pageOf } from "./story/write-page.ts";
import { isViolation } from "./world.ts";

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

/** Every order of the steps of each plan; whether nothing was found. */
async function enumerateAll({ flaw, states: statesMax }: Options): Promise<boolean> {
  for (const { name, plan } of plans) {
    const before = process.cpuUsage();
    const found = await enumerate(plan, { ...(flaw && { flaw }), statesMax });
    // The time of one core: other work on the machine does not count.
    const { user, system } = process.cpuUsage(before);
    const seconds = (user + system) / 1e6;
    const rate = Math.round((found.executions / seconds) * 60);
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

function printTrace({ seed, lines, failure, digest }: HistoryResult): void {
  for (const line of lines) say(line);
  if (failure === undefined) say(`seed ${seed}: no violation, trace ${digest}`);
  else if (isViolation(failure)) say(`seed ${seed}: VIOLATION: ${failure.message}`);
  else say(`seed ${seed}: ${failure instanceof Error ? failure.stack : String(failure)}`);
}

/** One history after the other, until one breaks a promise; whether none did. */
async function runAll({ seed: first, histories, flaw, focus, trace }: Options): Promise<boolean> {
  const faults = new Map<string, number>();
  const answers = new Map<string, number>();
  const totals = { shared: 0, alone: 0, events: 0, virtualMs: 0, promotions: 0, done: 0 };
  const startedMs = performance.now();
  let failed = false;
  for (let seed = first; seed < first + histories && !failed; seed += 1) {
    const result = await runHistory(seed, { flaw, focus });
    totals.done += 1;
    totals.shared += result.acknowledged.shared;
    totals.alone += result.acknowledged.alone;
    totals.events += result.events;
    totals.virtualMs += result.virtualMs;
    totals.promotions += result.promotions;
    add(faults, result.faults);
    add(answers, result.answers);
    failed = result.failure !== undefined;
    if (totals.done % 1_000 === 0) say(`${totals.done} histories`);
    if (failed || trace) printTrace(result);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  tell("faults", faults);
  tell("answers", answers);
  say(
    `acknowledged: ${totals.shared} shared, ${totals.alone} alone; ${totals.promotions} promotions`,
  );
  const rate = Math.round((totals.done / seconds) * 60);
  const hours = (totals.virtualMs / 3_600_000).toFixed(1);
  say(
    `${totals.done} histories in ${seconds.toFixed(1)} s: ${rate} a minute; ${totals.events} events, ${hours} h`,
  );
  return !failed;
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
