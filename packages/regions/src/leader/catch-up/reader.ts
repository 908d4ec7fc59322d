import {
  type ChangePage,
  type JoinResult,
  type ManagedObject,
  type Observer,
  type OwnStore,
  type PeerCursor,
  partitionOf,
  type RecordsAnswer,
  recordTag,
  type StorePosition,
  sysPartition,
  type Timers,
} from "@holdfast/engine";
import { areSealedApart } from "../../join/join.ts";
import { type Merged, type MergeOptions, mergeInto } from "../../join/merge.ts";
import type { Peer } from "../../ports/ports.ts";
import type { DutyContext, DutyResult } from "../duty.ts";
import { forEachLimit, giveWay, slices } from "../pace.ts";
import { differing, type Unjoinable } from "./digests.ts";
import { missingInTail, TailMarks, tailMax } from "./tail.ts";

export interface PeerReaderOptions {
  readonly peer: Peer;
  readonly own: OwnStore;
  readonly timers: Timers;
  readonly observe: Observer;
  /** How two copies become one; `join` in the product. */
  readonly join?: MergeOptions["join"];
  /** Decides between copies that differ in what is sealed. */
  readonly seals?: MergeOptions["seals"];
  /** Decides what this region takes from the other; everything unless given. */
  readonly mayJoin?: MergeOptions["mayJoin"];
  /** Another number whenever something that was not taken may be taken now. */
  readonly proofs?: () => number;
}

/**
 * A page fits one answer of the peer protocol (1 MiB), blocks neither event loop for long, and is
 * fetched while the page before it is joined.
 */
const pageRecords = 1_000;
const pageBytes = 768 << 10;
/** Records joined in one step: a script for more of them would delay the store's clients. */
const mergeRecords = 128;
const mergeWidth = 4;
const partitionsAtOnce = 6;
/** How often a long pull saves how far it came. */
const saveEveryMs = 1_000;

const unjoinableMax = 10_000;
const allPartitions = Array.from({ length: sysPartition + 1 }, (_, partition) => partition);

/** What a comparison fetched, and whether it looked at everything. */
interface Comparing {
  readonly done: number;
  readonly whole: boolean;
}

/** How far the changes of one partition were read. */
interface Place {
  /** The own store to whose data the place belongs. */
  readonly storeId: string | undefined;
  /** The cursor as the own store has it. */
  saved: PeerCursor | undefined;
  /** Undefined before the first contact. */
  replicationId: string | undefined;
  number: number;
  /**
   * Records that were read, but are held by an agreed operation, or of a format that one of the
   * nodes does not know: the cursor stays before them until they are joined.
   */
  readonly held: Set<string>;
}

/**
 * Reads another region's changes into the own store, a partition at a time, from where it stopped.
 * Only the leader's duties use it; its cursors carry their epoch.
 */
export class PeerReader {
  readonly #options: PeerReaderOptions;
  readonly #places = new Map<number, Place>();
  readonly #busy = new Map<number, Promise<unknown>>();
  readonly #unjoinable: Unjoinable = new Map();
  /** By instance whose key was closed when copies were joined: one of these. All are fetched again when it opens. */
  readonly #closed = new Map<string, string>();
  /** By partition: records whose change was not taken since nothing proves that it was approved. */
  readonly #unproven = new Map<number, Set<string>>();
  #proofs: number | undefined;
  #toldUnproven: number | undefined;
  readonly #marks = new TailMarks();
  #wasDoubted = false;
  /** Partitions that are compared before anything else is read: cursors are past what was refused. */
  readonly #again = new Set<number>();
  readonly #toldUnknown = new Set<string>();

  constructor(options: PeerReaderOptions) {
    this.#options = options;
    options.own.onState(() => this.forget());
  }

  get peer(): Peer {
    return this.#options.peer;
  }

  /**
   * Forgets every place, so that the own store's cursors count: after an outage only the store
   * knows what it has.
   */
  forget(): void {
    this.#places.clear();
    this.#marks.forget();
  }

