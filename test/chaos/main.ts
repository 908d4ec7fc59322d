import { writeFile } from "node:fs/promises";
import { checkFile } from "../linearizability/check-file.ts";
import { stopSignal } from "../support/stop-signal.ts";
import { checkedFile, readOptions, usage } from "./options.ts";
import { faultKinds } from "./plan.ts";
import { faultsOf, reportLines, unprovenOf } from "./report.ts";
import { runChaos } from "./run.ts";

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs and reports; a signal ends the run after its current step. Returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const options = understood(() => checkedFile(args) ?? readOptions(args, Object.keys(faultKinds)));
  if (options === undefined) return 2;
  if (typeof options === "string") return await checkHistory(options);
  const stopping = stopSignal();
  const { minutes, seed, wanMs } = options;
  say(`chaos: ${minutes} minutes, seed ${seed}, ${wanMs} ms each way between the regions`);
  const report = await runChaos(options, say, stopping);
  for (const line of reportLines(report)) say(line);
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify(report, undefined, 1)}\n`);
  }
  const [faults, unproven] = [faultsOf(report), unprovenOf(report)];
  if (faults.length > 0) say(`FAILED: ${faults.join("; ")}`);
  if (unproven.length > 0) say(`NOT PROVEN: ${unproven.join("; ")}`);
  if (faults.length + unproven.length > 0) return 1;
  say("nothing lost, no gap too long");
  return 0;
}

async function checkHistory(path: string): Promise<number> {
  try {
    return await checkFile(path, say);
  } catch (error) {
    process.stderr.write(`chaos: ${(error as Error).message}\n`);
    return 2;
  }
}

/** What the command line asks for; says so if it does not fit. */
function understood<Asked>(read: () => Asked): Asked | undefined {
  try {
    return read();
  } catch (error) {
    process.stderr.write(`chaos: ${(error as Error).message}\n${usage}\n`);
    return undefined;
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`chaos: ${(error as Error).message.split("\n")[0]}\n`);
  process.exitCode = 1;
}
