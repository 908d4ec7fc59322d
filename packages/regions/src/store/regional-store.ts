import {
  type AuditEvent,
  type Change,
  type CommitOptions,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  type Ids,
  isCorrupt,
  type ManagedObject,
  type ObjectStore,
  type Observer,
  type OwnStore,
  type StoredObject,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { doneElsewhere, isFull, madeElsewhere } from "../join/full.ts";
import { type CopySource, openingCopy, replaceBroken, type Seals } from "../join/heal.ts";
import type { MayJoin } from "../join/may-join.ts";
import { readEach } from "../join/read-each.ts";
import type { Peer } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";
import { RegionRecords } from "../serving/region-records.ts";
import type { RegionalHealth, Serving, serving } from "../serving/serving.ts";
import { ServingWatch } from "../serving/serving-watch.ts";
import { agreedCommit } from "./agreed.ts";
import { requireAll, sitesInOrder, untilFree } from "./agreement-site.ts";
import { pushToAll } from "./push.ts";
import { isOpen, readRepair, SearchRepairs } from "./read-repair.ts";
import { madeThere, readThere, refusedUnlessMade, settledThere } from "./remote-reads.ts";
import { searchedOwn, searchedRemote } from "./search.ts";
import { refuseChanges, refuseUnknown } from "./while-doubted.ts";

/** Whether a change that no other region acknowledged is acknowledged by this one alone. */
export type PeerAcknowledgement = "preferred" | "required";

/** Parts that tests replace to plant a fault. */
export interface RegionalParts {
  readonly decide: typeof serving;
  readonly readRepair: typeof readRepair;
  readonly push: typeof pushToAll;
  readonly agree: typeof agreedCommit;
}

export interface RegionalStoreOptions {
  readonly region: string;
  readonly own: OwnStore;
  /** The other regions; none for a region alone. */
  readonly peers: readonly Peer[];
  readonly timers: Timers;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly peerAcknowledgement?: PeerAcknowledgement;
  /** How long a change waits for the other region's acknowledgement. */
  readonly pushTimeoutMs?: number;
  /** How long a change waits for an agreed operation that holds its record. */
  readonly reservedMs?: number;
  /** How long after the start to wait for another region before it counts as unreachable. */
  readonly graceMs?: number;
  /** Decides what this region takes from another; everything unless given. */
  readonly mayJoin?: MayJoin;
  /** Decides between copies that differ in what is sealed; undefined before the keys can be opened. */
  readonly seals?: () => Seals | undefined;
  readonly parts?: Partial<RegionalParts>;
}

/** How often a change is decided at most when the regions change meanwhile. */
const triesMax = 4;

type Committed = Extract<CommitOutcome, { readonly kind: "committed" }>;

/**
 * The store that the engine sees: the region's own, or the other region's while the own one cannot
 * be used. How two regions keep one promise is decided here and in the files beside.
 */
export class RegionalStore implements ObjectStore, AsyncDisposable {
  readonly records: RegionRecords;
  readonly #options: RegionalStoreOptions;
  readonly #own: OwnStore;
  readonly #watch: ServingWatch;
  readonly #searchRepairs = new SearchRepairs();
  readonly #parts: Pick<RegionalParts, "readRepair" | "push" | "agree">;
  readonly #pushTimeoutMs: number;
  readonly #reservedMs: number;

  constructor(options: RegionalStoreOptions) {
    const { region, own, peers, timers, observe, parts = {} } = options;
    this.#options = options;
    this.#own = own;
    this.#pushTimeoutMs = options.pushTimeoutMs ?? 500;
    this.#reservedMs = options.reservedMs ?? 2_000;
    this.#parts = { readRepair, push: pushToAll, agree: agreedCommit, ...parts };
    this.records = new RegionRecords({ region, own, peers: peers.map((peer) => peer.region) });
    this.#watch = new ServingWatch({
      own,
      peers,
      records: this.records,
      timers,
      observe,
      graceMs: options.graceMs ?? 2_500,
      ...(parts.decide && { decide: parts.decide }),
    });
  }

  /** From where clients are served at this moment. */
  serving(): Serving {
    return this.#watch.now();
  }

  /** Calls `listener` at each change of `serving()`; returns a function that stops it. */
  onServing(listener: (serving: Serving) => void): () => void {
    return this.#watch.onServing(listener);
  }

  /** What is known now. */
  health(): RegionalHealth {
    const { peers, region } = this.#options;
    return {
      serving: this.#watch.now(),
      lease: this.#own.state(),
      level: this.#watch.level,
      retired: this.records.isRetired(region),
      peers: peers.map((peer) => {
        const retired = this.records.isRetired(peer.region);
        return { region: peer.region, state: retired ? "retired" : peer.state() };
      }),
    };
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    const { from, through } = this.#watch.now();
    if (from === "local" || this.#isAlone()) {
      try {
        return await this.#readOwn(instance, ids, through);
      } catch (error) {
        this.#orRemote(error);
      }
    }
    try {
      return await this.#readRemote(instance, ids);
    } catch (error) {
      this.#orLocal(error, "read");
      return await this.#readOwn(instance, ids, true);
    }
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: CommitOptions = {},
  ): Promise<CommitOutcome> {
    if (options.agreed === true) {
      return await this.#decidedAnew(() => this.#commitAgreed(instance, changes, audit));
    }
    const { from, writes } = this.#watch.now();
    let again = false;
    if ((from === "local" && writes) || this.#isAlone()) {
      try {
        return await this.commitOwn(instance, changes, audit);
      } catch (error) {
        const work = (peer: Peer) => this.#commitAt(peer, instance, changes, audit);
        if (isFull(error)) return await this.#elsewhere(error, madeElsewhere(this.#own, work));
        this.#orRemote(error);
        again = true;
      }
    }
    try {
      return await this.#commitRemote(instance, changes, audit, again);
    } catch (error) {
      this.#orLocal(error, "write");
      return await this.#commitAgain(instance, changes, audit);
    }
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    const { from, doubted } = this.#watch.now();
    if (doubted) return false;
    if (from === "local") return await this.#own.markServed(instance, before, after);
    const peer = from === "remote" ? this.#servingPeer() : undefined;
    return (await peer?.remote.markServed(instance, before, after)) ?? false;
  }

  async heal(
    instance: string,
    broken: StoredObject,
    opens: Seals["opens"],
  ): Promise<StoredObject | undefined> {
    const { region } = this.#options;
    const local = this.#watch.now().from === "local";
    const sources: readonly CopySource[] = local
      ? (await this.#othersNow()).map((peer) => ({
          region: peer.region,
          read: peer.fetch.bind(peer),
        }))
      : [{ region, read: this.#own.read.bind(this.#own) }];
    const found = await openingCopy(instance, broken, sources, opens);
    // Another region's store is healed by its own nodes.
    if (found && local) await replaceBroken(this.#own, instance, broken, found);
    return found?.stored;
  }

  async find(instance: string, query: FindQuery): Promise<FindPage> {
    const { from } = this.#watch.now();
    if (from === "local" || this.#isAlone()) {
      try {
        return await this.#findOwn(instance, query);
      } catch (error) {
        this.#orRemote(error);
      }
    }
    try {
      const peer = this.#requireServing();
      return await searchedRemote(peer, instance, query);
    } catch (error) {
      this.#orLocal(error, "read");
      return await this.#findOwn(instance, query);
    }
  }

  async appendAudit(
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> {
    const { from } = this.#watch.now();
    if (from === "local" || this.#isAlone()) {
      try {
        return await this.#own.appendAudit(instance, events, strict);
      } catch (error) {
        const work = (peer: Peer) => peer.remote.appendAudit(instance, events, strict);
        if (isFull(error)) return await this.#elsewhere(error, work);
        this.#orRemote(error);
      }
    }
    try {
      await this.#requireServing().remote.appendAudit(instance, events, strict);
    } catch (error) {
      this.#orLocal(error, "write");
      await this.#own.appendAudit(instance, events, strict);
    }
  }

  /**
   * A commit in the own store alone, pushed to the other regions: what a client of this region gets while it serves
   * from there, and what a client of another region gets that this one serves.
   */
  commitOwn(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    return this.#decidedAnew(() => this.#commitOwn(instance, changes, audit));
  }

  async #commitOwn(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    refuseChanges(this.#own, changes.length);
    const { given } = this.records;
    const others = changes.length === 0 ? [] : this.#watch.others();
    const required = this.#options.peerAcknowledgement === "required";
    if (required) requireAll(others);
    let pushed: Promise<boolean> | undefined;
    const written = (): void => {
      pushed ??= this.#push(others, changes);
    };
    const attempt = () => this.#own.commit(instance, changes, audit, { written, given });
    const outcome = await untilFree(attempt, this.#reservedMs, this.#options);
    refuseChanges(this.#own, changes.length);
    if (outcome.kind !== "committed") return outcome;
    if (others.length === 0) return this.#acknowledged(true, others);
    written();
    return this.#acknowledged((await pushed) === true, others);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch.close();
  }

  /** A region alone asks its own store even without a lease: that waits for one, and knows why it has none. */
  #isAlone(): boolean {
    const { peers, region } = this.#options;
    return peers.length === 0 && !this.records.isRetired(region);
  }

  /** A fast path without further promises, for what the own store alone can decide. */
  async #readOwn(
    instance: string,
    ids: readonly string[],
    through: boolean,
  ): Promise<readonly (StoredObject | undefined)[]> {
    refuseUnknown(this.#own, instance, ids);
    try {
      const copies = await this.#own.read(instance, ids);
      refuseUnknown(this.#own, instance, ids);
      if (!through && !copies.some(isOpen)) return copies;
      return await this.#aside(instance, ids, copies, through);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
    }
    const copies = await readEach(this.#own, instance, ids);
    refuseUnknown(this.#own, instance, ids);
    return await this.#aside(instance, ids, copies, through);
  }

  async #aside(
    instance: string,
    ids: readonly string[],
    copies: Awaited<ReturnType<typeof readEach>>,
    through: boolean,
  ): Promise<readonly (StoredObject | undefined)[]> {
    const options = await this.#repairing();
    return await this.#parts.readRepair({ instance, ids, copies }, through, options);
  }

  async #repairing() {
    return { ...this.#options, others: await this.#othersNow() };
  }

  async #readRemote(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    const peer = this.#requireServing();
    const found = await readThere(peer, instance, ids, this.#own);
    if (!found.includes(undefined)) return found;
    const others = this.#watch.others().filter((other) => other !== peer);
    return await settledThere({ instance, ids, found }, peer, others, this.#own);
  }

  async #findOwn(instance: string, query: FindQuery): Promise<FindPage> {
    refuseUnknown(this.#own, instance);
    const repair = async (ids: readonly string[]) =>
      this.#searchRepairs.repairEach(instance, ids, await this.#repairing());
    const page = await searchedOwn(this.#own, instance, query, repair);
    refuseUnknown(this.#own, instance);
    const held = page.objects.filter(({ reserved }) => reserved !== undefined);
    if (held.length === 0) return page;
    const ids = page.objects.map(({ object }) => object.uniqueIdentifier);
    try {
      const objects = await this.#aside(instance, ids, page.objects, false);
      return { ...page, objects: objects.filter((object) => object !== undefined) };
    } catch (error) {
      // One record that is held must not hide the others: a search answers from one store, as in any cut.
      if (failureIn(error).failure !== "reserved") throw error;
      return page;
    }
  }

  async #commitRemote(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    again: boolean,
  ): Promise<CommitOutcome> {
    const peer = this.#requireServing();
    const outcome = await this.#commitAt(peer, instance, changes, audit);
    if (!again || outcome.kind === "committed") return outcome;
    // The first try's push may have been faster: every try sends the same bytes.
    const refused = await refusedUnlessMade(peer.remote, { instance, changes, audit }, outcome);
    if (refused !== undefined) return refused;
    // It is there by that push; whether it is here is not known.
    return { ...this.#acknowledged(false, []), regions: [peer.region] };
  }

  async #commitAt(
    peer: Peer,
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    const required = this.#options.peerAcknowledgement === "required";
    return madeThere(await peer.remote.commit(instance, changes, audit), peer.region, required);
  }

  #elsewhere<Result>(
    full: StoreUnavailable,
    work: (peer: Peer) => Promise<Result>,
  ): Promise<Result> {
    // Where both regions must have it, one is not enough.
    const required = this.#options.peerAcknowledgement === "required";
    return doneElsewhere(full, required ? undefined : this.#servingPeer(), work, this.#watch);
  }

  /** After a try at another region, which may have been done there, and pushed here before this one. */
  async #commitAgain(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    const outcome = await this.commitOwn(instance, changes, audit);
    if (outcome.kind === "committed") return outcome;
    const refused = await refusedUnlessMade(this.#own, { instance, changes, audit }, outcome);
    if (refused !== undefined) return refused;
    const others = this.#watch.others();
    return this.#acknowledged(await this.#push(others, changes), others);
  }

  async #commitAgreed(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
  ): Promise<CommitOutcome> {
    const { from, agrees, reason } = this.#watch.now();
    if (this.#isAlone()) return await this.commitOwn(instance, changes, audit);
    if (from === "none") throw new StoreUnavailable(this.#whyNone(), reason);
    if (!agrees) throw new StoreUnavailable("noAgreement", reason);
    const { region, timers, ids, observe, mayJoin, seals } = this.#options;
    await this.#othersNow();
    // From one moment: the regions that are asked, and what the store must still say of them.
    const [others, { given }] = [this.#watch.others(), this.records];
    if (others.length === 0) return await this.#commitOwn(instance, changes, audit);
    requireAll(others);
    const around = { timers, observe, reservedMs: this.#reservedMs };
    const merging = { from: region, seals: seals?.(), ...around };
    const sites = sitesInOrder(region, this.#own, others, { given, merging });
    const options = { region, ids, mayJoin, ...around };
    return await this.#parts.agree(sites, { instance, changes, audit }, options);
  }

  /** Where a region was retired or rejoined meanwhile, nothing was written: decides again, by the regions of now. */
  async #decidedAnew(attempt: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt();
      } catch (error) {
        if (failureIn(error).failure !== "superseded" || tries >= triesMax) throw error;
      }
      await this.records.refresh();
      this.records.refuseRetired(this.#options.region);
    }
  }

  /** The other regions; one that is left out must be retired now, not a moment ago. */
  async #othersNow(): Promise<readonly Peer[]> {
    if (this.#watch.others().length < this.#options.peers.length) await this.records.refresh();
    return this.#watch.others();
  }

  #push(others: readonly Peer[], changes: readonly Change[]): Promise<boolean> {
    const { timers, ids, observe } = this.#options;
    const objects = changes.map(({ after }) => after);
    const timeoutMs = this.#pushTimeoutMs;
    return this.#parts.push(others, objects, { timers, ids, observe, timeoutMs });
  }

  /** The outcome of a change that is durable here, and in the others where it is `shared`. */
  #acknowledged(shared: boolean, others: readonly Peer[]): Committed {
    const { region, peerAcknowledgement } = this.#options;
    if (shared) {
      return { kind: "committed", regions: [region, ...others.map((peer) => peer.region)] };
    }
    if (peerAcknowledgement !== "required") return { kind: "committed", regions: [region] };
    throw new StoreUnavailable("barrierShort", "another region did not acknowledge the change");
  }

  /** After a failure of the own store: returns if by now another region serves, which this request then asks. */
  #orRemote(error: unknown): void {
    const failure = failureIn(error);
    if (this.#watch.now().from !== "remote") throw failure;
  }

  /**
   * After a failure of the region that serves: returns if it does not serve after all and the own store may, as in a
   * cut; for reads a lease for reads is enough.
   */
  #orLocal(error: unknown, need: "read" | "write"): void {
    const failure = failureIn(error);
    const refused = failure.failure === "peerUnreachable" || failure.failure === "noLease";
    if (!refused || this.#watch.now().from !== "remote") throw failure;
    const now = this.#watch.refused();
    if (now.from === "local" && (now.writes || need === "read")) return;
    if (need === "write" || this.#own.state() === "none") throw failure;
  }

  #servingPeer(): Peer | undefined {
    return this.#watch.others().find((peer) => peer.state() === "up");
  }

  /** The region that serves this one's clients; there is one while `serving()` says so. */
  #requireServing(): Peer {
    const { from, doubted, reason } = this.#watch.now();
    const peer = from === "remote" ? this.#servingPeer() : undefined;
    if (peer !== undefined) return peer;
    if (doubted) throw new StoreUnavailable("doubted", reason);
    const failure = from === "none" ? this.#whyNone() : "noLease";
    throw new StoreUnavailable(failure, reason);
  }

  #whyNone(): "retired" | "noLease" {
    return this.records.isRetired(this.#options.region) ? "retired" : "noLease";
  }
}