  /**
   * Pulls every partition up to `position`; `left` is 0 when all of it is in the own store,
   * durably.
   */
  async pullAll(position: StorePosition, context: DutyContext): Promise<DutyResult> {
    const { replicationId, numbers } = position;
    const total = { done: 0, left: 0 };
    this.#lookAtDoubt();
    const behind = [...numbers.keys()].filter((partition) => !this.#reached(partition, position));
    await this.#tellDistance(behind, position);
    if (behind.length > 0) this.#marks.note(await this.#options.own.position());
    if (this.#proofs !== this.#options.proofs?.()) total.done += await this.#retryUnproven();
    await forEachLimit(behind, partitionsAtOnce, async (partition) => {
      const target = { replicationId, number: numbers[partition] ?? 0 };
      const { done, left } = await this.#alone(partition, () =>
        this.#pull(partition, target, context),
      );
      total.done += done;
      total.left += left;
    });
    this.#tellUnproven();
    return total;
  }

  /** Compares digests of every partition and fetches what differs; returns the number of these records. */
  async compareAll(context: DutyContext): Promise<DutyResult> {
    const total = { done: await this.#retryUnproven(), left: 0 };
    await forEachLimit(allPartitions, partitionsAtOnce, async (partition) => {
      await this.#alone(partition, async () => {
        const place = await this.#place(partition);
        const { done, whole } = await this.#compare(partition, place, context);
        total.done += done;
        if (!whole) total.left += 1;
      });
    });
    return total;
  }

  /** Has the next pull compare digests: something may be missing before the cursors. */
  compareFirst(): void {
    this.#unjoinable.clear();
    for (const partition of allPartitions) this.#again.add(partition);
  }

  /** Once a doubt of the own store has ended, as by `store accept`, it may take what it refused before. */
  #lookAtDoubt(): void {
    const isDoubted = this.#options.own.doubted();
    if (this.#wasDoubted && !isDoubted) this.compareFirst();
    this.#wasDoubted = isDoubted;
  }

  /** Whether a partition was read up to a position, without asking the other region. */
  #reached(partition: number, { replicationId, numbers }: StorePosition): boolean {
    // Nothing was ever written there.
    if (numbers[partition] === 0) return true;
    if (this.#again.has(partition)) return false;
    const place = this.#places.get(partition);
    if (place === undefined || place.storeId !== this.#options.own.storeId) return false;
    const number = numbers[partition] ?? 0;
    return (
      place.replicationId === replicationId && place.number === number && place.held.size === 0
    );
  }

  /** Counts the changes between the cursors and a position. */
  async #tellDistance(
    partitions: readonly number[],
    { replicationId, numbers }: StorePosition,
  ): Promise<void> {
    const { observe, peer } = this.#options;
    let changes = 0;
    for (const partition of partitions) {
      const place = this.#places.get(partition) ?? (await this.#place(partition));
      const from = place.replicationId === replicationId ? place.number : 0;
      changes += Math.max(0, (numbers[partition] ?? 0) - from);
    }
    observe({ type: "behind", region: peer.region, changes });
  }

