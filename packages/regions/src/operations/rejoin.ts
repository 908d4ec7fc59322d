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
import type { Peer } from "../ports/ports.ts";
import { jittered } from "../ports/waiting.ts";
import { isRetiredEntry, regionIdentifier } from "../serving/region-records.ts";
import {
  answers,
  changedRegion,
  changeRegion,
  entryOf,
  RegionRefused,
  type RegionTools,
} from "./region-operations.ts";

/** Progress of a rejoin. */
export interface RejoinProgress {
  readonly step: "checked" | "pushing" | "pulling" | "settling" | "done";
  readonly records: number;
}

export interface RejoinResult {
  readonly generation: number;
  readonly pushed: number;
  readonly pulled: number;
  /** Records that could not be joined with the survivor's, and were put aside there. */
  readonly quarantined: number;
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

/**
 * Brings a retired region back: everything that its own store has is joined into the survivor, then everything that the
 * survivor has into the own store, and only then the region gets a new generation, with which it serves. May be run
 * again whenever it failed. Where the survivor was lost since then, and retired here, the region continues with its own data.
 */
export async function rejoinRegion(
  survivor: Peer,
  tools: RegionTools,
  options: RejoinOptions = {},
): Promise<RejoinResult> {
  const { region, timers } = tools;
  const { settleMs = 5_000, progress = () => undefined } = options;
  if (await isLost(survivor, tools)) return await rejoinAlone(tools);
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
  await pushPage(survivor, [record], tools);
  progress({ step: "settling", records: 0 });
  await timers.sleep(settleMs);
  const since = await survivor.position();
  const late = await pullAll(survivor, first, since, tools, progress);
  await mergeInto(tools.own, [record], mergingFrom(survivor, tools));
  progress({ step: "done", records: pushed.records + pulled + late });
  return {
    generation,
    pushed: pushed.records,
    pulled: pulled + late,
    quarantined: pushed.quarantined,
  };
}

/** Whether the region that stayed was lost too, as an operator said here. */
async function isLost(survivor: Peer, { own }: RegionTools): Promise<boolean> {
  return isRetiredEntry(await entryOf(own, survivor.region)) && !(await answers(survivor));
}

async function rejoinAlone(tools: RegionTools): Promise<RejoinResult> {
  const { own, region } = tools;
  if (!isRetiredEntry(await entryOf(own, region))) {
    throw new RegionRefused(`region ${region} is not retired: nothing to do`);
  }
  await changeRegion(tools, region, ({ generation, retired }) => ({
    generation: Math.max(generation, retired) + 1,
  }));
  const { generation } = await entryOf(own, region);
  return { generation, pushed: 0, pulled: 0, quarantined: 0 };
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
  const both = isRetiredEntry(await entryOf(own, survivor.region));
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
): Promise<{ readonly records: number; readonly quarantined: number }> {
  let [records, quarantined] = [0, 0];
  for (let partition = 0; partition < partitions; partition++) {
    let after = 0;
    for (;;) {
      const page = await tools.own.changes(partition, after, pageRecords, pageBytes);
      refuseUnknown(page);
      quarantined += await pushPage(survivor, page.objects, tools);
      records += page.objects.length;
      progress({ step: "pushing", records });
      if (page.upTo >= page.last || page.upTo <= after) break;
      after = page.upTo;
    }
  }
  return { records, quarantined };
}

/** Pushes until nothing is held by an agreed operation; returns how many were put aside. */
async function pushPage(
  survivor: Peer,
  objects: readonly ManagedObject[],
  { timers, ids }: RegionTools,
): Promise<number> {
  let left = objects;
  let quarantined = 0;
  for (let tries = 0; left.length > 0; tries++) {
    if (tries >= heldTriesMax) {
      const message = "agreed operations keep holding records of the survivor";
      throw new StoreUnavailable("reserved", message);
    }
    const outcomes = await survivor.push(left);
    quarantined += outcomes.filter((outcome) => outcome === "quarantined").length;
    left = left.filter((_, at) => outcomes[at] === "reserved");
    if (left.length > 0) await jittered(timers, ids, heldPauseMs);
  }
  return quarantined;
}

/** Joins what the survivor has, for change numbers after `from` and at least up to `to`. */
async function pullAll(
  survivor: Peer,
  from: StorePosition | undefined,
  to: StorePosition,
  tools: RegionTools,
  progress: (progress: RejoinProgress) => void,
): Promise<number> {
  // Another process may have given the same numbers to other changes: then everything is read again.
  const known = from?.replicationId === to.replicationId ? from.numbers : [];
  let records = 0;
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
      const merged = await mergeInto(tools.own, page.objects, mergingFrom(survivor, tools));
      const unread = page.objects.filter((_, at) => merged[at]?.result === "unreadable");
      refuseUnknown({ unknown: unread.map(({ uniqueIdentifier }) => uniqueIdentifier) });
      records += page.objects.length;
      progress({ step: "pulling", records });
      if (page.upTo <= after) break;
      after = page.upTo;
    }
  }
  return records;
}

function mergingFrom(survivor: Peer, { timers, observe }: RegionTools) {
  return { from: survivor.region, timers, observe, reservedMs: heldPauseMs * heldTriesMax };
}
