import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { enumerate } from "./enumeration.ts";
import { flawNames } from "./flaws.ts";
import { runHistory } from "./history.ts";
import { plans } from "./plans.ts";
import { isViolation } from "./world.ts";

const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
    flaw: { type: "string" },
    focus: { type: "string" },
    trace: { type: "boolean", default: false },
    enumerate: { type: "boolean", default: false },
    states: { type: "string" },
  },
});

const say = (text: string): void => void writeSync(1, `${text}\n`);
const flaw = flawNames.find((name) => name === values.flaw);
if (values.flaw !== undefined && flaw === undefined) {
  say(`no fault is called ${JSON.stringify(values.flaw)}; there are: ${flawNames.join("; ")}`);
  process.exit(2);
}
const first = Number(values.seed);
const histories = Number(values.histories);
const faults = new Map<string, number>();
const answers = new Map<string, number>();
const totals = { shared: 0, alone: 0, events: 0, virtualMs: 0, promotions: 0, done: 0 };
const startedMs = performance.now();

function add(to: Map<string, number>, from: ReadonlyMap<string, number>): void {
  for (const [name, count] of from) to.set(name, (to.get(name) ?? 0) + count);
}

function tell(title: string, counts: ReadonlyMap<string, number>): void {
  say(title);
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a);
  for (const [name, count] of sorted) say(`  ${String(count).padStart(8)}  ${name}`);
}

// Stack traces help only with a single history; they would cost all others a tenth of their time.
if (!values.trace) Error.stackTraceLimit = 0;

async function enumerateAll(): Promise<void> {
  const statesMax = Number(values.states ?? Number.POSITIVE_INFINITY);
  for (const { name, plan } of plans) {
    const begunMs = performance.now();
    const found = await enumerate(plan, { ...(flaw && { flaw }), statesMax });
    const took = ((performance.now() - begunMs) / 1_000).toFixed(1);
    const size = `${found.states} states, ${found.interleavings} interleavings`;
    say(`${name}: ${size}${found.cutShort ? " (a part)" : ""} in ${took} s`);
    if (found.failure === undefined) continue;
    for (const line of found.trace) say(`  ${line}`);
    say(`VIOLATION: ${String(found.failure)}`);
    process.exitCode = 1;
    return;
  }
}

if (values.enumerate) {
  await enumerateAll();
  process.exit();
}

let failed = false;
for (let seed = first; seed < first + histories && !failed; seed += 1) {
  const result = await runHistory(seed, { flaw, focus: values.focus });
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
  if (!failed && !values.trace) continue;
  for (const line of result.lines) say(line);
  const { failure } = result;
  if (failure === undefined) say(`seed ${seed}: no violation, trace ${result.digest}`);
  else if (isViolation(failure)) say(`seed ${seed}: VIOLATION: ${failure.message}`);
  else say(`seed ${seed}: ${failure instanceof Error ? failure.stack : String(failure)}`);
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
process.exitCode = failed ? 1 : 0;
