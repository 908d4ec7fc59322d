import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  type GivenRecord,
  type Ids,
  type ManagedObject,
  type OwnStore,
  type ReserveOutcome,
  type StoredObject,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { type MergeOptions, mergeInto } from "../join/merge.ts";
import type { Peer } from "../ports/ports.ts";
import { failureIn, jittered } from "../ports/waiting.ts";

/** One region's part in an agreed operation. All methods reject with `StoreUnavailable` in a bounded time. */
export interface AgreementSite {
  readonly region: string;
  /** Reserves records for these changes; a region that would not take them refuses. */
  reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    changes: readonly Change[],
  ): Promise<ReserveOutcome>;
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
  write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome>;
  release(instance: string, operation: string): Promise<number>;
  /** Joins records; true where that is durable. */
  merge(objects: readonly ManagedObject[]): Promise<boolean>;
}

export interface OwnSiteOptions {
  /** Whether it is the first region in order, which claims names before anything is decided. */
  readonly first: boolean;
  /** The regions' records as they were when it was decided who must agree. */
  readonly given: readonly GivenRecord[];
  readonly merging: MergeOptions;
}

/** The region's own store as a part of its agreed operations. */
export function ownSite(
  region: string,
  own: OwnStore,
  { first, given, merging }: OwnSiteOptions,
): AgreementSite {
  return {
    region,
    reserve: (instance, ids, operation) => own.reserve(instance, ids, operation, given),
    read: (instance, ids) => own.read(instance, ids),
    write: async (instance, changes, audit, operation) => {
      try {
        return await own.commit(instance, changes, audit, { operation, joined: !first, given });
      } catch (error) {
        if (failureIn(error).failure !== "superseded") throw error;
        // Nothing was written, and the reservations were made for other regions than there are now.
        const uniqueIdentifier = changes[0]?.after.uniqueIdentifier ?? "";
        return { kind: "reservationLost", uniqueIdentifier };
      }
    },
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
    reserve: (...given) => peer.reserve(...given),
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
  options: Omit<OwnSiteOptions, "first">,
): readonly AgreementSite[] {
  const first = others.every((peer) => region < peer.region);
  const sites = [ownSite(region, own, { first, ...options }), ...others.map(peerSite)];
  return sites.toSorted((a, b) => (a.region < b.region ? -1 : 1));
}

/** Throws where one of these regions cannot be reached. */
export function requireAll(others: readonly Peer[]): void {
  const missing = others.find((peer) => peer.state() !== "up");
  if (missing === undefined) return;
  throw new StoreUnavailable("noAgreement", `region ${missing.region} cannot be reached`);
}

/** The pause between two tries of a change of a record that is held. */
const reservedPauseMs = 50;

/** Waits for an agreed operation that holds a record: it ends soon, or is resolved. */
export async function untilFree(
  attempt: () => Promise<CommitOutcome>,
  reservedMs: number,
  { timers, ids }: { readonly timers: Timers; readonly ids: Ids },
): Promise<CommitOutcome> {
  let until: number | undefined;
  for (;;) {
    const outcome = await attempt();
    if (outcome.kind !== "reserved") return outcome;
    until ??= timers.monotonicMs() + reservedMs;
    if (timers.monotonicMs() >= until) {
      throw new StoreUnavailable("reserved", "an agreed operation holds the record");
    }
    await jittered(timers, ids, reservedPauseMs);
  }
}