  /** One at a time for each partition. */
  #alone<Result>(partition: number, work: () => Promise<Result>): Promise<Result> {
    const before = this.#busy.get(partition) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(work);
    this.#busy.set(partition, mine);
    return mine;
  }

  async #pull(partition: number, target: PeerCursor, context: DutyContext): Promise<DutyResult> {
    const place = await this.#place(partition);
    let done = await this.#retryHeld(partition, place);
    if ((await this.#isElsewhere(partition, place, target)) || this.#again.has(partition)) {
      const compared = await this.#compare(partition, place, context);
      done += compared.done;
      if (compared.whole) {
        Object.assign(place, target);
        this.#again.delete(partition);
      }
    }
    done += await this.#readTail(partition, place, target, context);
    done += await this.#read(partition, place, target, context);
    await this.#save(partition, place, context);
    if (!this.#isCurrent(partition, place)) return { done, left: Math.max(1, target.number) };
    const same = place.replicationId === target.replicationId;
    const left = same ? Math.max(0, target.number - place.number) : Math.max(1, target.number);
    return { done, left: left + place.held.size };
  }

  /** Up to where this partition was read; the own store's cursor decides. */
  async #place(partition: number): Promise<Place> {
    const { own, peer } = this.#options;
    const saved = await own.cursor(partition, peer.region);
    const known = this.#places.get(partition);
    if (known !== undefined && known.storeId === own.storeId && isSame(known.saved, saved)) {
      return known;
    }
    const place: Place = {
      storeId: own.storeId,
      saved,
      replicationId: saved?.replicationId,
      number: saved?.number ?? 0,
      held: new Set(),
    };
    this.#places.set(partition, place);
    return place;
  }

  /**
   * Whether the cursor does not apply to the changes that the other region has now: another process
   * numbers them, or they end before the cursor. At a first contact everything is read, from the
   * beginning.
   */
  async #isElsewhere(partition: number, place: Place, target: PeerCursor): Promise<boolean> {
    if (place.replicationId === undefined) {
      place.replicationId = target.replicationId;
      place.number = 0;
      return false;
    }
    if (place.replicationId !== target.replicationId) return true;
    if (place.number <= target.number) return false;
    // Another pull may have come further since the target was read.
    const page = await this.#options.peer.changes(partition, place.number, 1, 1);
    return page.replicationId !== place.replicationId || page.last < place.number;
  }

  /** Reads a few changes, most of which were pushed: fetches only the others. */
  async #readTail(
    partition: number,
    place: Place,
    target: PeerCursor,
    { active }: DutyContext,
  ): Promise<number> {
    const { own, peer } = this.#options;
    const { replicationId, number: after } = place;
    const ownAfter = this.#marks.of(partition);
    const few = target.number > after && target.number - after <= tailMax;
    if (replicationId !== target.replicationId || ownAfter === undefined || !few) return 0;
    const unjoinable = this.#unjoinable;
    const tail = { own, peer, partition, replicationId, after, ownAfter, unjoinable };
    const missing = await missingInTail(tail);
    if (missing === undefined) return 0;
    let done = 0;
    for (const ids of slices(missing, mergeRecords)) {
      if (!active() || !this.#isCurrent(partition, place)) return done;
      const records = await peer.records(partition, ids);
      for (const id of await this.#join(records)) place.held.add(id);
      done += records.objects.length;
    }
    place.number = target.number;
    return done;
  }

  /** Reads pages, the next one while the present one is joined. */
  async #read(
    partition: number,
    place: Place,
    target: PeerCursor,
    context: DutyContext,
  ): Promise<number> {
    const { timers } = this.#options;
    if (place.replicationId !== target.replicationId || place.number >= target.number) return 0;
    let done = 0;
    let savedMs = timers.monotonicMs();
    let coming = this.#page(partition, place.number);
    while (context.active() && this.#isCurrent(partition, place)) {
      const page = await coming;
      if (!continues(page, place)) break;
      const more = page.upTo < target.number && page.upTo < page.last;
      if (more) coming = this.#page(partition, page.upTo);
      for (const id of await this.#join(page)) place.held.add(id);
      place.number = page.upTo;
      done += page.objects.length;
      if (!more) break;
      if (timers.monotonicMs() - savedMs >= saveEveryMs) {
        await this.#save(partition, place, context);
        savedMs = timers.monotonicMs();
      }
      await giveWay(timers);
    }
    return done;
  }

  /** False when the place was forgotten meanwhile: what was read for it may be lost. */
  #isCurrent(partition: number, place: Place): boolean {
    return this.#places.get(partition) === place;
  }

  #page(partition: number, after: number): Promise<ChangePage> {
    const page = this.#options.peer.changes(partition, after, pageRecords, pageBytes);
    // The caller that awaits the page gets the failure, which may come before that.
    page.catch(() => undefined);
    return page;
  }

  /**
   * Joins a page into the own store; returns the identifiers that are held, or cannot be read here.
   */
  async #join(page: RecordsAnswer): Promise<readonly string[]> {
    const { own, peer, observe, timers, join, seals, mayJoin } = this.#options;
    const from = peer.region;
    const options: MergeOptions = { from, timers, observe, seals, mayJoin, ...(join && { join }) };
    // What was read before the damage may lack what both regions have acknowledged since.
    const repair = async (instance: string, id: string) => {
      const { objects } = await peer.records(partitionOf(instance), [id]);
      await mergeInto(own, objects, options);
    };
    for (const id of page.damaged) {
      const message = `region ${from}: its record ${id} does not decode and was passed over`;
      observe({ type: "warning", message });
    }
    const held = [...page.unknown];
    await forEachLimit(slices(page.objects, mergeRecords), mergeWidth, async (objects) => {
      const merged = await mergeInto(own, objects, { ...options, repair });
      for (const [at, one] of merged.entries()) {
        const object = objects[at] as ManagedObject;
        const { result, closed } = one;
        if (closed) this.#closed.set(object.instance, object.uniqueIdentifier);
        if (result === "reserved" || result === "unreadable") held.push(object.uniqueIdentifier);
        this.#noteAside(object, one);
        this.#noteUnproven(object, result === "unproven");
      }
      await giveWay(timers);
    });
    this.#tellUnknown(page.unknown);
    return held;
  }

  #noteUnproven({ instance, uniqueIdentifier }: ManagedObject, isUnproven: boolean): void {
    const partition = partitionOf(instance);
    const ids = this.#unproven.get(partition) ?? new Set();
    if (!isUnproven) ids.delete(uniqueIdentifier);
    // Above the bound, the next comparison finds it again.
    else if (ids.size < unjoinableMax) this.#unproven.set(partition, ids.add(uniqueIdentifier));
  }

  /** Tries once more what nothing proved: its proof may have come since. Returns how many records were fetched. */
  async #retryUnproven(): Promise<number> {
    const { peer, proofs } = this.#options;
    const before = proofs?.();
    let done = 0;
    for (const [partition, ids] of this.#unproven) {
      await this.#alone(partition, async () => {
        const place = await this.#place(partition);
        for (const some of slices([...ids], mergeRecords)) {
          const records = await peer.records(partition, some);
          for (const id of await this.#join(records)) place.held.add(id);
          done += records.objects.length;
        }
      });
    }
    this.#proofs = before;
    return done;
  }

  #tellUnproven(): void {
    const { observe, peer, mayJoin } = this.#options;
    if (mayJoin === undefined) return;
    let records = 0;
    for (const ids of this.#unproven.values()) records += ids.size;
    if (records === this.#toldUnproven) return;
    this.#toldUnproven = records;
    observe({ type: "unprovenLeft", region: peer.region, records });
  }

  /** Once per record, since it is tried again and again. */
  #tellUnknown(ids: readonly string[]): void {
    const { observe, peer } = this.#options;
    for (const id of ids) {
      if (this.#toldUnknown.has(id)) continue;
      if (this.#toldUnknown.size >= unjoinableMax) this.#toldUnknown.clear();
      this.#toldUnknown.add(id);
      const message = `region ${peer.region}: record ${id} is of a format that this node or that one does not know: upgrade the older release; until then this region does not count as level`;
      observe({ type: "warning", message });
    }
  }

  /** Tries once more what was held; returns how much of it is joined now. */
  async #retryHeld(partition: number, place: Place): Promise<number> {
    const before = place.held.size;
    for (const ids of slices([...place.held], mergeRecords)) {
      const records = await this.#options.peer.records(partition, ids);
      const still = new Set(await this.#join(records));
      for (const id of ids) if (!still.has(id)) place.held.delete(id);
    }
    return before - place.held.size;
  }

  /** Tries one copy of each instance whose key was closed: if it is open by now, all that was put aside is compared again. */
  async #retryClosed(partition: number, place: Place): Promise<number> {
    let done = 0;
    for (const [instance, id] of [...this.#closed]) {
      if (partitionOf(instance) !== partition) continue;
      this.#closed.delete(instance);
      const records = await this.#options.peer.records(partition, [id]);
      for (const held of await this.#join(records)) place.held.add(held);
      if (this.#closed.has(instance)) continue;
      done += records.objects.length;
      this.#unjoinable.clear();
    }
    return done;
  }

  /** Fetches what differs; the place keeps what is held. */
  async #compare(partition: number, place: Place, { active }: DutyContext): Promise<Comparing> {
    const { peer, own, timers } = this.#options;
    const unjoinable = this.#unjoinable;
    let done = await this.#retryClosed(partition, place);
    const whole = await differing({ own, peer, partition, unjoinable, active }, async (ids) => {
      const records = await peer.records(partition, ids);
      for (const id of await this.#join(records)) place.held.add(id);
      done += records.objects.length;
      await giveWay(timers);
    });
    return { done, whole };
  }

  /**
   * What was put aside is not fetched again before it changes, or before an operator accepts what this node refused it for; what
   * is sealed apart there, before one of the two copies changes.
   */
  #noteAside(object: ManagedObject, { result, stored }: Merged): void {
    const keptSeals = stored !== undefined && areSealedApart(stored.object, object);
    if (!keptSeals && !isRefused(result)) return;
    if (this.#unjoinable.size >= unjoinableMax) this.#unjoinable.clear();
    const { own } = this.#options;
    const accepted = own.accepted();
    this.#unjoinable.set(object.uniqueIdentifier, {
      tag: recordTag(object),
      own: keptSeals ? stored.tag : undefined,
      stands: () => own.accepted() === accepted,
    });
  }

  async #save(partition: number, place: Place, context: DutyContext): Promise<void> {
    const { own, peer } = this.#options;
    const { replicationId, number, held, saved } = place;
    if (replicationId === undefined || held.size > 0) return;
    if (!context.active() || !this.#isCurrent(partition, place)) return;
    const cursor = { replicationId, number };
    if (isSame(saved, cursor)) return;
    await own.setCursor(partition, peer.region, cursor, context.epoch);
    place.saved = cursor;
  }
}

/**
 * Whether a page continues from a place: the same process numbers the changes, and it has entries.
 */
function continues(page: ChangePage, { replicationId, number }: Place): boolean {
  return page.replicationId === replicationId && page.upTo > number;
}

function isRefused(result: JoinResult): boolean {
  return result === "quarantined" || result === "refused" || result === "unproven";
}

function isSame(one: PeerCursor | undefined, other: PeerCursor | undefined): boolean {
  return one?.replicationId === other?.replicationId && one?.number === other?.number;
}
