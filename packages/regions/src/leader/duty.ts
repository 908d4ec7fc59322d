/**
 * The lock by which a region's nodes elect their leader. It only saves work: what decides is the epoch. Each method is
 * bounded in time, and answers false where the lock masters cannot be asked.
 */
export interface LeaderLock {
  acquire(ttlMs: number): Promise<boolean>;
  extend(ttlMs: number): Promise<boolean>;
  release(): Promise<void>;
}

/** What a duty knows of the term in which it runs. */
export interface DutyContext {
  /** Carried by every write that only a leader may make. */
  readonly epoch: number;
  /** Aborted when the term ends. */
  readonly signal: AbortSignal;
  /** Whether the lease holds at this moment by both clocks, and the own store has a full lease: asked between steps. */
  readonly active: () => boolean;
}

/** What a run did, and what it knows to remain. */
export interface DutyResult {
  readonly done: number;
  readonly left: number;
}

/** Work of a region's leader: small, idempotent, resumable, and on the region's own store only. */
export interface Duty {
  readonly name: string;
  /** From the end of a run to the next. A run that did something and left something is followed at once. */
  readonly everyMs: number;
  readonly run: (context: DutyContext) => Promise<DutyResult>;
}
