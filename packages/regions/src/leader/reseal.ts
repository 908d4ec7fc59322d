import {
  type Change,
  isMisplaced,
  KeyRingUnavailable,
  kekIdsOf,
  type ManagedObject,
  type OwnStore,
  partitionOf,
  type Resealer,
  recordTag,
  resealed,
  SealBroken,
  type SealTargets,
  type StoredObject,
  type StorePosition,
  StoreUnavailable,
  type Timers,
  UnknownKek,
} from "@holdfast/engine";
import { readEach } from "../join/read-each.ts";
import { OwnFeed } from "./catch-up/own-feed.ts";
import type { DutyContext, DutyResult } from "./duty.ts";
import { giveWay, slices } from "./pace.ts";

/** What an instance's records are to be sealed under, in place of older KEKs. */
export interface Rekeying extends SealTargets {
  /** Also those that were removed: a record under one of them counts as left until another region's copy replaces it. */
  readonly older: ReadonlySet<string>;
}

/** How far the own store's records of an instance are. */
export interface ResealProgress {
  readonly kek: string;
  /** The KEK that withholds; undefined without one. */
  readonly withheld: string | undefined;
  /** The own store's data that was looked at: its replication id; empty before that. */
  readonly store: string;
  /** Whether this leader has met a record that needed an older KEK. */
  readonly met: boolean;
  /** Records that this leader has re-sealed. */
  readonly resealed: number;
  /** Changes that were not looked at yet, and records that could not be re-sealed yet: at most so many need an older KEK. */
  readonly left: number;
  /** Since when nothing is left: wall clock. */
  readonly sinceMs: number | undefined;
  /** Why it does not go on; empty if it does. */
  readonly reason: string;
}

export interface ResealOptions {
  readonly own: Pick<OwnStore, "position" | "changes" | "read" | "commit">;
  readonly keyRing: Resealer;
  readonly timers: Timers;
  /** By instance; those that never had an older KEK and withhold nothing are left out. */
  readonly wanted: () => Promise<ReadonlyMap<string, Rekeying>>;
  /** Records that are re-sealed in a second, at most; 2,000 unless given. */
  readonly perSecond?: number;
}

const recordsPerRun = 512;
const recordsPerCommit = 64;
/** How long one instance's records are read before others have their turn. */
const readMaxMs = 5_000;
const perSecondDefault = 2_000;
/** How many records that cannot be read or opened are kept by name: one is enough for its KEK to stay. */
const brokenMax = 1_000;

/** What a leader knows of one instance. */
interface Work extends Rekeying {
  readonly feed: OwnFeed;
  /** Read, and not re-sealed yet. */
  readonly queue: Map<string, ManagedObject>;
  /** Records of the partition that do not decode, and the instance's whose seals are broken. */
  readonly broken: Set<string>;
  store: string;
  met: boolean;
  resealed: number;
  /** Of these, records that needed an older KEK. */
  rekeyed: number;
  /** Changes that were not read yet, those of this leader included. */
  unread: number;
  /** Of these, records that this leader has re-sealed: they come last. */
  ahead: number;
  sinceMs: number | undefined;
  reason: string;
}

/**
 * Re-seals the own store's records of instances that have a newer KEK, and moves the material of destroyed objects that can
 * be restored under the withheld KEK, and back when they were. It follows the changes, so that records which come
 * later under an older KEK are found too; a new leader begins at the first change, and passes over what was done.
 */
export class Reseal {
  readonly #options: ResealOptions;
  readonly #works = new Map<string, Work>();
  #epoch: number | undefined;

  constructor(options: ResealOptions) {
    this.#options = options;
  }

