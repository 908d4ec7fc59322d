import { writeFile } from "node:fs/promises";
import type { Region } from "../support/region.ts";
import { stopSignal } from "../support/stop-signal.ts";
import { measureAdmin } from "./admin-routes.ts";
import { type BareRequest, BareServer } from "./bare.ts";
import type { LoadFigures } from "./figures.ts";
import { holdfastSide, makeKeys, pkiOf, record, startMeasured } from "./holdfast.ts";
import { measureIdleMemory } from "./idle-memory.ts";
import { measureKeys } from "./keys-at-scale.ts";
import { LoadGenerator } from "./load-generator.ts";
import { type LoadSide, loadRows, measureRow } from "./load-rows.ts";
import { describeMachine } from "./machine.ts";
import { get } from "./messages.ts";
import { measureMigrate } from "./migrate.ts";
import { measureMoves } from "./moves.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { profileGets } from "./profile.ts";
import { PykmipServer, pykmipMissing, pykmipVersion } from "./pykmip.ts";
import { measureRekey } from "./rekey.ts";
import { loadHead, loadLines, machineLine, otherLines, verdictLines } from "./report.ts";
import type { Results } from "./results.ts";
import { measureRoots } from "./roots.ts";
import { measureScrapes } from "./scrapes.ts";
import { measureStartUp } from "./start-up.ts";
import { measureStoredBytes } from "./stored-bytes.ts";
import { judge } from "./targets.ts";
import { measureTwoRegions } from "./two-regions.ts";
import { measureWitnessed } from "./witnessed.ts";

/** The keys of a cluster with a thousand encrypted machines; each Get asks for the next key. */
const keys = 1000;

function say(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** The running servers that are compared. */
interface Stage {
  readonly region: Region;
  readonly generator: LoadGenerator;
  readonly bareRequest: BareRequest;
  /** In the order of their turns; the first side is the first node alone. */
  readonly sides: readonly LoadSide[];
  /** Both nodes. */
  readonly whole: LoadSide;
}

async function setStage(opened: AsyncDisposableStack, signal: AbortSignal): Promise<Stage> {
  const region = opened.use(await startMeasured());
  const generator = opened.use(new LoadGenerator(signal));
  const target = region.target("bench");
  const gets = await makeKeys(target, keys);
  const pki = pkiOf(region);
  const bareRequest = {
    certificate: pki.serverCertificate,
    key: pki.serverKey,
    answers: await record(target, gets),
  };
  const bare = opened.use(await BareServer.start(bareRequest));
  const bareSide: LoadSide = {
    name: "bare",
    targets: [{ ...target, port: bare.port }],
    pids: () => ({ server: [bare.pid] }),
    gets,
  };
  const sides = [{ ...holdfastSide(region, 1), gets }, bareSide];
  if (pykmipVersion() === undefined) {
    say(pykmipMissing);
  } else {
    const pykmip = opened.use(await PykmipServer.start(pki));
    sides.push({
      name: "pykmip",
      targets: [pykmip.target],
      pids: () => ({ server: [pykmip.pid] }),
      gets: [await pykmip.makeKey(get)],
    });
  }
  return { region, generator, bareRequest, sides, whole: { ...holdfastSide(region, 2), gets } };
}

async function measureLoads(stage: Stage, { only, extent }: Options): Promise<LoadFigures[]> {
  const found: LoadFigures[] = [];
  const rows = loadRows.filter(({ name }) => only.has(name));
  if (rows.length > 0) say(loadHead());
  for (const row of rows) {
    // vCenter uses its nodes in turn; all other rows compare one process with one process.
    const ours = row.name === "new-key" ? stage.whole : stage.sides.slice(0, 1);
    const sides = [ours, stage.sides.slice(1)].flat();
    const report = (figures: LoadFigures) => {
      for (const line of loadLines(figures)) say(line);
    };
    found.push(...(await measureRow(row, sides, stage.generator, extent, report)));
  }
  return found;
}

async function measureManyKeys(
  { only, extent }: Options,
  signal: AbortSignal,
): Promise<Pick<Results, "keys" | "rekey" | "moves" | "migrate" | "witnessed">> {
  return {
    ...(only.has("keys") && { keys: await measureKeys(extent, signal) }),
    ...(only.has("rekey") && { rekey: await measureRekey(extent, signal) }),
    ...(only.has("moves") && { moves: await measureMoves(extent, signal) }),
    ...(only.has("migrate") && { migrate: await measureMigrate(extent, signal) }),
    ...(only.has("witnessed") && { witnessed: await measureWitnessed(extent, signal) }),
  };
}

async function measure(stage: Stage, options: Options, signal: AbortSignal): Promise<Results> {
  const { region, generator, bareRequest } = stage;
  const [first] = stage.sides;
  const { only, extent } = options;
  const loads = await measureLoads(stage, options);
  const idleMemory = only.has("idle-memory")
    ? await measureIdleMemory(region, bareRequest, generator, extent)
    : [];
  const storedBytes = only.has("stored-bytes")
    ? await measureStoredBytes(region, generator, extent)
    : [];
  const startUp = only.has("start-up") ? await measureStartUp(region, extent, signal) : undefined;
  const twoRegions = await measureTwoRegions(region, generator, options);
  const manyKeys = await measureManyKeys(options, signal);
  const roots = only.has("roots") ? await measureRoots(extent, signal) : undefined;
  const admin = only.has("admin") ? await measureAdmin(generator, extent, signal) : undefined;
  const { host, http: port } = region.node(0);
  const scrapes =
    only.has("scrapes") && first !== undefined
      ? await measureScrapes(first, { host, port }, generator, extent)
      : undefined;
  return {
    loads,
    idleMemory,
    storedBytes,
    ...(startUp === undefined ? {} : { startUp }),
    ...(twoRegions === undefined ? {} : { twoRegions }),
    ...manyKeys,
    ...(roots === undefined ? {} : { roots }),
    ...(admin === undefined ? {} : { admin }),
    ...(scrapes === undefined ? {} : { scrapes }),
  };
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const stage = await setStage(opened, signal);
  const machine = await describeMachine(stage.region);
  say(machineLine(machine));
  say();
  const results = await measure(stage, options, signal);
  const targets = judge(results);
  say();
  for (const line of otherLines(results)) say(line);
  say();
  for (const line of verdictLines(targets)) say(line);
  if (options.json !== undefined) {
    const { quick, extent } = options;
    const all = { format: 1, quick, extent, machine, targets, ...results };
    await writeFile(options.json, `${JSON.stringify(all, undefined, 1)}\n`);
  }
}

/** Profiles or measures; a signal ends it and leaves nothing running. Returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const ending = stopSignal();
  try {
    const options = readOptions(args);
    const { profile } = options;
    if (profile === undefined) await run(options, ending);
    else await profileGets(profile, ending, say);
    return 0;
  } catch (error) {
    const reason = ending.aborted ? "ended before it was done" : reasonOf(error);
    process.stderr.write(`bench: ${reason}\n`);
    return 1;
  }
}

function reasonOf(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  const isUsage = error instanceof RangeError || error instanceof TypeError;
  return isUsage ? `${reason}\n${usage}` : reason;
}

process.exitCode = await main(process.argv.slice(2));
