import {
  type AuditEvent,
  type Change,
  type ChangePage,
  type CommitOutcome,
  everWrapped,
  isDestroyed,
  isSameSeal,
  type JoinResult,
  type KekGiving,
  KeyRingUnavailable,
  type LeafPage,
  type ManagedObject,
  type ObjectStore,
  type Observer,
  type OwnStore,
  type OwnStoredObject,
  pendingDestruction,
  type RecordsAnswer,
  type ReserveOutcome,
  readKekRecord,
  recordFormat,
  SealBroken,
  type StoreState,
  StoreUnavailable,
  systemInstance,
  type Timers,
} from "@holdfast/engine";
import { losingLevel } from "../join/full.ts";
import type { Seals } from "../join/heal.ts";
import { type MayJoin, provenChanges } from "../join/may-join.ts";
import { mergeInto } from "../join/merge.ts";
import { assertMonotonic } from "../join/monotonic.ts";
import type { NodeStore, PeerHello, PeerPosition, PeerStore, PushOutcome } from "../ports/ports.ts";
import type { Serving } from "../serving/serving.ts";
import { storeInUse } from "../serving/store-check.ts";
import { OwnForOthers, sentBy } from "./own-for-others.ts";
import type { RegionalStore } from "./regional-store.ts";

export interface PeerServiceOptions {
  /** The region that answers. */
  readonly region: string;
  /** The region that asks. */
  readonly asking: string;
  readonly own: OwnStore;
  /** What this region serves its clients from. */
  readonly store: RegionalStore;
  readonly timers: Timers;
  readonly observe: Observer;
  /** An instance's KEK, unwrapped; the caller zeroes it. */
  readonly kek: (instance: string, kekId: string) => Promise<Uint8Array>;
  /** Whether an order of this region lets another region wrap a KEK again; none is given without. */
  readonly ordered?: (kekId: string, asking: string) => Promise<boolean>;
  /** The events to be kept before another region gets a KEK; no event without. */
  readonly givingEvents?: (given: GivenKek) => readonly AuditEvent[];
  /** Decides between copies that differ in what is sealed. */
  readonly seals?: Seals;
  /** Decides what this region takes from the other; everything unless given. */
  readonly mayJoin?: MayJoin;
  /** Runs a command of the other region's management. */
  readonly manage?: (command: Uint8Array) => Promise<Uint8Array>;
  /** The newest format of records that every node of this region reads; this release's own unless given. */
  readonly recordFormat?: () => number;
  /** The stores that nodes of the asking region use, as they have said to this node. */
  readonly callingStores?: () => readonly NodeStore[];
  /** Called with pushed records once they are durable here. */
  readonly pushed?: (objects: readonly ManagedObject[]) => void;
}

/** A KEK that another region gets, and why. */
export interface GivenKek {
  readonly instance: string;
  readonly kekId: string;
  readonly asking: string;
  /** The region never had a wrap of it, or an order of this region lets it wrap the KEK again. */
  readonly reason: "missing" | "ordered";
}

/**
 * A store without a full lease for longer than this refuses pushes: the pushing region must not
 * wait for it with every change.
 */
const pushGraceMs = 250;

/** The outcome of a merge, as the pusher gets it. */
export const pushOutcomes: Readonly<Record<JoinResult, PushOutcome>> = {
  written: "durable",
  same: "durable",
  reserved: "reserved",
  quarantined: "quarantined",
  refused: "refused",
  // Catch-up brings it once it can be proven.
  unproven: "refused",
  unreadable: "unread",
};

/** What this region answers to another, from its own store alone. */
export class PeerService implements PeerStore {
  readonly remote: ObjectStore;
  readonly #options: PeerServiceOptions;
  /** Since when the own store has no full lease; undefined while it has one. */
  #lostMs: number | undefined;

