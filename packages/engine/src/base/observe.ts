/**
 * Whom the link refuses: a caller that is not a known peer; a node with a peer certificate that does not prove its region's
 * key; a caller that did not finish its handshake, for example because the connection was cut; or callers beyond the limit.
 */
export const peerRefusals = ["stranger", "unproven", "unfinished", "flood"] as const;

/** One of `peerRefusals`. */
export type PeerRefusal = (typeof peerRefusals)[number];

/** How another region's request for a KEK ends. */
export const kekGivings = ["missing", "ordered", "refused", "failed"] as const;

/** One of `kekGivings`. */
export type KekGiving = (typeof kekGivings)[number];

/** What became of a copy that was joined into an own store; all of it is durable. */
export type JoinResult =
  | "written"
  /** The own record contained it. */
  | "same"
  /** An agreed operation holds the record. */
  | "reserved"
  /**
   * Its immutable part differs, or it lacks the last state of a damaged own record; the copy is put
   * aside.
   */
  | "quarantined"
  /** The instance was deleted, or no region makes such a record. */
  | "refused"
  /** Nothing proves that the change was approved, as this region's policy asks; it may be joined later. */
  | "unproven"
  /** The own record is of a format that this node does not know; it is left as it is. */
  | "unreadable";

/** What happened, for metrics, log and traces, as one typed stream. Never carries key material. */
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
  /** The root of trust has opened the store's keys, or does not open them now. */
  | { readonly type: "storageKey"; readonly state: "open" | "closed"; readonly reason: string }
  /** The entry of a storage key was missing or damaged, and the leader has put its last good one back. */
  | { readonly type: "storageKeyPutBack"; readonly number: number }
  /** The value at this place in Redis was not written there by a node of this region: it does not count. */
  | { readonly type: "unprovenValue"; readonly place: string }
  /** What became of the file with this node's memory of its store. */
  | {
      readonly type: "rollbackMemory";
      readonly state: "kept" | "missing" | "failed";
      readonly reason: string;
    }
  /** The store has an older state of a record than this node remembers, or has it no more. */
  | { readonly type: "olderRecord"; readonly partition: number; readonly uniqueIdentifier: string }
  /** The store may be an older one: its change numbers are lower than covered ones; or this is over. */
  | { readonly type: "storeDoubt"; readonly doubted: boolean; readonly reason: string }
  | { readonly type: "lock"; readonly result: "acquired" | "contended" | "unavailable" }
  /** What this node can do with an instance's keys has changed. */
  | {
      readonly type: "instanceKeys";
      readonly instance: string;
      readonly state: "open" | "grace" | "closed" | "shredded";
      /** The root of trust's failure; `none` if it did not fail. */
      readonly failure: "unavailable" | "denied" | "disabled" | "gone" | "none";
      readonly reason: string;
    }
  | { readonly type: "unwrap"; readonly durationMs: number; readonly ok: boolean }
  /** A call to a key manager, or to the service that grants access to it; each retry is an event of its own. */
  | {
      readonly type: "rootCall";
      /** Its kind, such as `key-protect`. */
      readonly root: string;
      readonly action: string;
      /** HTTP status; 0 if there was no response. */
      readonly status: number;
      /** The other side's error code. */
      readonly code?: string;
      /** Identifies the call for the other side and in its own events; the same for all retries. */
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
  /** Whether another region can be reached: pushes wait for it only if it can. */
  | {
      readonly type: "peer";
      readonly region: string;
      readonly state: "up" | "down" | "retired";
      readonly reason: string;
    }
  /** The result of a change's push: acknowledged by both regions, or by this one alone. */
  | {
      readonly type: "push";
      readonly region: string;
      readonly result: "shared" | "alone";
      readonly records: number;
      readonly durationMs: number;
    }
  /** A copy from another region was joined with the region's own copy. */
  | {
      readonly type: "join";
      readonly region: string;
      readonly result: JoinResult;
    }
  /** A change that another region says it made is not taken: nothing proves that it was approved. */
  | {
      readonly type: "unproven";
      readonly region: string;
      readonly record: string;
      readonly reason: string;
    }
  /** How many such changes of another region its leader knows that are still not taken. */
  | { readonly type: "unprovenLeft"; readonly region: string; readonly records: number }
  /** How far this node's clock is ahead of another, `of`; negative if it is behind. */
  | { readonly type: "clockOffset"; readonly of: string; readonly aheadMs: number }
  /** The nodes of a region use different stores for long, or (`stores` is 1) do so no longer. */
  | {
      readonly type: "regionStores";
      readonly region: string;
      readonly stores: number;
      readonly reason: string;
    }
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
  /** Changes of another region that the leader has not processed yet: that region's position minus the cursor. */
  | { readonly type: "behind"; readonly region: string; readonly changes: number }
  /** The number of destroyed keys that can be restored, as the leader knows them (of the first 50,000 that become final). */
  | { readonly type: "restorable"; readonly keys: number }
  /** The number of Names that two live objects share, as the leader last counted. */
  | { readonly type: "duplicateNames"; readonly names: number }
  /** A sink received audit entries, or could not; `behind` counts those that it has not received yet. */
  | {
      readonly type: "auditSink";
      readonly sink: string;
      readonly ok: boolean;
      readonly entries: number;
      readonly behind: number;
      /** Age of the oldest entry that it has not received yet. */
      readonly lagMs: number;
      readonly durationMs: number;
      readonly cause?: unknown;
    }
  /** A witness cosigned the log over the audit trail, or did not; `behind` counts the leaves that it has not cosigned. */
  | {
      readonly type: "auditWitness";
      readonly witness: string;
      readonly ok: boolean;
      readonly size: number;
      readonly behind: number;
      /** How long it has been behind. */
      readonly lagMs: number;
      readonly durationMs: number;
      readonly cause?: unknown;
    }
  /** Audit entries were dropped, at the limit of what the store keeps. */
  | { readonly type: "auditLost"; readonly entries: number; readonly reason: string }
  /** The audit trail does not match its chain: somebody changed it, or the store is damaged. */
  | { readonly type: "auditFault"; readonly partition: number; readonly reason: string }
  /**
   * Another region asked for a KEK: it got it because it never had a wrap, or by an order of this region; it was refused
   * by these rules; or a fault kept this region from giving it.
   */
  | {
      readonly type: "kekGiven";
      readonly region: string;
      readonly instance: string;
      readonly kekId: string;
      readonly result: KekGiving;
    }
  /** The peer port refused a caller; or this node refused a node of the other region that it called (`unproven`). */
  | {
      readonly type: "peerRefused";
      readonly address: string;
      readonly reason: string;
      readonly kind: PeerRefusal;
    }
  | { readonly type: "warning"; readonly message: string; readonly cause?: unknown };

export type Observer = (event: Event) => void;
