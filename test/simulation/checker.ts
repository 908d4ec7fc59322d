import {
  type Change,
  isDestroyed,
  type ManagedObject,
  type State,
  stateValues,
} from "@holdfast/engine";
import { InternalError, instance } from "./client.ts";
import { DamagedRecords } from "./damaged-records.ts";
import { type Acknowledged, commentOf, contains, noteOf, rankOf, valuesOf } from "./ledger.ts";
import { ValueWrites } from "./value-writes.ts";

/** The answer to a client. */
export type Answer =
  | { readonly kind: "done" }
  /** State and attributes; `material` is the answer to a Get. */
  | {
      readonly kind: "read";
      readonly state: State;
      readonly rank: number;
      readonly note: string;
      readonly values: readonly string[];
    }
  | { readonly kind: "material"; readonly digest: string }
  | { readonly kind: "located"; readonly ids: readonly string[] }
  | { readonly kind: "notFound" }
  | { readonly kind: "refused"; readonly reason: string };

/** One operation of a client, in the form that the checker needs. */
export interface Observation {
  readonly node: string;
  readonly operation: string;
  readonly id: string;
  /** The value that was searched for, or was to be deleted; a search without one is for every object. */
  readonly text?: string | undefined;
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly answer: Answer;
  /** The region whose store served it; undefined if more than one store was read. */
  readonly store: string | undefined;
  /** Whether the node could ask the other region all the time. */
  readonly reaches?: boolean;
}

/** The Result Reason where an object has no such value. */
const noValue = /^Attribute(Instance)?NotFound\b/;

/** A broken promise. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Whether an error is a broken promise, and not a bug of the simulator. */
export function isViolation(error: unknown): error is Violation | InternalError {
  return error instanceof Violation || error instanceof InternalError;
}

/** A record as the other region has it, and as the lost store has it from now on. */
type LeftOver = Readonly<Record<"elsewhere" | "kept", (id: string) => ManagedObject | undefined>>;

/** Compares every answer to clients with the promises made to them. */
export class Checker {
  readonly damaged = new DamagedRecords();
  readonly #values = new ValueWrites();
  readonly #regions: readonly string[];
  readonly #changes = new Map<string, Acknowledged[]>();
  /** Objects that a client has tried to make. */
  readonly #asked = new Set<string>();
  /** Objects that a client has tried to destroy. */
  readonly #ending = new Set<string>();
  /** Region and object → the rising ranks that its store has shown, and when. */
  readonly #shown = new Map<string, { readonly rank: number; readonly atMs: number }[]>();
  /** Object → when a client was first shown that it is destroyed. */
  readonly #destroyed = new Map<string, number>();
  /** Object and text → the writes that replaced it. */
  readonly #replaced = new Map<string, Acknowledged[]>();
  /** Object and Comment → the change that deleted it. */
  readonly #deleted = new Map<string, Acknowledged>();
  /** Text → how often its commit was begun: a request without a clear result may write it again. */
  readonly #tried = new Map<string, number>();
  /** Object and text → the texts that clients tried to put in its place. */
  readonly #successors = new Map<string, string[]>();
  /** Region, object and text → when its store showed it. */
  readonly #notes = new Map<string, number>();
  /** Region, its store's losses and epoch → who led in it, and whether its epoch is from before the last loss. */
  readonly #epochs = new Map<string, { readonly leader: object; readonly isOlder: boolean }>();
  /** Leader → how often the store had been lost when it asked for its epoch. */
  readonly #stood = new WeakMap<object, number>();
  /** Region → how often its store was lost. */
  readonly #losses = new Map<string, number>();
  /** Region → the time until which its store may lack what it had before it was lost. */
  readonly #behindMs = new Map<string, number>();
  /** When each region last lost its store. */
  readonly #lostMs = new Map<string, number>();
  /** Regions of which nodes use different stores. */
  readonly #doubted = new Set<string>();
  #wasDoubted = false;
  /** The region that is lost, or retired and not back yet. */
  #retired: string | undefined;
  #wasRetired = false;
  /** Until when a region was retired, or its nodes used different stores. */
  #aloneUntilMs = Number.NEGATIVE_INFINITY;
  acknowledged = { shared: 0, alone: 0 };
  looks = 0;
  /** Acknowledged changes that only a lost store had: the known limit. */
  lostAlone = 0;

  constructor(regions: readonly string[]) {
    this.#regions = regions;
  }

