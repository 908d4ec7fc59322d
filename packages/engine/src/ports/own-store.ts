import type { AuditEvent } from "../audit/audit-event.ts";
import type { State } from "../record/lifecycle.ts";
import type { ManagedObject, Tag } from "../record/record.ts";
import type {
  Change,
  CommitOptions,
  CommitOutcome,
  FindPage,
  FindQuery,
  ObjectStore,
  StoredObject,
} from "./objects.ts";

/** What a store's lease lets its region do: everything, reads of covered records, or nothing. */
export type StoreState = "full" | "readOnly" | "none";

/** A record of a region's own store; `reserved` is the agreed operation that holds it, if one does. */
export interface OwnStoredObject extends StoredObject {
  readonly reserved?: string;
}

/** A search of a region's own store. */
export interface OwnFindQuery extends FindQuery {
  /** Lists records that do not decode. Without it, they fail the search with `corrupt`. */
  readonly listDamaged?: boolean;
}

/** A page of a region's own store. */
export interface OwnFindPage extends FindPage {
  readonly objects: readonly OwnStoredObject[];
  /** Records on this page that do not decode, if they are to be listed; never empty. */
  readonly damaged?: {
    readonly ids: readonly string[];
    /** Whether the term led to them, so that each may be what is searched for; false in a walk of all objects. */
    readonly byTerm: boolean;
  };
}

/** A system record that a change depends on: unchanged while it has this tag, which is empty if it does not exist. */
export interface GivenRecord {
  readonly uniqueIdentifier: string;
  readonly tag: Tag | "";
}

/** How a change is written into a region's own store. */
export interface OwnCommitOptions extends CommitOptions {
  /** Called once the change is written, and before it is durable: the push to the other region begins here. */
  readonly written?: () => void;
  /**
   * The change is a join with another region's copy: names are not claimed (a join may leave two), and only a
   * deleted instance refuses it.
   */
  readonly joined?: boolean;
  /**
   * The agreed operation that writes. Every record that it updates must be reserved by it, otherwise the outcome is
   * `reservationLost`; all of its reservations in the partition end in the same step.
   */
  readonly operation?: string;
  /** If one of these has changed, nothing is written: rejects with `StoreUnavailable("superseded")`. */
  readonly given?: readonly GivenRecord[];
}

/** One agreed operation's hold on records of an instance. */
export interface Reservation {
  readonly operation: string;
  readonly instance: string;
  readonly ids: readonly string[];
  /** Wall clock of the store's node that reserved, milliseconds. */
  readonly sinceMs: number;
}

/** The result of a reservation; nothing is reserved unless everything is. */
export type ReserveOutcome =
  | { readonly kind: "reserved" }
  | { readonly kind: "held"; readonly uniqueIdentifier: string; readonly operation: string };

/** A store's change numbers by partition (64 and `{sys}`), all of them covered. */
export interface StorePosition {
  /** Identifies the process that counts: another one may give the same numbers to other changes. */
  readonly replicationId: string;
  readonly numbers: readonly number[];
}

/** Changed records of one partition, in the order of their last change; every one is covered. */
export interface ChangePage {
  readonly replicationId: string;
  readonly objects: readonly ManagedObject[];
  /** Records that do not decode, which are reported and skipped. */
  readonly damaged: readonly string[];
  /** Records of a format that the reading node does not know: the page was not read completely. */
  readonly unknown: readonly string[];
  /** Change number up to which the page is complete. */
  readonly upTo: number;
  /** Change number of the partition: `upTo` if nothing follows. */
  readonly last: number;
}

/** An identifier and its record's tag, as `changes` holds them. */
export interface Leaf {
  readonly uniqueIdentifier: string;
  readonly tag: Tag;
}

export interface LeafPage {
  readonly replicationId: string;
  readonly leaves: readonly Leaf[];
  /** Where the next page begins; absent when nothing follows. */
  readonly next?: number;
}

/** Copies by identifier, of any instance of a partition. Identifiers that the store does not have are left out. */
export interface RecordsAnswer {
  readonly objects: readonly ManagedObject[];
  /** Identifiers of records that do not decode. */
  readonly damaged: readonly string[];
  /** Identifiers of records of a format that the reading node does not know. */
  readonly unknown: readonly string[];
}

/** How many objects of an instance are in each state. */
export type StateCounts = Readonly<Record<State, number>>;

/** How many objects of an instance there are. */
export interface InstanceCounts {
  readonly states: StateCounts;
  /** Those that are not destroyed, by the month of their Initial Date: months since January 1970, UTC. */
  readonly months: ReadonlyMap<number, number>;
}

/** The progress of a recount. */
export interface Recount {
  /** Records that this call has looked at. */
  readonly done: number;
  /** Changes that were not looked at yet; 0 when the counts include all records. */
  readonly left: number;
  /** Counts that were wrong and are corrected. */
  readonly wrong: number;
}

/** How far a region has read another region's changes of a partition. */
export interface PeerCursor {
  readonly replicationId: string;
  readonly number: number;
}

/** The number of the last resync that was requested in this store, and of the last one that it has completed. */
export interface Levels {
  readonly asked: number;
  readonly reached: number;
  /** The resync that `loseLevel` last requested: earlier ones no longer count. */
  readonly lost: number;
}

