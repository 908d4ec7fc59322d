import type {
  AuditEvent,
  Change,
  CommitOutcome,
  ManagedObject,
  ObjectStore,
  OwnStoredObject,
  ReplicationSource,
  ReserveOutcome,
  StorePosition,
} from "@holdfast/engine";

/** The outcome of a pushed record in the other region, once it is durable there. */
export type PushOutcome =
  /** The other region's own store has it, or something that contains it. */
  | "durable"
  /** An agreed operation holds the record there; catch-up brings it. */
  | "reserved"
  /** Its immutable part differs from the other region's; both are kept apart and reported. */
  | "quarantined"
  /** The instance was deleted there, or no region makes such a record. */
  | "refused"
  /**
   * The node there does not know the format of this record, or of its own copy: nothing is
   * promised.
   */
  | "unread";

/** What a region says about itself at each contact. */
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
  /** The store that the answering node uses; empty if it uses none, or does not say. */
  readonly storeId: string;
  /** The stores that nodes of the asking region use, as they have said to the answering node. */
  readonly callingStores: readonly NodeStore[];
}

/** A node and the store that it uses. */
export interface NodeStore {
  /** Its name, or `host:port` of its peer port. */
  readonly node: string;
  readonly storeId: string;
}

/** The store that a node of a region used when it was last heard. */
export interface StoreUse extends NodeStore {
  readonly region: string;
  /** Monotonic clock when it was asked. */
  readonly atMs: number;
}

/**
 * What a node's answer says about stores: which one it uses, and what it has heard of the asking region's nodes. A node
 * without a store's id is left out.
 */
export function usesIn(
  { region, storeId, callingStores }: PeerHello,
  {
    node,
    calling,
    atMs,
  }: { readonly node: string; readonly calling: string; readonly atMs: number },
): readonly StoreUse[] {
  const own = storeId === "" ? [] : [{ region, node, storeId, atMs }];
  const named = callingStores.filter((use) => use.storeId !== "");
  return [...own, ...named.map((use) => ({ ...use, region: calling, atMs }))];
}

/**
 * What one region answers to another, from its own store and never through a third. Every method
 * rejects with `StoreUnavailable` in a bounded time: `peerUnreachable` where the region cannot be
 * asked, and the serving store's own failure where it cannot answer. `fetch` (for a record that
 * does not exist), `reserve` and `remote` need a region that serves from its own store; the others
 * need only a lease, level or not.
 */
export interface PeerStore extends ReplicationSource {
  position(): Promise<PeerPosition>;
  hello(): Promise<PeerHello>;
  /** Joins records into the own store; in the order of the records. */
  push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]>;
  /** Copies of the own store; undefined is a "not found" that counts. */
  fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]>;

  /** Step 1 of an agreed operation: refused where the region would not take the changes, since nothing is decided yet. */
  reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    changes?: readonly Change[],
  ): Promise<ReserveOutcome>;
  /**
   * Step 3: makes the changes if the reservation still exists. `conflict` where a copy differs from
   * the one that was read.
   */
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
   * Runs a command of the other region's management, and returns its result: JSON, at most
   * `manageBytes` each way. Several nodes may do it, one after the other or at once.
   */
  manage(command: Uint8Array): Promise<Uint8Array>;

  /** The region's own store for clients of the asking region, whose own cannot be used. */
  readonly remote: ObjectStore;
}

/** Up to where a region has changed records, and what may change others that it reserved before. */
export interface PeerPosition extends StorePosition {
  /** The agreed operations that held records before the numbers were read. */
  readonly operations: readonly string[];
}

/** Most bytes of a command of management, and of its result. */
export const manageBytes = 64 * 1024;

/** Whether another region can be asked. A retired one is not used. */
export type PeerState = "up" | "down" | "retired";

/** Another region, through whichever of its nodes answers. */
export interface Peer extends PeerStore {
  readonly region: string;
  /** What was last known; never waits. A background probe updates it. */
  state(): PeerState;
  /** Calls `listener` at each change; returns a function that stops it. */
  onState(listener: (state: PeerState, reason: string) => void): () => void;
  /** Calls `listener` with each answer of a node to a probe; returns a function that stops it. */
  onHello(listener: (hello: PeerHello) => void): () => void;
}