  /** A change is about to be committed. */
  tried(change: Change): void {
    this.#values.tried(change);
    const { text } = noteOf(change.after);
    this.#tried.set(text, (this.#tried.get(text) ?? 0) + 1);
    if (isDestroyed(change.after.facts)) this.#ending.add(change.after.uniqueIdentifier);
    if (change.kind === "create") {
      this.#asked.add(`${change.after.instance} ${change.after.uniqueIdentifier}`);
      return;
    }
    const key = `${change.after.uniqueIdentifier} ${noteOf(change.before.object).text}`;
    this.#successors.set(key, [...(this.#successors.get(key) ?? []), text]);
  }

  /** How often a commit of a text was begun. */
  triesOf(text: string): number {
    return this.#tried.get(text) ?? 0;
  }

  /** A change was acknowledged. `before` is the object that it changed. */
  acknowledge(change: Acknowledged, before: ManagedObject | undefined): void {
    const known = this.#changes.get(change.id) ?? [];
    known.push(change);
    this.#changes.set(change.id, known);
    if (change.shared) this.acknowledged.shared += 1;
    else this.acknowledged.alone += 1;
    if (isDestroyed(change.object.facts) && before !== undefined && !isDestroyed(before.facts)) {
      this.#destroyedAcknowledged(change);
    }
    if (change.kind === "drop") this.#values.deleted(change, before ? valuesOf(before) : []);
    if (change.kind === "note" && before !== undefined) {
      const key = `${change.id} ${noteOf(before).text}`;
      this.#replaced.set(key, [...(this.#replaced.get(key) ?? []), change]);
    }
    const deleted = before && commentOf(before);
    if (deleted !== undefined && commentOf(change.object) === undefined) {
      this.#deleted.set(`${change.id} ${deleted}`, change);
    }
  }

