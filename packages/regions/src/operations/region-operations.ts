import {
  type AuditEvent,
  changeRecord,
  type Ids,
  type ManagedObject,
  makeRecord,
  type Observer,
  type OwnStore,
  readRecord,
  systemInstance,
  type Timers,
  updateRecord,
} from "@holdfast/engine";
import type { Peer } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";
import { isRetiredEntry, type RegionEntry, regionIdentifier } from "../serving/region-records.ts";
import { pushToAll } from "../store/push.ts";

/** An operator's request that is refused; the message says what to do. */
export class RegionRefused extends Error {
  override readonly name = "RegionRefused";
  /** Whether the state of the regions is the reason, the request itself, or something that may pass (`again`). */
  readonly by: "state" | "request" | "again";
  constructor(message: string, by: RegionRefused["by"] = "state") {
    super(message);
    this.by = by;
  }
}

export interface RegionTools {
  /** The region in which the operator works. */
  readonly region: string;
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly timers: Timers;
  readonly ids: Ids;
  readonly observe: Observer;
}

/** What an operator confirms when a region is retired. */
export interface RetireConfirmed {
  /** No client reaches the lost region any more. */
  readonly endpointsAreOff: boolean;
  /** The own store may lack what only the lost region has; false unless given. */
  readonly althoughNotLevel?: boolean;
}

const pushTimeoutMs = 2_000;

/**
 * Declares another region lost: from then on nothing waits for its agreement or its "not found".
 * The operator must know that no client reaches that region any more, since a region that is cut
 * off does not hear of it. A region that answers is not lost, and is not retired. Rejects with `RegionRefused` as
 * `requireRetirable` does.
 */
export async function retireRegion(
  lost: string,
  confirmed: RetireConfirmed,
  tools: RegionTools,
  /** Written with the change, and also where the region is retired already. */
  evidence: readonly AuditEvent[] = [],
): Promise<RegionEntry> {
  const { own, peers, timers, ids, observe } = tools;
  await requireRetirable(lost, confirmed, tools);
  const record = await changeRegion(
    tools,
    lost,
    ({ generation }) => ({ retired: generation }),
    evidence,
  );
  const others = peers.filter((each) => each.region !== lost && each.state() === "up");
  await pushToAll(others, [record], { timers, ids, observe, timeoutMs: pushTimeoutMs });
  return await entryOf(own, lost);
}

/**
 * Refuses to retire a region that is not another one, that answers, or of which the operator has not confirmed all that
 * is needed.
 */
export async function requireRetirable(
  lost: string,
  { endpointsAreOff, althoughNotLevel = false }: RetireConfirmed,
  { region, own, peers }: RegionTools,
): Promise<void> {
  if (lost === region) {
    throw new RegionRefused(
      "a region cannot retire itself: run this in the region that stays",
      "request",
    );
  }
  const peer = peers.find((each) => each.region === lost);
  if (peer === undefined) {
    const known = peers.map((each) => each.region).join(", ") || "none";
    throw new RegionRefused(
      `region ${lost} is not configured here; other regions: ${known}`,
      "request",
    );
  }
  if (!endpointsAreOff) {
    throw new RegionRefused(
      `confirm that no client can reach an endpoint of region ${lost}: it keeps serving while it is cut off, and what it acknowledges then may be lost`,
      "request",
    );
  }
  if (await answers(peer)) {
    throw new RegionRefused(
      `region ${lost} answers: stop all of its nodes first, or do not retire it`,
    );
  }
  // Without other regions the own store counts as level at once, and its "not found" counts.
  if (!althoughNotLevel && !(await isLevel(own))) {
    throw new RegionRefused(
      `the store of region ${region} is not level: it may lack what region ${lost} acknowledged, and only the disks of region ${lost} have that; start region ${lost} if its disks exist, and wait until \`holdfast region status\` here says that the store is level; if they are lost for good, give --although-not-level ${lost} too`,
    );
  }
}

/** Whether a store has had all that the other regions had at its last resync. One that no node has used yet asked for none. */
async function isLevel(own: OwnStore): Promise<boolean> {
  const { asked, reached, lost } = await own.levels();
  return reached >= Math.max(asked, lost);
}

/** Whether a region is retired, as the own store has it. */
export async function isRetiredIn(own: OwnStore, region: string): Promise<boolean> {
  return isRetiredEntry(await entryOf(own, region));
}

/** A region's record as the own store has it; without one, the first generation, never retired. */
export async function entryOf(own: OwnStore, region: string): Promise<RegionEntry> {
  const [copy] = await own.read(systemInstance, [regionIdentifier(region)]);
  const entry = copy && readRecord("Region", copy.object);
  const { generation, retired } = entry ?? { generation: 1, retired: 0 };
  return { region, generation, retired };
}

/** A region's record with a change, on top of a copy of it if there is one. */
export function changedRegion(
  copy: ManagedObject | undefined,
  region: string,
  by: string,
  wallMs: number,
  change: (entry: RegionEntry) => Partial<Omit<RegionEntry, "region">>,
): ManagedObject {
  const now = { us: Math.floor(wallMs * 1_000), region: by };
  const first = { region, generation: 1, retired: 0 };
  const record = copy ?? makeRecord("Region", regionIdentifier(region), first, now);
  return changeRecord("Region", record, change(readRecord("Region", record) ?? first), now);
}

/** Changes a region's record in the own store, with evidence. */
export async function changeRegion(
  { own, region: by, timers }: RegionTools,
  region: string,
  change: (entry: RegionEntry) => Partial<Omit<RegionEntry, "region">>,
  evidence: readonly AuditEvent[] = [],
): Promise<ManagedObject> {
  const { record, outcome } = await updateRecord(
    own,
    regionIdentifier(region),
    (before) => changedRegion(before?.object, region, by, timers.wallMs(), change),
    { what: `the record of region ${region}`, evidence },
  );
  if (outcome === undefined && evidence.length > 0) {
    await own.appendAudit(systemInstance, evidence, true);
  }
  return record;
}

/** Whether any node of a region answers, even if only that its store is unavailable. */
export async function answers(peer: Peer): Promise<boolean> {
  try {
    await peer.hello();
    return true;
  } catch (error) {
    return failureIn(error).failure !== "peerUnreachable";
  }
}
