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

/** A page of a region's own store. */
export interface OwnFindPage extends FindPage {
  readonly objects: readonly OwnStoredObject[];
}

/** A system record on which a change rests: what it said is still so while it has this tag, empty where it is not there. */
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
  /** Where one of these is another by now, nothing is written: rejects with `StoreUnavailable("superseded")`. */
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
  /** Names the process that counts: another one may give the same numbers to other changes. */
  readonly replicationId: string;
  readonly numbers: readonly number[];
}

/** Changed records of one partition, in the order of their last change; every one is covered. */
export interface ChangePage {
  readonly replicationId: string;
  readonly objects: readonly ManagedObject[];
  /** Records that do not decode, which are reported and passed over. */
  readonly damaged: readonly string[];
  /** Records of a format that the reading node does not know: the page was not read completely. */
  readonly unknown: readonly string[];
  /** Change number up to which the page is complete. */
  readonly upTo: number;
  /** Change number of the partition: `upTo` where nothing follows. */
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

/** How far counting anew has come. */
export interface Recount {
  /** Records that were looked at now. */
  readonly done: number;
  /** Changes that are not looked at yet; 0 when the counts are those of all records. */
  readonly left: number;
  /** Counts that were wrong and are set right. */
  readonly wrong: number;
}

/** Up to where a region has read another region's changes of a partition. */
export interface PeerCursor {
  readonly replicationId: string;
  readonly number: number;
}

/** The last resync that was asked for in this store, and the last one that it has reached. */
export interface Levels {
  readonly asked: number;
  readonly reached: number;
  /** The resync that the last loss of its level asked for: earlier ones do not count any more. */
  readonly lost: number;
}

/** What agreed operations hold. */
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
   * `mask[b >> 3]`. In the order of `changes`: `after`, like `next`, is a change number, and only later ones are answered.
   */
  leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage>;

  /** Covered copies of a partition, where the instance is not known: what `leaves` differ in. At most 1,000 identifiers. */
  records(partition: number, ids: readonly string[]): Promise<RecordsAnswer>;
}

/** How many objects are in each state. */
export interface StateCountStore {
  /**
   * Kept as numbers, not found by looking. Undefined while a store's records are being counted for the first time, and
   * where a number cannot be right: `recount` corrects it.
   */
  counts(instance: string): Promise<StateCounts | undefined>;
  /** The same of all instances that have objects in a partition, by month too. */
  countsIn(partition: number): Promise<ReadonlyMap<string, InstanceCounts> | undefined>;
  /** Counts some more of a partition's records anew, beginning again once all were counted. */
  recount(partition: number): Promise<Recount>;
}

/** What a region's leader keeps: how far it has read, how level the store is, its epoch. */
export interface LeaderStore {
  cursor(partition: number, peer: string): Promise<PeerCursor | undefined>;
  setCursor(partition: number, peer: string, cursor: PeerCursor, epoch: number): Promise<void>;

  /** Asks the leader to resync the store; returns the number of the request. */
  requestResync(): Promise<number>;
  /** The store could not take what another region has: no node takes it for level before it was levelled anew. */
  loseLevel(): Promise<void>;
  levels(): Promise<Levels>;
  setLevel(reached: number, epoch: number): Promise<void>;

  /** A new leader's epoch: durable before it is answered, and never answered twice. */
  newEpoch(): Promise<number>;
}

/** Where records go that do not decode, or contradict what is there. */
export interface QuarantineStore {
  /**
   * Puts a record's present bytes, or `copy` where the fault is in what another region sent, aside and reports it;
   * with `replacement`, that is written in the place of a record that does not decode. Rejects with `corrupt` where the
   * replacement lacks the last state that the store knows of the record, and with `unknownFormat` where the record is
   * whole and of a format that this node does not know; nothing is replaced then.
   */
  quarantine(
    instance: string,
    uniqueIdentifier: string,
    reason: string,
    options: { readonly copy?: Uint8Array; readonly replacement?: ManagedObject },
  ): Promise<void>;
  /** How many records lie in quarantine. */
  quarantined(): Promise<number>;
}

/**
 * A region's own store, as the region's nodes, its leader and the other region use it, each a part of it. Every
 * implementation passes `ownStoreConformance`. All methods reject with `StoreUnavailable` within a bounded time when they
 * cannot answer or cannot promise; what resolves is durable, what is answered is covered.
 *
 * Methods with an `epoch` are for the leader alone: they reject with `StoreUnavailable("deposed")` and write nothing
 * where the store has seen a higher epoch.
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
  /** Names the store's data: another one has other data. Undefined while it has not been reached. */
  readonly storeId: string | undefined;

  /** Calls `listener` at each change of the state, also one that is over at once; answers how to stop that. */
  onState(listener: (state: StoreState, reason: string) => void): () => void;

  read(instance: string, ids: readonly string[]): Promise<readonly (OwnStoredObject | undefined)[]>;
  find(instance: string, query: FindQuery): Promise<OwnFindPage>;
  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options?: OwnCommitOptions,
  ): Promise<CommitOutcome>;
}
