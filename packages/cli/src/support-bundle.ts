import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { machine } from "@holdfast/server/machine";
import type { Command } from "commander";
import { addSiteOptions, type SiteOptions, withAdmin } from "./sites/site.ts";
import { Failure, readGiven, reasonOf } from "./terminal/failure.ts";
import { say } from "./terminal/lines.ts";
import { sayJson } from "./terminal/output.ts";

interface BundleOptions extends SiteOptions {
  readonly config: string;
  readonly log?: string;
  readonly out?: string;
}

/** How many lines from the end of a log are included. */
const logLinesMax = 5_000;

/** `holdfast support-bundle`: one file for support, without secrets. */
export function addSupportBundle(program: Command): void {
  const command = program
    .command("support-bundle")
    .description(
      "Write one file for support, without secrets: versions, configuration, readiness, doctor, log and metrics. The site's options are for doctor, which is left out if no site answers.",
    )
    .requiredOption("-c, --config <file>", "the node's configuration")
    .option("--log <file>", "the node's log (default: the journal of systemd's unit holdfast)")
    .option("--out <file>", "the file to write (default: holdfast-support-TIME.txt)");
  addSiteOptions(command);
  command.action(async (options: BundleOptions) => {
    // What the configuration names is taken out of the bundle: without it, a secret could stay in a log.
    readGiven("--config", options.config);
    const log = await logOf(options);
    const { bundleText, nodeParts } = await import("@holdfast/server/support-bundle");
    const parts = [
      ...(await nodeParts(options.config, machine)),
      { title: "doctor", text: await doctor(options) },
      { title: "log", text: log },
    ];
    const time = new Date(machine.clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const out = options.out ?? `holdfast-support-${time}.txt`;
    const text = bundleText(parts, options.config, machine.environment);
    try {
      writeFileSync(out, text, { mode: 0o600, flag: "wx" });
    } catch (error) {
      throw new Failure(`--out ${out}: cannot be written: ${reasonOf(error)}`);
    }
    if (options.json) sayJson({ file: out });
    else say(`${out}: ${Math.ceil(text.length / 1024)} KiB; read it before you send it`);
  });
}

async function doctor(options: SiteOptions): Promise<string> {
  try {
    const { items } = await withAdmin(options, (client) => client.call("runChecks", {}));
    return items.map((item) => JSON.stringify(item)).join("\n");
  } catch (error) {
    return `not asked: ${reasonOf(error)}`;
  }
}

async function logOf({ log }: BundleOptions): Promise<string> {
  if (log !== undefined) return endOf(readGiven("--log", log).toString("utf8"));
  try {
    return endOf(await journal());
  } catch (error) {
    return `cannot be read: ${reasonOf(error)}; give --log FILE`;
  }
}

function endOf(log: string): string {
  return log.split("\n").slice(-logLinesMax).join("\n");
}

async function journal(): Promise<string> {
  const args = ["--unit", "holdfast", "--lines", `${logLinesMax}`, "--output", "cat", "--no-pager"];
  const { stdout } = await promisify(execFile)("journalctl", args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}
