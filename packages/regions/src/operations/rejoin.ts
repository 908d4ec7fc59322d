import {
  type ManagedObject,
  partitionCount,
  readRecord,
  refuseUnknown,
  type StorePosition,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { mergeInto } from "../join/merge.ts";
import type { Peer, PushOutcome } from "../ports/ports.ts";
import { jittered } from "../ports/waiting.ts";
import { isRetiredEntry, regionIdentifier } from "../serving/region-records.ts";
import { pushOutcomes } from "../store/peer-service.ts";
import {
  answers,
  changedRegion,
  changeRegion,
  entryOf,
  isRetiredIn,
  RegionRefused,
  type RegionTools,
} from "./region-operations.ts";

/** Progress of a rejoin. */
export interface RejoinProgress {
  readonly step: "checked" | "pushing" | "pulling" | "settling" | "done";
  readonly records: number;
}

/** What became of records in the region that was to take them; a record that changed meanwhile counts again. */
export interface TakenRecords {
  /** It has them, or had them already. */
  readonly records: number;
  /** They contradict what it has, and were put aside there. */
  readonly quarantined: number;
  /** Their instance was deleted there, or nothing proves there yet that they were approved. */
  readonly refused: number;
}

export interface RejoinResult {
  readonly generation: number;
  /** What the survivor took of this region's records. */
  readonly pushed: TakenRecords;
  /** What this region took of the survivor's records. */
  readonly pulled: TakenRecords;
}

export interface RejoinOptions {
  /** How long agreed operations that began without this region may still run. */
  readonly settleMs?: number;
  readonly progress?: (progress: RejoinProgress) => void;
}

const partitions = partitionCount + 1;
const pageRecords = 256;
const pageBytes = 1 << 20;
const heldPauseMs = 100;
const heldTriesMax = 100;
const none: TakenRecords = { records: 0, quarantined: 0, refused: 0 };

/**
 * Brings a retired region back: everything that its own store has is joined into the survivor, then everything that the
 * survivor has into the own store, and only then the region gets a new generation, with which it serves. May be run
 * again whenever it failed. Rejects with `RegionRefused` or `StoreUnavailable`, also if a region cannot read a record, or
 * an agreed operation keeps holding one.
 */
export async function rejoinRegion(
  survivor: Peer,
  tools: RegionTools,
  options: RejoinOptions = {},
): Promise<RejoinResult> {
  const { region, timers } = tools;
  const { settleMs = 5_000, progress = () => undefined } = options;
  await refuseIfLost(survivor, tools);
  await checkRetired(survivor, tools);
  progress({ step: "checked", records: 0 });
  const pushed = await pushAll(survivor, tools, progress);
  const first = await survivor.position();
  const pulled = await pullAll(survivor, undefined, first, tools, progress);
  const id = regionIdentifier(region);
  const [copy] = await survivor.fetch(systemInstance, [id]);
  let generation = 0;
  const record = changedRegion(copy?.object, region, region, timers.wallMs(), (entry) => {
    generation = Math.max(entry.generation, entry.retired) + 1;
    return { generation };
  });
  // The survivor first: it must wait for this region before this region serves.
  requireTaken(await pushPage(survivor, [record], tools), survivor.region);
  progress({ step: "settling", records: 0 });
  await timers.sleep(settleMs);
  const since = await survivor.position();
  const late = await pullAll(survivor, first, since, tools, progress);
  requireTaken(await takePage(survivor, [record], tools), region);
  const taken = sum(pulled, late);
  progress({ step: "done", records: total(pushed) + total(taken) });
  return { generation, pushed, pulled: taken };
}

/**
 * Lets a retired region continue with its own data, and returns its new generation. For a survivor that was lost since,
 * and was retired here: what only it has is given up. Rejects with `RegionRefused` if it is not retired here, or answers.
 */
export async function rejoinAlone(survivor: Peer, tools: RegionTools): Promise<number> {
  const { own, region } = tools;
  const lost = survivor.region;
  if (!(await isRetiredIn(own, region))) {
    throw new RegionRefused(`region ${region} is not retired: nothing to do`);
  }
  if (!(await isRetiredIn(own, lost))) {
    throw new RegionRefused(
      `region ${lost} is not retired here: if it is lost for good, run \`holdfast region retire ${lost}\` first`,
    );
  }
  if (await answers(survivor)) {
    throw new RegionRefused(`region ${lost} answers: it is not lost, so leave out --alone`);
  }
  await changeRegion(tools, region, ({ generation, retired }) => ({
    generation: Math.max(generation, retired) + 1,
  }));
  return (await entryOf(own, region)).generation;
}

/** Where each region retired the other, a survivor that does not answer may be lost, or only out of reach. */
async function refuseIfLost(survivor: Peer, { own }: RegionTools): Promise<void> {
  const { region } = survivor;
  if (!(await isRetiredIn(own, region)) || (await answers(survivor))) return;
  throw new RegionRefused(
    `region ${region} does not answer, and nothing was changed: give the command again when it answers; or, if region ${region} is lost for good, with --alone ${region}`,
    "again",
  );
}

async function checkRetired(survivor: Peer, { region, own }: RegionTools): Promise<void> {
  const hello = await survivor.hello();
  const [copy] = await survivor.fetch(systemInstance, [regionIdentifier(region)]);
  const there = copy && readRecord("Region", copy.object);
  const retired = [await entryOf(own, region), ...(there ? [there] : [])].some(isRetiredEntry);
  if (!retired) {
    throw new RegionRefused(`region ${survivor.region} has not retired ${region}: nothing to do`);
  }
  // Where each retired the other, neither serves, and one of them must rejoin first.
  const both = await isRetiredIn(own, survivor.region);
  if (!hello.serving && !both) {
    throw new RegionRefused(
      `region ${survivor.region} does not serve from its own store now: try again when it does`,
    );
  }
  if (own.state() !== "full") {
    throw new RegionRefused("the own store takes no writes now: look at its Redis first");
  }
}

async function pushAll(
  survivor: Peer,
  tools: RegionTools,
  progress: (progress: RejoinProgress) => void,
): Promise<TakenRecords> {
  let pushed = none;
  for (let partition = 0; partition < partitions; partition++) {
    let after = 0;
    for (;;) {
      const page = await tools.own.changes(partition, after, pageRecords, pageBytes);
      refuseUnknown(page);
      pushed = sum(pushed, await pushPage(survivor, page.objects, tools));
      progress({ step: "pushing", records: total(pushed) });
      if (page.upTo >= page.last || page.upTo <= after) break;
      after = page.upTo;
    }
  }
  return pushed;
}

/** Pushes until nothing is held by an agreed operation. */
async function pushPage(
  survivor: Peer,
  objects: readonly ManagedObject[],
  { timers, ids }: RegionTools,
): Promise<TakenRecords> {
  let left = objects;
  let taken = none;
  for (let tries = 0; left.length > 0; tries++) {
    if (tries >= heldTriesMax) {
      const message = "agreed operations keep holding records of the survivor";
      throw new StoreUnavailable("reserved", message);
    }
    const outcomes = await pushOnce(survivor, left);
    taken = sum(taken, takenOf(outcomes));
    left = left.filter((_, at) => outcomes[at] === "reserved");
    if (left.length > 0) await jittered(timers, ids, heldPauseMs);
  }
  return taken;
}

/** Pushes once; a client of the other region rejects where it cannot read a record. */
async function pushOnce(
  survivor: Peer,
  objects: readonly ManagedObject[],
): Promise<readonly PushOutcome[]> {
  const outcomes = await survivor.push(objects).catch((error: unknown) => {
    if (!(error instanceof StoreUnavailable)) throw error;
    if (error.failure === "unknownFormat") return undefined;
    if (error.failure !== "formatNotAgreed") throw error;
    throw new RegionRefused(`${error.message}; then give the command again`, "again");
  });
  if (outcomes !== undefined && !outcomes.includes("unread")) return outcomes;
  throw new RegionRefused(
    `region ${survivor.region} does not know the format of a record: upgrade its nodes, then give the command again`,
    "again",
  );
}

/** Joins what the survivor has, for change numbers after `from` and at least up to `to`. */
async function pullAll(
  survivor: Peer,
  from: StorePosition | undefined,
  to: StorePosition,
  tools: RegionTools,
  progress: (progress: RejoinProgress) => void,
): Promise<TakenRecords> {
  // Another process may have given the same numbers to other changes: then everything is read again.
  const known = from?.replicationId === to.replicationId ? from.numbers : [];
  let pulled = none;
  for (let partition = 0; partition < partitions; partition++) {
    let after = known[partition] ?? 0;
    const target = to.numbers[partition] ?? 0;
    while (after < target) {
      const page = await survivor.changes(partition, after, pageRecords, pageBytes);
      if (page.replicationId !== to.replicationId) {
        const message = `the store of region ${survivor.region} failed over meanwhile: run this again`;
        throw new StoreUnavailable("noLease", message);
      }
      refuseUnknown(page);
      pulled = sum(pulled, await takePage(survivor, page.objects, tools));
      progress({ step: "pulling", records: total(pulled) });
      if (page.upTo <= after) break;
      after = page.upTo;
    }
  }
  return pulled;
}

/** Joins the survivor's records into the own store. */
async function takePage(
  { region: from }: Peer,
  objects: readonly ManagedObject[],
  { own, timers, observe }: RegionTools,
): Promise<TakenRecords> {
  const reservedMs = heldPauseMs * heldTriesMax;
  const merged = await mergeInto(own, objects, { from, timers, observe, reservedMs });
  const outcomes = merged.map(({ result }) => pushOutcomes[result]);
  const unread = objects.filter((_, at) => outcomes[at] === "unread");
  refuseUnknown({ unknown: unread.map(({ uniqueIdentifier }) => uniqueIdentifier) });
  if (outcomes.includes("reserved")) {
    const message = "agreed operations keep holding records of this region; its nodes must run";
    throw new StoreUnavailable("reserved", message);
  }
  return takenOf(outcomes);
}

/** The new generation must be known in both regions before this one serves. */
function requireTaken({ records }: TakenRecords, region: string): void {
  if (records > 0) return;
  throw new RegionRefused(
    `region ${region} did not take the record of the rejoin: look at the log of its nodes, then give the command again`,
    "again",
  );
}

function takenOf(outcomes: readonly PushOutcome[]): TakenRecords {
  const count = (outcome: PushOutcome) => outcomes.filter((each) => each === outcome).length;
  return {
    records: count("durable"),
    quarantined: count("quarantined"),
    refused: count("refused"),
  };
}

function sum(one: TakenRecords, other: TakenRecords): TakenRecords {
  return {
    records: one.records + other.records,
    quarantined: one.quarantined + other.quarantined,
    refused: one.refused + other.refused,
  };
}

/** How many records were looked at. */
function total({ records, quarantined, refused }: TakenRecords): number {
  return records + quarantined + refused;
}
