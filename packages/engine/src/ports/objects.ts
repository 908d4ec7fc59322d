import type { AuditEvent } from "../audit/audit-event.ts";
import type { ManagedObject, Tag } from "../record/record.ts";

/** A record as the store holds it; `tag` is the version that an update replaces. */
export interface StoredObject {
  readonly object: ManagedObject;
  readonly tag: Tag;
}

/** One record's change. The store derives index terms from the objects (`indexTerms`). */
export type Change =
  | { readonly kind: "create"; readonly after: ManagedObject }
  | { readonly kind: "update"; readonly before: StoredObject; readonly after: ManagedObject };

/** Why a store refused a change that it understood; nothing was written. */
export type CommitOutcome =
  | {
      readonly kind: "committed";
      /** The regions that acknowledged it, if that is known: in these it is durable. */
      readonly regions?: readonly string[];
    }
  /** The record's tag is no longer the one that `before` carries, or a created identifier exists. */
  | {
      readonly kind: "conflict";
      readonly uniqueIdentifier: string;
      /** An earlier try of this commit may have made it, so that a refusal which follows may be its own doing. */
      readonly doubt?: true;
    }
  /** A unique index term (a Name) is held by another live object. */
  | { readonly kind: "nameTaken"; readonly uniqueIdentifier: string; readonly name: string }
  /** The instance is not Installed. */
  | { readonly kind: "instanceClosed" }
  /** An agreed operation holds the record; only a region's own store returns this. */
  | { readonly kind: "reserved"; readonly uniqueIdentifier: string; readonly operation: string }
  /** The reservation under which to write has ended; only a region's own store returns this. */
  | { readonly kind: "reservationLost"; readonly uniqueIdentifier: string };

/** How a change is made. */
export interface CommitOptions {
  /** The change needs every region's agreement (Destroy): it is made everywhere, or refused. */
  readonly agreed?: boolean;
}

/** Where the next page of a find begins: opaque, given by the store. */
export type FindCursor = string;

/** Which records a store walks through. The engine filters what comes back; `term` narrows the walk. */
export interface FindQuery {
  /** An index term as `indexTerms` makes it; absent = every object of the instance. */
  readonly term?: string;
  /** Live objects, destroyed objects, or both. */
  readonly live: boolean;
  readonly destroyed: boolean;
  readonly limit: number;
  readonly after?: FindCursor;
}

export interface FindPage {
  /** Newest first by creation counter. May be fewer than `limit` although more follow. */
  readonly objects: readonly StoredObject[];
  /** Absent when nothing follows. */
  readonly next?: FindCursor;
}

/**
 * The store of managed objects. Every implementation passes `objectStoreConformance`.
 *
 * Everything that `read` and `find` return is *covered*: no fail-over can lose it.
 * Every method rejects with `StoreUnavailable` when it cannot answer or cannot promise, within a bounded time.
 */
export interface ObjectStore {
  /** One round trip; the results are in the order of the identifiers. Objects of other instances are undefined. */
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
  /**
   * All changes or none, in one atomic step, with the audit events; resolves when durable (after the barrier).
   * A change whose `after` has the tag of `before` writes only its audit event.
   */
  commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options?: CommitOptions,
  ): Promise<CommitOutcome>;
  /**
   * Notes that an object was served (Fresh): compare-and-set without barrier, which does not change the
   * promised change number. False if it lost the race or could not be done; never rejects.
   */
  markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean>;
  /**
   * Another copy of a broken object: one for which `opens` is true. It replaces the broken one if it can be written.
   * Undefined if no other copy opens; the method is absent if the store has no other copies.
   */
  heal?(
    instance: string,
    broken: StoredObject,
    opens: (object: ManagedObject) => Promise<boolean>,
  ): Promise<StoredObject | undefined>;
  /** Newest first by creation counter; a page at a time. */
  find(instance: string, query: FindQuery): Promise<FindPage>;
  /** Appends evidence of refusals and reads. Batched; resolves when handed over, or when durable if `strict`. */
  appendAudit(instance: string, events: readonly AuditEvent[], strict: boolean): Promise<void>;
}