  constructor(options: PeerServiceOptions) {
    this.#options = options;
    const { own, store } = options;
    this.#watch(own.state());
    own.onState((state) => this.#watch(state));
    this.remote = new OwnForOthers(own, store, {
      requireServing: () => this.#requireServing(),
      judged: (instance, changes) => this.#judged(instance, changes),
      marked: (events) => sentBy(options.asking, events),
    });
  }

  async hello(): Promise<PeerHello> {
    const { region, asking, own, store, timers, callingStores } = this.#options;
    await store.records.ready();
    const { generation } = store.records.of(region);
    const { retired } = store.records.of(asking);
    const { from, doubted } = store.serving();
    const serving = from === "local" && !doubted;
    const format = this.#options.recordFormat?.() ?? recordFormat;
    const wallMs = timers.wallMs();
    const stores = { storeId: storeInUse(own) ?? "", callingStores: callingStores?.() ?? [] };
    return { region, generation, retired, serving, wallMs, recordFormat: format, ...stores };
  }

  async push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    const { own, asking, timers, observe, seals, mayJoin, pushed } = this.#options;
    this.#refuseWhileLost();
    const repair = (instance: string, id: string) => this.#repair(instance, id);
    // The pushing region waits for a record that is held, so that the others of the batch need not.
    const merged = await losingLevel(own, () =>
      mergeInto(own, objects, { from: asking, timers, observe, seals, mayJoin, repair }),
    );
    const outcomes = merged.map(({ result }) => pushOutcomes[result]);
    pushed?.(objects.filter((_, at) => outcomes[at] === "durable"));
    return outcomes;
  }

