import type {
  AuditEvent,
  Change,
  CommitOutcome,
  ManagedObject,
  OwnStore,
  ReserveOutcome,
  StoredObject,
} from "@holdfast/engine";
import { type MergeOptions, mergeInto } from "./merge.ts";
import type { Peer } from "./ports.ts";

/** One region's part in an agreed operation. All methods reject with `StoreUnavailable` in a bounded time. */
export interface AgreementSite {
  readonly region: string;
  reserve(instance: string, ids: readonly string[], operation: string): Promise<ReserveOutcome>;
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
  write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome>;
  release(instance: string, operation: string): Promise<number>;
  /** Joins records in; true where that is durable. */
  merge(objects: readonly ManagedObject[]): Promise<boolean>;
}

/** The region's own store as a part of its agreed operations; `first` claims names, before anything is decided. */
export function ownSite(
  region: string,
  own: OwnStore,
  first: boolean,
  merging: MergeOptions,
): AgreementSite {
  return {
    region,
    reserve: (instance, ids, operation) => own.reserve(instance, ids, operation),
    read: (instance, ids) => own.read(instance, ids),
    write: (instance, changes, audit, operation) =>
      own.commit(instance, changes, audit, { operation, joined: !first }),
    release: (instance, operation) => own.release(instance, operation),
    merge: async (objects) => {
      const merged = await mergeInto(own, objects, merging);
      return merged.every(({ result }) => result === "written" || result === "same");
    },
  };
}

/** Another region as a part of this one's agreed operations. */
export function peerSite(peer: Peer): AgreementSite {
  return {
    region: peer.region,
    reserve: (instance, ids, operation) => peer.reserve(instance, ids, operation),
    read: (instance, ids) => peer.fetch(instance, ids),
    write: (instance, changes, audit, operation) => peer.write(instance, changes, audit, operation),
    release: (instance, operation) => peer.release(instance, operation),
    merge: async (objects) => {
      const outcomes = await peer.push(objects);
      return outcomes.every((outcome) => outcome === "durable");
    },
  };
}

/** Every region takes part, in the order of their names: that order is what makes one write the decision. */
export function sitesInOrder(
  region: string,
  own: OwnStore,
  others: readonly Peer[],
  merging: MergeOptions,
): readonly AgreementSite[] {
  const first = others.every((peer) => region < peer.region);
  const sites = [ownSite(region, own, first, merging), ...others.map(peerSite)];
  return sites.toSorted((a, b) => (a.region < b.region ? -1 : 1));
}
