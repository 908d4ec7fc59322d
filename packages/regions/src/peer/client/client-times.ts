/** Bounds of a `PeerClient`, all in milliseconds. */
export interface PeerClientTimes {
  /** Longest that any call takes. */
  readonly callMs: number;
  /** Longest that a call with a large message takes. */
  readonly largeMs: number;
  /** Between two probes of a node. */
  readonly probeMs: number;
  /** When a node that was asked something is silent for this long, the next node is asked too. */
  readonly stallMs: number;
  /** When a node that was asked something is silent for this long, it counts as gone. */
  readonly downAfterMs: number;
  /**
   * How often a node that is gone gets a new connection: one that lost its packets would wait too
   * long.
   */
  readonly renewMs: number;
}

/** The defaults. */
export const peerClientTimes: PeerClientTimes = {
  callMs: 2_000,
  largeMs: 20_000,
  probeMs: 250,
  stallMs: 225,
  downAfterMs: 600,
  renewMs: 2_000,
};