  /**
   * Repairs a damaged record by reading it, as for a client: a pushed copy was made earlier, and may lack what both regions
   * have acknowledged since. Nobody is served from a store that does not serve, so a pushed copy will do there.
   */
  async #repair(instance: string, uniqueIdentifier: string): Promise<void> {
    const { store } = this.#options;
    if (store.serving().from === "local") await store.read(instance, [uniqueIdentifier]);
  }

  async fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    const copies = await this.#options.own.read(instance, ids);
    // A store that does not serve may lack what it should have: its "not found" does not count.
    if (copies.includes(undefined)) this.#requireLocal();
    return copies;
  }

  position(): Promise<PeerPosition> {
    return positionOf(this.#options.own);
  }

  changes(partition: number, after: number, limit: number, bytesMax: number): Promise<ChangePage> {
    return this.#options.own.changes(partition, after, limit, bytesMax);
  }

  digests(partition: number): Promise<Uint8Array> {
    return this.#options.own.digests(partition);
  }

  leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    return this.#options.own.leaves(partition, mask, after);
  }

  records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    return this.#options.own.records(partition, ids);
  }

  async reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    changes: readonly Change[] = [],
  ): Promise<ReserveOutcome> {
    this.#requireAgreeing();
    await this.#admitted(instance, changes);
    return await this.#options.own.reserve(instance, ids, operation);
  }

  async write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome> {
    const { own, asking, region } = this.#options;
    const written = await this.#admitted(instance, changes);
    // Where this region is the first in order, its write is the decision: what a system record
    // claims is decided here, whichever region asks for it.
    const decides = instance === systemInstance && region < asking;
    const marked = sentBy(asking, audit);
    return await own.commit(instance, written, marked, { operation, joined: !decides });
  }

  release(instance: string, operation: string): Promise<number> {
    return this.#options.own.release(instance, operation);
  }

  /**
   * Gives a KEK only to a region that never had a wrap of it, or by an order of this region. The event is kept, and the
   * KEK unwrapped, before it is given. All comes from the store that this region's nodes serve from: a KEK that they made
   * there must reach every region, since it seals nothing before.
   */
  async kek(instance: string, kekId: string): Promise<Uint8Array> {
    this.#refuseRetired();
    const { asking, store, observe, givingEvents } = this.#options;
    let result: KekGiving = "failed";
    try {
      const decided = await this.#giving(instance, kekId);
      if ("refusal" in decided) {
        result = "refused";
        throw new KeyRingUnavailable(false, decided.refusal);
      }
      const kek = await this.#options.kek(instance, kekId);
      try {
        const events = givingEvents?.({ instance, kekId, asking, ...decided }) ?? [];
        await store.appendAudit(instance, events, true);
      } catch (error) {
        kek.fill(0);
        throw error;
      }
      result = decided.reason;
      return kek;
    } finally {
      observe({ type: "kekGiven", region: asking, instance, kekId, result });
    }
  }

  async #giving(
    instance: string,
    kekId: string,
  ): Promise<Pick<GivenKek, "reason"> | { readonly refusal: string }> {
    const { store, asking, region, ordered } = this.#options;
    const [found] = await store.read(systemInstance, [kekId]);
    const entry = found && readKekRecord(found.object);
    const what = `region ${region}: key-encryption key ${kekId}`;
    const destroyed = found?.object.facts.destroyed !== undefined;
    if (found === undefined || destroyed || entry?.instance !== instance) {
      return { refusal: `${what} is not known` };
    }
    if (entry.kek.wraps.length === 0) return { refusal: `${what} was erased` };
    // The asking region can remove or spoil its wrap by a push: it counts as given what it ever had.
    if (!everWrapped(found.object, asking)) return { reason: "missing" };
    if ((await ordered?.(kekId, asking)) === true) return { reason: "ordered" };
    return {
      refusal: `${what} was wrapped for region ${asking} already; if that wrap is lost, run \`holdfast root allow-adopt\` in region ${region}`,
    };
  }

  async manage(command: Uint8Array): Promise<Uint8Array> {
    this.#refuseRetired();
    const { manage, region } = this.#options;
    if (manage !== undefined) return await manage(command);
    throw new StoreUnavailable("noLease", `region ${region}: it cannot be managed from here yet`);
  }

  /** Changes of the other region as they are written here; refuses those that it may not make. */
  async #judged(instance: string, changes: readonly Change[]): Promise<readonly Change[]> {
    const { asking, observe } = this.#options;
    assertMonotonic(instance, changes, asking, observe);
    return await provenChanges(changes, asking, this.#options);
  }

  /** Agreed changes of the other region as they are written here, restores with what they seal anew. */
  async #admitted(instance: string, changes: readonly Change[]): Promise<readonly Change[]> {
    const made = await Promise.all(changes.map((change) => this.#released(change)));
    const judged = await this.#judged(
      instance,
      made.map(({ asked }) => asked),
    );
    return judged.map((one, at) => (one === made[at]?.asked ? made[at].written : one));
  }

  /**
   * A restore as it is judged and as it is written: with material that is sealed for clients again, if it holds what this
   * region has. Where that cannot be told, the own material stays, and the leader releases it.
   */
  async #released(change: Change): Promise<{ readonly asked: Change; readonly written: Change }> {
    if (!isRelease(change)) return { asked: change, written: change };
    const { before, after } = change;
    const kept = { ...change, after: { ...after, material: before.object.material } };
    try {
      const isSame = (await this.#options.seals?.releases(before.object, after)) === true;
      return { asked: isSame ? kept : change, written: change };
    } catch (error) {
      if (error instanceof KeyRingUnavailable || error instanceof SealBroken) {
        return { asked: kept, written: kept };
      }
      throw error;
    }
  }

  #watch(state: StoreState): void {
    this.#lostMs =
      state === "full" ? undefined : (this.#lostMs ?? this.#options.timers.monotonicMs());
  }

  #refuseWhileLost(): void {
    const { timers, region } = this.#options;
    if (this.#lostMs === undefined || timers.monotonicMs() - this.#lostMs < pushGraceMs) return;
    throw new StoreUnavailable("noLease", `region ${region}: its store takes no changes now`);
  }

  /** Only a region that serves from its own store, with writes, serves another. */
  #requireServing(): void {
    this.#refuseRetired();
    const { writes, reason } = this.#requireLocal();
    if (!writes) throw new StoreUnavailable("noLease", reason);
  }

  #requireAgreeing(): void {
    this.#refuseRetired();
    const serving = this.#options.store.serving();
    if (!serving.agrees) throw this.#notLocal(serving);
  }

  #requireLocal(): Serving {
    const serving = this.#options.store.serving();
    if (serving.from === "local" && !serving.doubted) return serving;
    throw this.#notLocal(serving);
  }

  #notLocal({ reason }: Serving): StoreUnavailable {
    const { region } = this.#options;
    const message = `region ${region} does not serve from its own store: ${reason}`;
    return new StoreUnavailable("noLease", message);
  }

  #refuseRetired(): void {
    const { store, asking, region } = this.#options;
    store.records.refuseRetired(asking);
    store.records.refuseRetired(region);
  }
}

/** Whether a change restores an object, and seals its material anew: here it may be withheld, or not be yet. */
function isRelease(change: Change): change is Extract<Change, { readonly kind: "update" }> {
  if (change.kind === "create" || isDestroyed(change.after.facts)) return false;
  const { facts, material } = change.before.object;
  if (pendingDestruction(facts) === undefined || material === undefined) return false;
  return !isSameSeal(material, change.after.material);
}

/** A store's position, as another region gets it. */
export async function positionOf(
  own: Pick<OwnStore, "position" | "reservations">,
): Promise<PeerPosition> {
  // In this order: an operation that is not among these has written what it writes here before the numbers are read.
  const held = await own.reservations();
  const position = await own.position();
  return { ...position, operations: [...new Set(held.map(({ operation }) => operation))] };
}
