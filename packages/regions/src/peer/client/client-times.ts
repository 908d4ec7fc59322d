/** Bounds of a `PeerClient`, all in milliseconds. */
export interface PeerClientTimes {
  /** Longest that any call takes. */
  readonly callMs: number;
  /** Longest that a call with a large message takes. */
  readonly largeMs: number;
  /** Between two probes of a node. */
  readonly probeMs: number;
  /** Nothing heard of a node for so long while it was asked something: what it was asked is asked of the next one too. */
  readonly stallMs: number;
  /** Nothing heard of a node for so long while it was asked something: it counts as gone. */
  readonly downAfterMs: number;
  /** A node that is gone is connected to anew so often: a connection that lost its packets would wait for long. */
  readonly renewMs: number;
}

/** What is in force where nothing else is given. */
export const peerClientTimes: PeerClientTimes = {
  callMs: 2_000,
  largeMs: 20_000,
  probeMs: 250,
  stallMs: 225,
  downAfterMs: 600,
  renewMs: 2_000,
};
