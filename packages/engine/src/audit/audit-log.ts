import type { ChainPoint } from "./audit-chain.ts";
import type { AuditTreeStore } from "./transparency/audit-tree.ts";

/** One entry of a partition's audit trail as the store holds it; `decodeAudit` reads it. */
export interface AuditEntry {
  /** The sequence number that the script assigned; the numbers have no gaps. */
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** The state of a partition's trail. */
export interface AuditStanding {
  /** Number of the last entry; it may not be covered yet. */
  readonly last: number;
  /** The store itself dropped entries up to this number, at its hard limit. */
  readonly dropped: number;
  /** The point before the first entry that retention has kept. */
  readonly base: ChainPoint;
  /** The point up to which the leader has extended the chain. */
  readonly head: ChainPoint;
}

/** Which entries of a partition: above `after`, oldest first, or below `before`, newest first. */
export interface AuditRange {
  readonly from: { readonly after: number } | { readonly before: number };
  readonly limit: number;
  /** True: no fail-over can lose the returned entries, which costs a barrier. */
  readonly covered: boolean;
}

/** The last of a partition's entries that a sink has received. */
export type SinkPoint = Pick<ChainPoint, "number" | "hash">;

/**
 * The audit trail of a region's own store, by partition. Every implementation passes `auditLogConformance`. All methods
 * reject with `StoreUnavailable`; those with an epoch also, with `deposed`, if the store has seen a higher one.
 */
export interface AuditLog {
  /** Identifies the store's data; a chain belongs to one store. */
  readonly storeId: string | undefined;
  /** The log over the trail that witnesses cosign, if the configuration has one. */
  readonly tree: AuditTreeStore;
  standings(): Promise<readonly AuditStanding[]>;
  entries(partition: number, range: AuditRange): Promise<readonly AuditEntry[]>;
  /** About the number of the first entry since `timeMs`, as clocks differ; one above the last if no entry is that new. */
  seek(partition: number, timeMs: number): Promise<number>;
  /** The points that are stored at these numbers. */
  points(
    partition: number,
    numbers: readonly number[],
  ): Promise<readonly (ChainPoint | undefined)[]>;
  /**
   * Moves a partition's chain from `from` to the last of `points`; those at multiples of `checkpointEvery` are kept. With
   * `base`, the trail begins at that point from now on: what was before it is gone. False if the head is not `from`.
   */
  extend(
    partition: number,
    from: ChainPoint,
    points: readonly ChainPoint[],
    epoch: number,
    base?: ChainPoint,
  ): Promise<boolean>;
  /** Removes a partition's entries and points up to `base`, where the trail then begins. */
  trim(partition: number, base: ChainPoint, epoch: number): Promise<void>;
  /** By partition; without partitions of which the sink never received anything. */
  sinkPoints(sink: string): Promise<ReadonlyMap<number, SinkPoint>>;
  setSinkPoints(sink: string, points: ReadonlyMap<number, SinkPoint>, epoch: number): Promise<void>;
}

/** Most entries in one response. */
export const auditEntriesMax = 1_000;
