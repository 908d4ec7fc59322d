import {
  type AuditEntry,
  type AuditEvent,
  type AuditLog,
  auditTimeOf,
  type ChainPoint,
  chainHash,
  checkpointEvery,
  type ObjectStore,
  StoreUnavailable,
  systemInstance,
  type Timers,
} from "@holdfast/engine";

/** The point after an entry. */
export function chainPoint(before: ChainPoint, { number, bytes }: AuditEntry): ChainPoint {
  return {
    number,
    hash: chainHash(before.hash, number, bytes),
    bytes: before.bytes + bytes.length,
    timeMs: timeOf(bytes, before.timeMs),
  };
}

/** An event that the leader writes about the trail itself. */
export function leaderEvent(
  timeMs: number,
  action: "audit.drop" | "audit.damage",
  detail: NonNullable<AuditEvent["detail"]>,
): AuditEvent {
  const fixed = { outcome: "failure", initiator: "leader", requestId: "leader" } as const;
  return { time: timeMs, action, ...fixed, detail };
}

/** Entries of a trail that are gone: their numbers. */
export interface Gone {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** Adds what is gone, with what it continues. */
export function withGone(all: readonly Gone[], more: Gone): readonly Gone[] {
  const before = all.find(
    ({ partition, to }) => partition === more.partition && to === more.from - 1,
  );
  if (before === undefined) return [...all, more];
  return all.map((gone) => (gone === before ? { ...gone, to: more.to } : gone));
}

/** Writes audit events about what is gone; false if the store, which may be full, does not take them now. */
export async function tellGone(
  { store, timers }: { readonly store: Pick<ObjectStore, "appendAudit">; readonly timers: Timers },
  all: readonly (Gone & { readonly sink?: string })[],
): Promise<boolean> {
  const events = all.map((gone) => leaderEvent(timers.wallMs(), "audit.drop", { ...gone }));
  try {
    await store.appendAudit(systemInstance, events, true);
    return true;
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    return false;
  }
}

/** The time of an entry; of a damaged one, that of the one before. */
function timeOf(bytes: Uint8Array, before: number): number {
  return bytes.length < 8 ? before : auditTimeOf(bytes);
}

/** Whether two hashes are the same. */
export function sameHash(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** The first of some points that the store keeps with another hash; undefined without one. */
export async function differingPoint(
  log: Pick<AuditLog, "points">,
  partition: number,
  points: readonly ChainPoint[],
): Promise<ChainPoint | undefined> {
  const asked = points.filter(({ number }) => number % checkpointEvery === 0);
  if (asked.length === 0) return undefined;
  const kept = await log.points(
    partition,
    asked.map(({ number }) => number),
  );
  return asked.find(({ hash }, at) => {
    const other = kept[at];
    return other !== undefined && !sameHash(other.hash, hash);
  });
}
