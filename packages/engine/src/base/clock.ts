/** Wall clock in milliseconds since the epoch; monotonic clock in milliseconds since an arbitrary start. */
export interface Clock {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** Why the wall clock may not decide that a date has come; absent if it is not compared with any other. */
  readonly doubt?: () => ClockDoubt | undefined;
}

/** Both clocks at one moment: each may stop or jump while the other runs. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** A clock, and a sleep that follows it, so that the simulator can control both. */
export interface Timers extends Clock {
  /** Resolves after `ms`; rejects at once when `signal` is aborted. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** This node's clock disagrees with another. */
export interface ClockDoubt {
  /** The latest of the other clocks, seconds: a date that is not due by it has not come, regardless of this node's clock. */
  readonly latestSeconds: number;
  /** Names the clock. */
  readonly reason: string;
}
