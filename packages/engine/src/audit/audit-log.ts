import type { ChainPoint } from "./audit-chain.ts";

/** One entry of a partition's audit trail as the store holds it; `decodeAudit` reads it. */
export interface AuditEntry {
  /** The sequence number that the script gave it; they have no gaps. */
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** The state of a partition's trail. */
export interface AuditStanding {
  /** Number of the last entry; it may not be covered yet. */
  readonly last: number;
  /** Up to here the store gave entries up by itself, at its hard bound. */
  readonly dropped: number;
  /** Before the first entry that retention has left. */
  readonly base: ChainPoint;
  /** Up to where the leader has chained. */
  readonly head: ChainPoint;
}

/** Which entries of a partition: above `after`, oldest first, or below `before`, newest first. */
export interface AuditRange {
  readonly from: { readonly after: number } | { readonly before: number };
  readonly limit: number;
  /** No fail-over can take back what is answered; it costs a barrier. */
  readonly covered: boolean;
}

/** Up to where a sink has been given a partition's entries. */
export type SinkPoint = Pick<ChainPoint, "number" | "hash">;

/**
 * The audit trail of a region's own store, by partition. Every implementation passes `auditLogConformance`. All methods
 * reject with `StoreUnavailable`; those with an epoch also, with `deposed`, where the store has seen a higher one.
 */
export interface AuditLog {
  /** Names the store's data; a chain is one store's. */
  readonly storeId: string | undefined;
  standings(): Promise<readonly AuditStanding[]>;
  entries(partition: number, range: AuditRange): Promise<readonly AuditEntry[]>;
  /** The number of the first entry that is not older than `timeMs`, about: clocks differ. One above the last where none is. */
  seek(partition: number, timeMs: number): Promise<number>;
  /** The points that are kept at these numbers. */
  points(
    partition: number,
    numbers: readonly number[],
  ): Promise<readonly (ChainPoint | undefined)[]>;
  /**
   * Moves a partition's chain from `from` to the last of `points`; those at multiples of `checkpointEvery` are kept. With
   * `base`, the trail begins at that point from now on: what was before it is gone. False where the chain is elsewhere.
   */
  extend(
    partition: number,
    from: ChainPoint,
    points: readonly ChainPoint[],
    epoch: number,
    base?: ChainPoint,
  ): Promise<boolean>;
  /** Removes a partition's entries and points up to `base`, from where the trail begins then. */
  trim(partition: number, base: ChainPoint, epoch: number): Promise<void>;
  /** By partition; a partition that the sink was never given is not there. */
  sinkPoints(sink: string): Promise<ReadonlyMap<number, SinkPoint>>;
  setSinkPoints(sink: string, points: ReadonlyMap<number, SinkPoint>, epoch: number): Promise<void>;
}

/** Most entries in one answer. */
export const auditEntriesMax = 1_000;
