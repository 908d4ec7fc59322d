import { join } from "node:path";
import { stopSignal } from "../support/stop-signal.ts";
import { isSimulated, type PlantedFault } from "./fault.ts";
import { faults } from "./faults.ts";
import { killersOf, places } from "./killers.ts";
import { mutatedModules } from "./mechanical/modules.ts";
import { complaints, saveMechanical, scoreOf } from "./mechanical/report.ts";
import { runMechanical } from "./mechanical/run.ts";
import {
  type MechanicalOptions,
  type MutantOptions,
  readMechanicalOptions,
  readOptions,
  usage,
} from "./options.ts";
import { saveResults } from "./results.ts";
import { type MutantReport, runFaults } from "./run.ts";

const root = join(import.meta.dirname, "..", "..");

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs what the command line asks for; returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const options = optionsOf(args);
  if (options === undefined) return 2;
  return "kinds" in options ? await plant(options) : await mutate(options);
}

/** Runs the faults and reports; a signal ends the run. */
async function plant(options: MutantOptions): Promise<number> {
  const asked = faults.filter((fault) => isChosen(fault, options));
  const chosen = asked.filter((fault) => killersOf(fault, options).length > 0);
  const rest = asked.length - chosen.length;
  say(`${chosen.length} of ${faults.length} faults, seed ${options.seed}`);
  if (rest > 0) say(`${rest} more need costlier commands than --up-to ${options.upTo}`);
  const alone = options.isChaos === true ? "chaos" : "simulator";
  const isUsual = options.simulatorMinutes === undefined && options.isChaos !== true;
  const way = isUsual ? "usual" : alone;
  const judged = (verdicts: MutantReport["verdicts"]): void => {
    if (options.report) saveResults(faults, verdicts, way);
  };
  const stopping = stopSignal();
  return tell(chosen, await runFaults(chosen, { ...options, root, say, judged, stopping }));
}

/** Runs the mutants of modules and reports; a signal ends the run. */
async function mutate({ only, jobs, report }: MechanicalOptions): Promise<number> {
  const modules = mutatedModules.filter(({ name }) => only.length === 0 || only.includes(name));
  const wrong: string[] = [];
  await runMechanical(modules, { root, jobs, stopping: stopSignal() }, (result) => {
    const { module, mutants, killed, ignored, seconds } = result;
    const score = `${scoreOf(result)} % (${killed} of ${mutants})`;
    say(`${module}: ${score}, ${ignored} texts left out, ${seconds} s`);
    for (const line of complaints(result)) say(line);
    wrong.push(...complaints(result));
    if (report) saveMechanical(result);
  });
  return wrong.length === 0 ? 0 : 1;
}

function isChosen(fault: PlantedFault, options: MutantOptions): boolean {
  const { only, kinds, isChaos, simulatorMinutes } = options;
  if (only.length > 0 && !only.includes(fault.name)) return false;
  if (kinds.length > 0 && !kinds.includes(fault.kind)) return false;
  if (isChaos === true) return fault.chaosMinutes !== undefined;
  return simulatorMinutes === undefined || isSimulated(fault);
}

/** Says where the faults were found, and which were not; returns the exit code. */
function tell(chosen: readonly PlantedFault[], { verdicts, unjudged }: MutantReport): number {
  const all = [...verdicts.values()];
  const killed = places.flatMap((place) => {
    const count = all.filter((each) => each.result === "killed" && each.place === place).length;
    return count === 0 ? [] : [`${count} by ${place}`];
  });
  let found = 0;
  for (const { name, rule } of chosen) {
    const verdict = verdicts.get(name);
    if (verdict?.result === "killed") found += 1;
    if (verdict?.result === "survived") say(`SURVIVED: ${name} (${rule})`);
    if (verdict?.result === "crashed")
      say(`NO VERDICT: ${name}: ${verdict.command}: ${verdict.what}`);
  }
  for (const line of unjudged) say(`NOT JUDGED: ${line}`);
  const where = found === 0 ? "" : ` (${killed.join(", ")})`;
  const counted = (result: string) => all.filter((each) => each.result === result).length;
  const others = `${counted("survived")} survived, ${counted("crashed")} without a verdict, ${unjudged.length} not judged`;
  say(`${found} of ${chosen.length} faults found${where}; ${others}`);
  return found === chosen.length ? 0 : 1;
}

function optionsOf(args: readonly string[]): MutantOptions | MechanicalOptions | undefined {
  try {
    const names = faults.map(({ name }) => name);
    return readMechanicalOptions(args) ?? readOptions(args, names);
  } catch (error) {
    const [line = ""] = (error as Error).message.split("\n");
    process.stderr.write(`mutants: ${line}\n${usage}\n`);
    return undefined;
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`mutants: ${(error as Error).message.split("\n")[0]}\n`);
  process.exitCode = 1;
}
