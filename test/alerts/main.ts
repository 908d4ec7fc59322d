import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { numberOf } from "../chaos/options.ts";
import { stopSignal } from "../support/stop-signal.ts";
import { faults } from "./faults.ts";
import { faultsOf, type MatrixOptions, runMatrix } from "./matrix.ts";

const usage = `usage: npm run alerts -- [--only FAULT[,FAULT]] [--healthy MINUTES] [--scale FACTOR] [--json FILE]
  --only FAULT       only these faults
  --healthy MINUTES  how long a healthy cluster is watched first (default 30)
  --scale FACTOR     times that many times shorter than shipped (default 1)
  --json FILE        the report as JSON; docs/alerts.md is made from test/alerts/results.json`;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs and checks the matrix; a signal ends it after the current fault. Returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const stopping = stopSignal();
  const options = optionsOf(args);
  if (options === undefined) return 2;
  const report = await runMatrix(options, say, stopping);
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify(report, undefined, 1)}\n`);
  }
  const wrong = faultsOf(report, { times: true });
  say(wrong.length === 0 ? "exactly the expected alerts arrived" : `FAILED: ${wrong.join("; ")}`);
  return wrong.length === 0 ? 0 : 1;
}

function optionsOf(
  args: readonly string[],
): (MatrixOptions & { readonly json: string | undefined }) | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        only: { type: "string", multiple: true, default: [] },
        healthy: { type: "string", default: "30" },
        scale: { type: "string", default: "1" },
        json: { type: "string" },
      },
    });
    const only = values.only.flatMap((list) => list.split(","));
    const names = faults.map(({ name }) => name);
    const unknown = only.find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new RangeError(`--only: there is no ${unknown}; there are ${names.join(", ")}`);
    }
    const healthyMinutes = numberOf("--healthy", values.healthy, 0, 1440);
    const factor = numberOf("--scale", values.scale, 1, 10);
    return { only, healthyMinutes, factor, restMs: 100, json: values.json };
  } catch (error) {
    process.stderr.write(`alerts: ${(error as Error).message}\n${usage}\n`);
    return undefined;
  }
}

process.exitCode = await main(process.argv.slice(2));
