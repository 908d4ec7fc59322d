/**
 * Who was refused at the peer port: a stranger; a caller whose handshake ended unfinished, as when the line
 * is cut; or one of more callers than there is room for.
 */
export const peerRefusals = ["stranger", "unfinished", "flood"] as const;

/** One of `peerRefusals`. */
export type PeerRefusal = (typeof peerRefusals)[number];

/** What happened, for metrics, log and traces; one typed stream. Never carries key material. */
export type Event =
  | {
      readonly type: "operation";
      readonly operation: string;
      readonly version: string;
      readonly instance: string;
      /** "Success" or a Result Reason. */
      readonly result: string;
      readonly durationMs: number;
      readonly requestId: string;
      readonly fingerprint: string;
      readonly uniqueIdentifier?: string;
      /** The cause of an internal error, for the log only. */
      readonly cause?: unknown;
    }
  | { readonly type: "storeCommand"; readonly command: string; readonly durationMs: number }
  | {
      readonly type: "barrier";
      readonly durationMs: number;
      readonly batch: number;
      readonly full: boolean;
    }
  | {
      readonly type: "lease";
      readonly state: "full" | "readOnly" | "none";
      readonly reason: string;
    }
  | { readonly type: "lock"; readonly result: "acquired" | "contended" | "unavailable" }
  /** What this node can do with an instance's keys has changed. */
  | {
      readonly type: "instanceKeys";
      readonly instance: string;
      readonly state: "open" | "grace" | "closed" | "shredded";
      /** The root of trust's failure; `none` where it was none of its. */
      readonly failure: "unavailable" | "denied" | "disabled" | "gone" | "none";
      readonly reason: string;
    }
  | { readonly type: "unwrap"; readonly durationMs: number; readonly ok: boolean }
  /** A call to a key manager, or to what gives access to it; each repetition by itself. */
  | {
      readonly type: "rootCall";
      /** Its kind, such as `key-protect`. */
      readonly root: string;
      readonly action: string;
      /** HTTP status; 0 where no answer came. */
      readonly status: number;
      /** The other side's code for what was wrong. */
      readonly code?: string;
      /** What the other side and its own events know the call by; the same for all repetitions. */
      readonly correlationId: string;
      readonly attempt: number;
      readonly durationMs: number;
    }
  | { readonly type: "coveredRead"; readonly waited: boolean }
  | { readonly type: "casConflict"; readonly operation: string }
  /** Which store this node serves clients from; `none` when it cannot. */
  | {
      readonly type: "serving";
      readonly from: "local" | "remote" | "none";
      readonly writes: boolean;
      readonly reason: string;
    }
  /** Whether another region can be reached: pushes wait for it only then. */
  | {
      readonly type: "peer";
      readonly region: string;
      readonly state: "up" | "down" | "retired";
      readonly reason: string;
    }
  /** What became of a change's push: acknowledged by both regions, or by this one alone. */
  | {
      readonly type: "push";
      readonly region: string;
      readonly result: "shared" | "alone";
      readonly records: number;
      readonly durationMs: number;
    }
  /** A copy from another region was joined with the own one. */
  | {
      readonly type: "join";
      readonly region: string;
      readonly result: "written" | "same" | "reserved" | "quarantined" | "refused" | "unreadable";
    }
  /** How far this node's clock is ahead of another, `of`; negative where it is behind. */
  | { readonly type: "clockOffset"; readonly of: string; readonly aheadMs: number }
  /** A stamp of another region is ahead of this node's clock. */
  | { readonly type: "clockAhead"; readonly region: string; readonly ms: number }
  | {
      readonly type: "agreement";
      readonly result: "agreed" | "refused" | "unknown";
      readonly durationMs: number;
    }
  | {
      readonly type: "leader";
      readonly state: "leader" | "follower" | "standing";
      readonly epoch: number;
      readonly reason: string;
    }
  /** A leader's duty ran; `done` counts what it did, `left` what it knows to remain. */
  | {
      readonly type: "duty";
      readonly duty: string;
      readonly ok: boolean;
      readonly durationMs: number;
      readonly done: number;
      readonly left: number;
      readonly cause?: unknown;
    }
  /** Changes of another region that the leader found and had not looked at: that region's position less the cursor. */
  | { readonly type: "behind"; readonly region: string; readonly changes: number }
  /** How many Names two live objects have, as the leader last counted. */
  | { readonly type: "duplicateNames"; readonly names: number }
  /** A sink was given audit entries, or could not be; `behind` counts those that it has not. */
  | {
      readonly type: "auditSink";
      readonly sink: string;
      readonly ok: boolean;
      readonly entries: number;
      readonly behind: number;
      /** Age of the oldest that it has not. */
      readonly lagMs: number;
      readonly durationMs: number;
      readonly cause?: unknown;
    }
  /** Audit entries were given up, at the bound of what the store keeps. */
  | { readonly type: "auditLost"; readonly entries: number; readonly reason: string }
  /** The audit trail is not what the chain says: somebody changed it, or the store is damaged. */
  | { readonly type: "auditFault"; readonly partition: number; readonly reason: string }
  /** Somebody was refused at the peer port. */
  | {
      readonly type: "peerRefused";
      readonly address: string;
      readonly reason: string;
      readonly kind: PeerRefusal;
    }
  | { readonly type: "warning"; readonly message: string; readonly cause?: unknown };

export type Observer = (event: Event) => void;
