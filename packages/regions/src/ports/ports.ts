import type {
  AuditEvent,
  Change,
  CommitOutcome,
  ManagedObject,
  ObjectStore,
  OwnStoredObject,
  ReplicationSource,
  ReserveOutcome,
} from "@holdfast/engine";

/** What became of a pushed record at the other region, once that is durable there. */
export type PushOutcome =
  /** The other region's own store has it, or something that contains it. */
  | "durable"
  /** An agreed operation holds the record there; catch-up brings it. */
  | "reserved"
  /** Its immutable part differs from the other region's; both are kept apart and reported. */
  | "quarantined"
  /** The instance was deleted there: the record is of no use any more. */
  | "refused"
  /** The node there knows the format of this record, or of its own, not: nothing is promised. */
  | "unread";

/** What a region says of itself when it is met. */
export interface PeerHello {
  readonly region: string;
  /** Grows each time the region rejoins; a retired generation never serves again. */
  readonly generation: number;
  /** The generation of the asking region that this region retired; 0 for none. */
  readonly retired: number;
  /** Whether it serves its clients from its own store now. */
  readonly serving: boolean;
  readonly wallMs: number;
  /** The newest format of records that every node of the region reads; 0 where that is not known. */
  readonly recordFormat: number;
}

/**
 * What one region answers to another, from its own store and never through a third. Every method rejects with
 * `StoreUnavailable` in a bounded time: `peerUnreachable` where the region cannot be asked, and the serving store's own
 * failure where it answers "cannot tell". `fetch` (for a record that is not there), `reserve` and `remote` need a
 * region that serves from its own store; the others a lease only, level or not.
 */
export interface PeerStore extends ReplicationSource {
  hello(): Promise<PeerHello>;
  /** Joins records into the own store; in the order of the records. */
  push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]>;
  /** Copies of the own store; undefined is a "no" that counts. */
  fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]>;

  /** Step 1 of an agreed operation. */
  reserve(instance: string, ids: readonly string[], operation: string): Promise<ReserveOutcome>;
  /** Step 3: makes the changes if the reservation still exists. `conflict` where a copy is another than the one read. */
  write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome>;
  release(instance: string, operation: string): Promise<number>;

  /**
   * An instance's KEK, unwrapped, for the caller to wrap under its own root of trust and then zero. The one place where
   * key material leaves a region.
   */
  kek(instance: string, kekId: string): Promise<Uint8Array>;

  /**
   * A command of the other region's management, and what came of it: JSON, at most `manageBytes` each way. Several nodes
   * may do it, one after the other or at once.
   */
  manage(command: Uint8Array): Promise<Uint8Array>;

  /** The region's own store for clients of the asking region, whose own cannot be used. */
  readonly remote: ObjectStore;
}

/** Bytes of a command of management, and of what is answered, at most. */
export const manageBytes = 64 * 1024;

/** Whether another region can be asked. A retired one counts as not there. */
export type PeerState = "up" | "down" | "retired";

/** Another region, through whichever of its nodes answers. */
export interface Peer extends PeerStore {
  readonly region: string;
  /** What was last known; never waits. A background probe moves it. */
  state(): PeerState;
  /** Calls `listener` at each change; answers how to stop that. */
  onState(listener: (state: PeerState, reason: string) => void): () => void;
}