  /** What this leader knows of an instance; undefined unless it has an older KEK. */
  progressOf(instance: string): ResealProgress | undefined {
    const work = this.#works.get(instance);
    if (work === undefined) return undefined;
    const { kek, withheld, store, met, resealed: done, sinceMs, reason } = work;
    return { kek, withheld, store, met, resealed: done, left: leftOf(work), sinceMs, reason };
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const wanted = await this.#options.wanted();
    this.#forget(wanted, context);
    if (wanted.size === 0) return { done: 0, left: 0 };
    const position = await this.#options.own.position();
    const total = { done: 0, left: 0 };
    let failure: unknown;
    for (const [instance, rekeying] of wanted) {
      if (!context.active()) break;
      const work = this.#workOf(instance, rekeying);
      const before = work.resealed;
      try {
        await this.#options.keyRing.holding(() => this.#step(instance, work, position, context));
      } catch (error) {
        // What stops one tenant does not stop the others; the lease and the store stop all.
        if (!(error instanceof KeyRingUnavailable)) throw error;
        work.reason = error.message;
        failure ??= error;
      }
      total.done += work.resealed - before;
      total.left += rawLeftOf(work);
    }
    if (failure !== undefined && total.done === 0) throw failure;
    return total;
  }

  /** Forgets what is no longer wanted; in another term all of it, since another leader may have written meanwhile. */
  #forget(wanted: ReadonlyMap<string, Rekeying>, { epoch }: DutyContext): void {
    for (const instance of this.#works.keys()) {
      if (epoch !== this.#epoch || !wanted.has(instance)) this.#works.delete(instance);
    }
    this.#epoch = epoch;
  }

  #workOf(instance: string, { kek, older, withheld }: Rekeying): Work {
    const known = this.#works.get(instance);
    const isSame = known?.kek === kek && known.withheld === withheld;
    if (isSame && isSameSet(known.older, older)) return known;
    const work: Work = {
      ...{ kek, older, withheld, queue: new Map(), broken: new Set(), reason: "" },
      ...{
        store: "",
        met: false,
        resealed: 0,
        rekeyed: 0,
        unread: 1,
        ahead: 0,
        sinceMs: undefined,
      },
      feed: new OwnFeed(this.#options.own, [partitionOf(instance)]),
    };
    this.#works.set(instance, work);
    return work;
  }