/** The records that agreed operations hold. */
export interface ReservationStore {
  /** All or none; the same operation may reserve again. Records need not exist. `given` is as in `commit`. */
  reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    given?: readonly GivenRecord[],
  ): Promise<ReserveOutcome>;
  /** Ends all reservations of an operation in an instance; returns their number. */
  release(instance: string, operation: string, epoch?: number): Promise<number>;
  /** All reservations. */
  reservations(): Promise<readonly Reservation[]>;
}

/** What another region pulls, and a backup reads. */
export interface ReplicationSource {
  position(): Promise<StorePosition>;
  /** At most `limit` records and about `bytesMax` bytes, of change numbers above `after`. */
  changes(partition: number, after: number, limit: number, bytesMax: number): Promise<ChangePage>;
  /** 256 × 16 bytes: XOR of the tags of all records whose identifier begins with that byte. */
  digests(partition: number): Promise<Uint8Array>;
  /**
   * Identifiers and tags whose first byte has its bit set in `mask`: 256 bits, of byte `b` the bit `1 << (b & 7)` of
   * `mask[b >> 3]`. In the order of `changes`: `after`, like `next`, is a change number; only later ones are returned.
   */
  leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage>;

  /** Covered copies of a partition, of any instance: those in which `leaves` differ. At most 1,000 identifiers. */
  records(partition: number, ids: readonly string[]): Promise<RecordsAnswer>;
}

/** How many objects are in each state. */
export interface StateCountStore {
  /**
   * Kept as counters, so that no records are read. Undefined while a store's records are being counted for the first
   * time, and if a number cannot be right: `recount` corrects it.
   */
  counts(instance: string): Promise<StateCounts | undefined>;
  /** The same for all instances that have objects in a partition, by month too. */
  countsIn(partition: number): Promise<ReadonlyMap<string, InstanceCounts> | undefined>;
  /** Recounts some more of a partition's records, and begins again once all were counted. */
  recount(partition: number): Promise<Recount>;
}

/** What a region's leader keeps: how far it has read, whether the store is level, its epoch. */
export interface LeaderStore {
  cursor(partition: number, peer: string): Promise<PeerCursor | undefined>;
  setCursor(partition: number, peer: string, cursor: PeerCursor, epoch: number): Promise<void>;

  /** Asks the leader to resync the store; returns the number of the request. */
  requestResync(): Promise<number>;
  /** Notes that the store could not take what another region has: it is not level again before another resync. */
  loseLevel(): Promise<void>;
  levels(): Promise<Levels>;
  setLevel(reached: number, epoch: number): Promise<void>;

  /** A new leader's epoch: durable before it is returned, and never returned twice. */
  newEpoch(): Promise<number>;
}

/** The quarantine for records that do not decode, or that contradict what the store has. */
export interface QuarantineStore {
  /**
   * Sets aside a record's present bytes, or `copy` if the fault is in what another region sent, and reports it; the
   * same bytes at most once a minute. A `replacement` is written in place of a record that does not decode; in place of
   * an older state than this node remembers, which proves itself, what `join` makes of that and the replacement. With `only`
   * every other region has said that it lacks the record: an older state than this node remembers then counts again, if
   * it proves itself and lacks no deactivation, revocation or destruction. Rejects with
   * `corrupt` if the replacement lacks the last state that the store knows of the record, and with `unknownFormat` if
   * the record is intact and of a format that this node does not know; nothing is replaced then.
   */
  quarantine(
    instance: string,
    uniqueIdentifier: string,
    reason: string,
    options: {
      readonly copy?: Uint8Array;
      readonly replacement?: ManagedObject;
      readonly join?: (older: ManagedObject, replacement: ManagedObject) => ManagedObject;
      readonly only?: boolean;
    },
  ): Promise<void>;
  /** How many records are in quarantine. */
  quarantined(): Promise<number>;
}

/**
 * A region's own store. The region's nodes, its leader and the other region each use a part of it. Every
 * implementation passes `ownStoreConformance`. All methods reject with `StoreUnavailable` within a bounded time when
 * they cannot answer or cannot promise; what resolves is durable, what is returned is covered.
 *
 * Methods with an `epoch` are for the leader alone: they reject with `StoreUnavailable("deposed")` and write nothing
 * if the store has seen a higher epoch.
 */
export interface OwnStore
  extends ObjectStore,
    ReservationStore,
    ReplicationSource,
    StateCountStore,
    LeaderStore,
    QuarantineStore {
  /** What the lease allows at this moment. */
  state(): StoreState;
  /** Identifies the store's data: another id means other data. Undefined until the store was reached. */
  readonly storeId: string | undefined;

  /**
   * Whether the store may be an older one than this node remembers. It promises nothing new then, and only what this node
   * remembers counts.
   */
  doubted(): boolean;
  /** The number of the last order of an operator, to accept what is in the store, that this node carried out; 0 for none. */
  accepted(): number;
  /** Whether this node remembers a record, so that `read` refuses an older state of it. */
  remembers(instance: string, uniqueIdentifier: string): boolean;

  /** Calls `listener` at each change of the state, even a very short one; returns a function that stops that. */
  onState(listener: (state: StoreState, reason: string) => void): () => void;

  read(instance: string, ids: readonly string[]): Promise<readonly (OwnStoredObject | undefined)[]>;
  find(instance: string, query: OwnFindQuery): Promise<OwnFindPage>;
  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options?: OwnCommitOptions,
  ): Promise<CommitOutcome>;
}