  /** A client got an answer. */
  observe(seen: Observation): void {
    this.looks += 1;
    const { answer, id } = seen;
    if (answer.kind === "notFound") this.#notFound(seen);
    if (this.#isBehind(seen)) return;
    if (answer.kind === "located") this.#located(seen, answer.ids);
    const isLacking = answer.kind === "refused" && noValue.test(answer.reason);
    if (isLacking) this.#lacksValue(seen);
    if (answer.kind === "material") {
      const since = this.#destroyed.get(id) ?? Number.POSITIVE_INFINITY;
      if (since < seen.askedMs) this.#fail("destroyed material was read", seen);
    }
    if (answer.kind === "read") this.#read(seen, answer);
  }

  /** A region's store was lost: what only it had is gone, unless `elsewhere` has it, or the copy that was put back (`kept`). */
  lost(region: string, { elsewhere, kept }: LeftOver, nowMs: number): void {
    this.#losses.set(region, (this.#losses.get(region) ?? 0) + 1);
    this.#behindMs.set(region, Number.POSITIVE_INFINITY);
    this.#lostMs.set(region, nowMs);
    this.#forgetDestroyed(elsewhere);
    for (const shown of [this.#shown, this.#notes]) {
      for (const key of [...shown.keys()]) if (key.startsWith(`${region} `)) shown.delete(key);
    }
    for (const change of this.#all()) {
      if (change.shared || !change.regions.has(region)) continue;
      if (contains(elsewhere(change.id), change)) {
        change.shared = true;
        change.sharedMs = nowMs;
      } else if (!contains(kept(change.id), change)) {
        change.lost = true;
        this.lostAlone += 1;
      }
    }
  }

  /** Forgets a destruction that only the lost store had; both regions have acknowledged ones. */
  #forgetDestroyed(elsewhere: (id: string) => ManagedObject | undefined): void {
    for (const id of [...this.#destroyed.keys()]) {
      const other = elsewhere(id);
      const known = (this.#changes.get(id) ?? []).some(
        (change) => change.shared && isDestroyed(change.object.facts),
      );
      if (!known && (other === undefined || !isDestroyed(other.facts))) this.#destroyed.delete(id);
    }
  }

  /** A region is lost, and may be retired: from now on the other one decides alone. `elsewhere` is a record there. */
  retire(region: string, elsewhere: (id: string) => ManagedObject | undefined): void {
    this.#retired = region;
    this.#wasRetired = true;
    this.#forgetDestroyed(elsewhere);
  }

  /** The region is back; if it rejoined, both regions have everything that was acknowledged before `sinceMs`. */
  rejoined(region: string, sinceMs: number | undefined, nowMs: number): void {
    if (this.#retired === region) this.#retired = undefined;
    this.#aloneUntilMs = nowMs;
    for (const change of this.#all()) {
      if (sinceMs !== undefined && change.atMs < sinceMs && !change.lost) change.shared = true;
    }
  }

  /** Nodes of a region use different stores from now on: what they show is not comparable. */
  doubt(region: string): void {
    this.#doubted.add(region);
    this.#wasDoubted = true;
  }

  /** They use one store again, which has everything. */
  trust(region: string, nowMs: number): void {
    this.#doubted.delete(region);
    this.#aloneUntilMs = nowMs;
  }

  doubts(region: string): boolean {
    return this.#doubted.has(region);
  }

  /** Whether something may be in one region alone although both must have it: the other one was retired some time. */
  get excusesAlone(): boolean {
    return this.#wasRetired || this.#wasDoubted;
  }

  /** Whether a change that was asked for then, and is answered now, may be in one region alone. */
  mayBeAlone(askedMs: number): boolean {
    const isAlone = this.#retired !== undefined || this.#doubted.size > 0;
    return isAlone || askedMs <= this.#aloneUntilMs;
  }

  /** The objects of which changes were acknowledged. */
  get ids(): Iterable<string> {
    return this.#changes.keys();
  }

  /** The changes that were acknowledged, and are not lost. */
  get kept(): readonly Acknowledged[] {
    return [...this.#all()].filter(({ lost }) => !lost);
  }

  /** Whether something acknowledged may be lost: some node used another store. */
  get excusesLost(): boolean {
    return this.#wasDoubted;
  }

  /** A region's store now has everything that the other region had. */
  level(region: string, nowMs: number): void {
    if (this.#behindMs.get(region) === Number.POSITIVE_INFINITY) {
      this.#behindMs.set(region, nowMs);
    }
  }

  /** A node asks its store for an epoch to lead in. */
  stands(region: string, leader: object): void {
    this.#stood.set(leader, this.#losses.get(region) ?? 0);
  }

  /** A leader wrote something in its epoch. An old copy of the store may give an epoch again in which somebody still leads. */
  led(region: string, epoch: string, leader: object): void {
    const losses = this.#losses.get(region) ?? 0;
    const key = `${region} ${losses} ${epoch}`;
    const isOlder = (this.#stood.get(leader) ?? 0) < losses;
    const known = this.#epochs.get(key);
    if (known !== undefined && known.leader !== leader && !known.isOlder && !isOlder) {
      throw new Violation(`two leaders acted in epoch ${epoch} of region ${region}`);
    }
    this.#epochs.set(key, { leader, isOlder });
  }

  /** Checks an object that is in a store now. */
  inspect(region: string, object: ManagedObject): void {
    // An old copy that was put back during a cut lacks a Destroy, and still accepts changes.
    // Before it was lost, a region's store may have had an Activate alone, of what the other one destroyed alone.
    if (this.#losses.size > 0 || this.excusesAlone) return;
    this.#requireDeleted(region, object);
    const { activated, deactivated, compromised } = object.facts;
    const active =
      activated !== undefined && deactivated === undefined && compromised === undefined;
    if (!isDestroyed(object.facts) || !active) return;
    throw new Violation(`${object.uniqueIdentifier} was destroyed while active, in ${region}`);
  }

  /** Checks at the end, after healing, that a region has everything acknowledged and not lost. */
  settle(region: string, record: (id: string) => ManagedObject | undefined): void {
    for (const change of this.#all()) {
      if (change.lost || contains(record(change.id), change)) continue;
      throw new Violation(`${describe(change)} is not in ${region} at the end`);
    }
  }

  /** What a client deleted does not come back. */
  #requireDeleted(region: string, object: ManagedObject): void {
    const by = this.#deleted.get(`${object.uniqueIdentifier} ${commentOf(object)}`);
    if (by === undefined || by.lost || !(by.shared || by.regions.has(region))) return;
    throw new Violation(
      `Comment ${commentOf(object)} is back in ${region}: ${describe(by)} deleted it`,
    );
  }

  *#all(): Iterable<Acknowledged> {
    for (const changes of this.#changes.values()) yield* changes;
  }

  #destroyedAcknowledged(change: Acknowledged): void {
    this.#shownDestroyed(change.id, change.atMs);
    for (const region of this.#regions) {
      if (change.regions.has(region) || this.#isOut(region)) continue;
      throw new Violation(`${describe(change)} is acknowledged, and not durable in ${region}`);
    }
  }

  /** Whether what a region's store had may be out of reach: it is retired, or its nodes use different stores. */
  #isOut(region: string): boolean {
    return region === this.#retired || this.doubts(region);
  }

  #shownDestroyed(id: string, atMs: number): void {
    const known = this.#destroyed.get(id) ?? Number.POSITIVE_INFINITY;
    this.#destroyed.set(id, Math.min(known, atMs));
  }

  #notFound(seen: Observation): void {
    for (const change of this.#changes.get(seen.id) ?? []) {
      if (change.lost || change.atMs >= seen.askedMs) continue;
      // It comes back with the only region that has it, or with the store that its nodes should use.
      if ([...change.regions].every((region) => this.#isOut(region))) continue;
      this.#fail(`"not found" for ${describe(change)}`, seen);
    }
  }

  /** A search must find what its store has, and nothing of which its store has the end, or that nobody made for it. */
  #located(seen: Observation, ids: readonly string[]): void {
    const { text, store, askedMs } = seen;
    const found = new Set(ids);
    if (found.size < ids.length) this.#fail("a search finds something twice", seen);
    this.damaged.found(ids, store, askedMs, seen.answeredMs);
    const alien = ids.find((id) => !this.#asked.has(`${instance} ${id}`));
    if (alien !== undefined) this.#fail(`a search finds ${alien}, which no client has made`, seen);
    const other = ids.find((id) => text !== undefined && !this.#values.wasGiven(id, text));
    if (other !== undefined) this.#fail(`a search finds ${other}, which never had ${text}`, seen);
    for (const change of this.#all()) {
      if (found.has(change.id) || !this.#mustBeFound(change, seen)) continue;
      this.#fail(`a search lacks ${describe(change)}`, seen);
    }
    for (const change of ids.flatMap((id) => this.#changes.get(id) ?? [])) {
      const isBack = text !== undefined && this.#values.back(change, [text]) !== undefined;
      if (!(isDestroyed(change.object.facts) || isBack) || !this.#mustShow(change, seen)) continue;
      this.#fail(`a search finds ${change.id.slice(0, 8)} after ${describe(change)}`, seen);
    }
  }

  /** Whether a search must find what a change made. */
  #mustBeFound(change: Acknowledged, seen: Observation): boolean {
    const { text, store, askedMs } = seen;
    const isSearched =
      text === undefined ? change.kind === "create" : this.#values.isKept(change, text);
    if (!isSearched || this.#ending.has(change.id)) return false;
    return !this.damaged.mayLack(change.id, store, askedMs) && this.#mustShow(change, seen);
  }

  #read(seen: Observation, { rank, note, values }: Answer & { readonly kind: "read" }): void {
    const destroyed = rank >= stateValues.Destroyed;
    if (!destroyed && (this.#destroyed.get(seen.id) ?? Number.POSITIVE_INFINITY) < seen.askedMs) {
      this.#fail("a destroyed object is no longer destroyed", seen);
    }
    if (destroyed && !this.#isOfLostStore(seen)) this.#shownDestroyed(seen.id, seen.answeredMs);
    for (const change of this.#changes.get(seen.id) ?? []) {
      if (!this.#mustShow(change, seen)) continue;
      if (rank < rankOf(change.object)) this.#fail(`${describe(change)} is not seen`, seen);
      // A write of a text may first have written that a planned date had come.
      const hasText = noteOf(change.object).text !== "";
      if (change.kind === "note" && hasText && note === "")
        this.#fail(`${describe(change)} is gone`, seen);
      this.#requireValues(change, seen, values);
    }
    this.#notReplaced(seen, note);
    this.#noteNotBackwards(seen, note);
    this.#notBackwards(seen, rank);
  }

  /** Values that were added are shown until somebody deletes them, and never again after that. */
  #requireValues(change: Acknowledged, seen: Observation, values: readonly string[]): void {
    const gone = this.#values.gone(change, values);
    if (gone !== undefined) this.#fail(`value ${gone} of ${describe(change)} is gone`, seen);
    const back = this.#values.back(change, values);
    if (back !== undefined) this.#fail(`value ${back} is seen after ${describe(change)}`, seen);
  }

  /** A client was told that a value that it wants to delete is not there. */
  #lacksValue(seen: Observation): void {
    for (const change of this.#changes.get(seen.id) ?? []) {
      const isKept = seen.text !== undefined && this.#values.isKept(change, seen.text);
      if (isKept && this.#mustShow(change, seen)) {
        this.#fail(`"no such value" for ${describe(change)}`, seen);
      }
    }
  }

  /** A text that a write has replaced must not come back. */
  #notReplaced(seen: Observation, note: string): void {
    // A text that was written twice has two positions in the order of writes.
    if (this.triesOf(note) > 1) return;
    for (const by of this.#replaced.get(`${seen.id} ${note}`) ?? []) {
      if (this.#mustShow(by, seen)) {
        this.#fail(`${note} is seen, which ${describe(by)} replaced`, seen);
      }
    }
  }

  /**
   * A store with an old copy does not know that it is old, and cannot learn it during a cut: until it is level, it may
   * show what the copy has. A read of one object asks the other region too, if that can be asked.
   */
  #isBehind({ store, askedMs, answer, reaches }: Observation): boolean {
    if (reaches === true && answer.kind !== "located" && !this.excusesAlone) return false;
    if (this.#doubted.size > 0 && (store === undefined || this.#doubted.has(store))) return true;
    return [...this.#behindMs].some(
      ([region, untilMs]) => askedMs <= untilMs && (store ?? region) === region,
    );
  }

  /** Whether the answer may tell what a store had that was lost while the answer was under way. */
  #isOfLostStore({ store, askedMs }: Observation): boolean {
    return [...this.#lostMs].some(
      ([region, atMs]) => askedMs <= atMs && (store ?? region) === region,
    );
  }

  /** Shared changes must show everywhere; others in the stores that have them, unless lost. */
  #mustShow(change: Acknowledged, { askedMs, store }: Observation): boolean {
    if (change.lost || change.atMs >= askedMs) return false;
    // A read that was under way when it became shared may have been answered by the other region before that.
    const isShared = change.shared && (change.sharedMs ?? 0) <= askedMs;
    return isShared || (store !== undefined && change.regions.has(store));
  }

  #notBackwards({ store, id, askedMs, answeredMs, ...seen }: Observation, rank: number): void {
    if (store === undefined) return;
    const key = `${store} ${id}`;
    const shown = this.#shown.get(key) ?? [];
    const higher = shown.find((each) => each.rank > rank && each.atMs < askedMs);
    if (higher !== undefined) {
      const now = { store, id, askedMs, answeredMs, ...seen };
      this.#fail(`rank ${higher.rank} was shown by the same store`, now);
    }
    if (shown.every((each) => each.rank < rank)) {
      this.#shown.set(key, [...shown, { rank, atMs: answeredMs }]);
    }
  }

  /** Once a store has shown a later text, it must not show the earlier one again. */
  #noteNotBackwards(seen: Observation, note: string): void {
    const { store, id, askedMs, answeredMs } = seen;
    if (store === undefined) return;
    // A text that was written twice has two positions in the order of writes.
    const isOnce = (text: string): boolean => this.triesOf(text) <= 1;
    const later = this.#successors.get(`${id} ${note}`) ?? [];
    const shown = later.find(
      (text) => isOnce(text) && (this.#notes.get(`${store} ${id} ${text}`) ?? answeredMs) < askedMs,
    );
    if (shown !== undefined && shown !== note && isOnce(note)) {
      this.#fail(`${shown} was shown by the same store in its place`, seen);
    }
    const key = `${store} ${id} ${note}`;
    if (!this.#notes.has(key)) this.#notes.set(key, answeredMs);
  }

  #fail(what: string, seen: Observation): never {
    const { node, operation, id, askedMs, answeredMs, answer, store } = seen;
    const when = `${Math.round(askedMs)}–${Math.round(answeredMs)} ms`;
    const by = `${operation} ${id.slice(0, 8)} at ${node} (store ${store}), ${when}`;
    throw new Violation(`${what}: ${by} answered ${JSON.stringify(answer)}`);
  }
}

/** A change in words, for a sentence that goes on. */
export function describe({ kind, id, object, atMs, shared, regions }: Acknowledged): string {
  const whats = {
    note: `note ${noteOf(object).text}`,
    value: `values ${valuesOf(object).join()}`,
    drop: "deletion of a value",
    create: `create of rank ${rankOf(object)}`,
    state: `state of rank ${rankOf(object)}`,
  };
  const what = whats[kind];
  const who = shared ? "shared" : `alone in ${[...regions].join("+")}`;
  return `the ${what} of ${id.slice(0, 8)}, acknowledged ${who} at ${Math.round(atMs)} ms,`;
}