  async #step(
    instance: string,
    work: Work,
    position: StorePosition,
    context: DutyContext,
  ): Promise<void> {
    const { queue, rekeyed: before } = work;
    await this.#read(instance, work, position, context);
    const { timers, perSecond = perSecondDefault } = this.#options;
    for (const objects of slices([...queue.values()], recordsPerCommit)) {
      if (!context.active()) return;
      const startedMs = timers.monotonicMs();
      await this.#reseal(instance, work, objects);
      const restMs = (objects.length * 1_000) / perSecond - (timers.monotonicMs() - startedMs);
      if (restMs > 0) await timers.sleep(restMs);
      await giveWay(timers);
    }
    work.reason = "";
    // An older KEK was needed until now.
    const done = rawLeftOf(work) === 0;
    if (work.rekeyed > before || !done) work.sinceMs = undefined;
    if (done) work.sinceMs ??= timers.wallMs();
  }

  /** Reads on until there is enough to re-seal, or nothing more to read, or others are to have their turn. */
  async #read(
    instance: string,
    work: Work,
    position: StorePosition,
    context: DutyContext,
  ): Promise<void> {
    const { queue, feed, broken } = work;
    work.store = position.replicationId;
    const { timers } = this.#options;
    const note = (object: ManagedObject): void => {
      broken.delete(object.uniqueIdentifier);
      queue.delete(object.uniqueIdentifier);
      if (object.instance !== instance) return;
      if (needs(object, work)) {
        if (isOlder(object, work)) work.met = true;
        queue.set(object.uniqueIdentifier, object);
      } else if (work.ahead > 0) work.ahead -= 1;
    };
    const unread = (identifier: string): void => putAside(work, identifier);
    const untilMs = timers.monotonicMs() + readMaxMs;
    while (queue.size < recordsPerRun) {
      work.unread = await feed.follow(recordsPerRun, context, note, unread, position);
      if (work.unread === 0 || !context.active() || timers.monotonicMs() >= untilMs) return;
      await giveWay(timers);
    }
  }

  /** Re-seals some records together; what another writer has changed meanwhile is read again, one after another. */
  async #reseal(instance: string, work: Work, objects: readonly ManagedObject[]): Promise<void> {
    const changes: Change[] = [];
    for (const object of objects) {
      const change = await this.#change(work, { object, tag: recordTag(object) });
      if (change !== undefined) changes.push(change);
    }
    if (await this.#commit(instance, work, changes)) return;
    for (const { after } of changes) {
      const id = after.uniqueIdentifier;
      const [copy] = await readEach(this.#options.own, instance, [id]);
      if (copy === "damaged" || copy === "unknown") putAside(work, id);
      if (typeof copy !== "object") work.queue.delete(id);
      // An agreed operation that holds it ends soon.
      if (typeof copy !== "object" || copy.reserved !== undefined) continue;
      const change = await this.#change(work, copy);
      if (change !== undefined) await this.#commit(instance, work, [change]);
    }
  }

  /** Undefined for a record that needs no older KEK, or whose seals are broken. */
  async #change(work: Work, before: StoredObject): Promise<Change | undefined> {
    const { uniqueIdentifier } = before.object;
    if (!needs(before.object, work)) {
      work.queue.delete(uniqueIdentifier);
      return undefined;
    }
    try {
      const after = await resealed(this.#options.keyRing, before.object, work);
      if (after !== before.object) return { kind: "update", before, after };
      // It is withheld under a KEK that was removed, and there is no other one yet.
      work.queue.delete(uniqueIdentifier);
      putAside(work, uniqueIdentifier);
      return undefined;
    } catch (error) {
      // A node that reads it replaces it by the other region's copy, if that one opens.
      if (!(error instanceof SealBroken || error instanceof UnknownKek)) throw error;
      work.queue.delete(uniqueIdentifier);
      putAside(work, uniqueIdentifier);
      return undefined;
    }
  }

  /** False if one of them was changed, or is held. */
  async #commit(instance: string, work: Work, changes: readonly Change[]): Promise<boolean> {
    if (changes.length === 0) return true;
    const outcome = await this.#options.own.commit(instance, changes, [], { joined: true });
    if (outcome.kind === "conflict" || outcome.kind === "reserved") return false;
    if (outcome.kind !== "committed" && outcome.kind !== "instanceClosed") {
      throw new StoreUnavailable("corrupt", `records are not re-sealed: ${outcome.kind}`);
    }
    for (const { after } of changes) work.queue.delete(after.uniqueIdentifier);
    if (outcome.kind === "committed") {
      work.resealed += changes.length;
      work.rekeyed += changes.filter(
        (change) => change.kind === "update" && isOlder(change.before.object, work),
      ).length;
      work.ahead += changes.length;
    }
    return true;
  }
}

function needs(object: ManagedObject, work: Rekeying): boolean {
  return isOlder(object, work) || isMisplaced(object, work);
}

/** Whether an object needs an older KEK. */
function isOlder(object: ManagedObject, { older }: Rekeying): boolean {
  return [...kekIdsOf(object)].some((id) => older.has(id));
}

function isSameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((id) => other.has(id));
}

function putAside(work: Work, identifier: string): void {
  const { broken } = work;
  work.met = true;
  if (broken.size < brokenMax) broken.add(identifier);
}

/** What is left to look at or to re-seal. */
function rawLeftOf({ queue, broken, unread }: Work): number {
  return queue.size + broken.size + unread;
}

/** The same without what this leader wrote itself, and has not read again. */
function leftOf({ queue, broken, unread, ahead }: Work): number {
  return queue.size + broken.size + Math.max(0, unread - ahead);
}
