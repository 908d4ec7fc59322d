import { mkdir, readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { holdfastSide, makeKeys, startMeasured } from "./holdfast.ts";
import { LoadGenerator } from "./load-generator.ts";
import { type CpuProfile, summarise } from "./profile-summary.ts";

const connections = 32;
const keys = 1000;
const warmMs = 10_000;
const measureMs = 10_000;

/** Profiles the first node while 32 connections send Get to it, and reports where the time went. */
export async function profileGets(
  directory: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const folder = resolve(directory);
  await mkdir(folder, { recursive: true });
  await using opened = new AsyncDisposableStack();
  process.env["NODE_OPTIONS"] = `--cpu-prof --cpu-prof-dir=${folder}`;
  const region = opened.use(await startMeasured());
  delete process.env["NODE_OPTIONS"];
  const generator = opened.use(new LoadGenerator(signal));
  const side = holdfastSide(region, 1);
  const gets = await makeKeys(region.target("bench"), keys);
  const { operations, seconds, cpuSeconds } = await generator.load({
    connections,
    targets: side.targets,
    persistent: true,
    operations: gets.map((message) => [[message]]),
    warmMs,
    measureMs,
    pids: side.pids(),
  });
  const { pid } = region.node(0);
  // A node writes its profile if it is stopped, not killed.
  await Promise.all(region.nodes.map((node) => node.stop()));
  const file = (await readdir(folder)).find((name) => name.includes(`.${pid}.`));
  if (file === undefined) throw new Error(`the node left no profile in ${folder}`);
  const us = ((cpuSeconds["server"] ?? 0) / operations) * 1e6;
  say(`${Math.round(operations / seconds)} Get/s, ${us.toFixed(1)} µs of the node each (profiled)`);
  const profile = JSON.parse(await readFile(join(folder, file), "utf8")) as CpuProfile;
  for (const line of summarise(profile, measureMs * 1000)) say(line);
  say(`profile: ${join(folder, file)}`);
}
