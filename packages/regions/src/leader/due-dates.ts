import {
  type AuditEvent,
  type ClockDoubt,
  destroyedFinally,
  due,
  type Facts,
  type ManagedObject,
  type ObjectStore,
  type Observer,
  type OwnStore,
  partitionCount,
  pendingDestruction,
  plannedDates,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { failureIn, isOfOneRecord } from "../ports/waiting.ts";
import { OwnFeed } from "./catch-up/own-feed.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";
import { giveWay } from "./pace.ts";

export interface DueDatesOptions {
  readonly region: string;
  /** The store whose changed records are searched for dates. */
  readonly own: OwnStore;
  /** Through which facts are written, so that they reach the other region too. */
  readonly store: ObjectStore;
  readonly timers: Timers;
  /** Gets how many destructions are not final, whenever that has changed. */
  readonly observe?: Observer;
  /** Gets the instances that have objects which can be restored. */
  readonly restorable?: Set<string>;
  /** Why this node's clock may not decide a date; see `Clock.doubt`. */
  readonly doubt?: () => ClockDoubt | undefined;
  /**
   * How many dates are remembered; 50,000 unless given. Later ones are found by reading everything
   * again.
   */
  readonly plannedMax?: number;
}

interface Planned {
  readonly instance: string;
  readonly id: string;
  /** Seconds. */
  readonly at: number;
  /** Whether a destruction becomes final: every region must agree. */
  readonly destroys: boolean;
}

const dueEveryMs = 1_000;
const recordsPerRun = 1_000;
const factsPerRun = 200;
const plannedMaxDefault = 50_000;
/** When the date of an object is tried again that cannot be read, or of a key to destroy whose instance takes no changes. */
const againSeconds = 20;
/** How long destructions wait after a region could not agree. */
const agreeAgainMs = 10_000;

/**
 * Writes early the facts that planned dates have made true; otherwise the first reader of the object does. It alone makes
 * destructions final whose delay is over, and erases the material: in all regions together, so it waits while one is out.
 */
export class DueDates implements Duty {
  readonly name = "due-dates";
  readonly everyMs = dueEveryMs;
  readonly #options: DueDatesOptions;
  readonly #feed: OwnFeed;
  /** By instance and identifier. */
  readonly #planned = new Map<string, Planned>();
  /** No date comes before this time. */
  #earliest = Number.POSITIVE_INFINITY;
  /** From this time on there are dates that were not remembered for lack of room. */
  #horizon = Number.POSITIVE_INFINITY;
  #reported = -1;
  /** No destruction is tried before this time of the monotonic clock. */
  #agreeMs = Number.NEGATIVE_INFINITY;

  constructor(options: DueDatesOptions) {
    this.#options = options;
    const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);
    this.#feed = new OwnFeed(options.own, partitions);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const unread = await this.#feed.follow(recordsPerRun, context, (object) => this.#plan(object));
    const nowSeconds = this.#nowSeconds();
    // What is read again must not keep the rest from its turn.
    if (unread === 0 && nowSeconds >= this.#horizon) {
      this.#horizon = Number.POSITIVE_INFINITY;
      this.#feed.restart();
    }
    const { done, left } = await this.#write(nowSeconds, context);
    if (unread === 0) this.#report();
    return { done, left: left + unread };
  }

  #report(): void {
    const keys = [...this.#planned.values()].filter(({ destroys }) => destroys).length;
    if (keys === this.#reported) return;
    this.#reported = keys;
    this.#options.observe?.({ type: "restorable", keys });
  }

  #plan(object: ManagedObject): void {
    const key = `${object.instance}\0${object.uniqueIdentifier}`;
    const at = nextDate(object, this.#options.region);
    if (at === undefined) {
      this.#planned.delete(key);
      return;
    }
    const { instance, uniqueIdentifier: id, facts } = object;
    const destroys = pendingDestruction(facts) !== undefined;
    if (destroys) this.#options.restorable?.add(instance);
    this.#planned.set(key, { instance, id, at, destroys });
    this.#earliest = Math.min(this.#earliest, at);
    if (this.#planned.size > (this.#options.plannedMax ?? plannedMaxDefault)) this.#dropLater();
  }

  /** Keeps the earlier half; destructions that wait for a region count as the latest. */
  #dropLater(): void {
    const isWaiting = this.#mayNotAgree();
    const orderOf = ({ at, destroys }: Planned): number =>
      isWaiting && destroys ? Number.MAX_VALUE : at;
    const sorted = [...this.#planned].toSorted(([, a], [, b]) => orderOf(a) - orderOf(b));
    for (const [key, { at }] of sorted.slice(sorted.length >> 1)) {
      this.#planned.delete(key);
      this.#horizon = Math.min(this.#horizon, at);
    }
  }

  async #write(nowSeconds: number, { active }: DutyContext): Promise<DutyResult> {
    if (nowSeconds < this.#earliest) return { done: 0, left: 0 };
    const doubt = this.#options.doubt?.();
    if (doubt !== undefined) throw new StoreUnavailable("clockDoubt", doubt.reason);
    // Destructions come last: nobody waits for them, and they may have to wait for a region.
    const dueNow = [...this.#planned]
      .filter(([, { at }]) => at <= nowSeconds)
      .toSorted(([, one], [, other]) => Number(one.destroys) - Number(other.destroys));
    let done = 0;
    for (const [key, planned] of dueNow.slice(0, factsPerRun)) {
      if (!active()) break;
      if (planned.destroys && this.#mayNotAgree()) break;
      if (await this.#tried(key, planned)) done += 1;
      await giveWay(this.#options.timers);
    }
    const times = [...this.#planned.values()].map(({ at }) => at);
    this.#earliest = times.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
    return { done, left: dueNow.length - done };
  }

  /** Whether a region could not agree to a destruction a moment ago. */
  #mayNotAgree(): boolean {
    return this.#options.timers.monotonicMs() < this.#agreeMs;
  }

  /** The same, also false where the record cannot be read, or a region cannot agree to a destruction: the others come first. */
  async #tried(key: string, planned: Planned): Promise<boolean> {
    try {
      return await this.#settle(key, planned);
    } catch (error) {
      const { destroys } = planned;
      if (!isOfOneRecord(failureIn(error)) && !destroys) throw error;
      this.#planned.delete(key);
      const at = destroys ? planned.at : this.#nowSeconds() + againSeconds;
      this.#planned.set(key, { ...planned, at });
      if (destroys) this.#agreeMs = this.#options.timers.monotonicMs() + agreeAgainMs;
      return false;
    }
  }

  /** False where another writer was faster; it is tried again. */
  async #settle(key: string, planned: Planned): Promise<boolean> {
    const { instance, id } = planned;
    const { store, region } = this.#options;
    const [before] = await store.read(instance, [id]);
    const nowSeconds = this.#nowSeconds();
    const object = before?.object;
    const facts = object && factsBy(object, nowSeconds, region);
    if (before === undefined || object === undefined || facts === object.facts) {
      this.#planned.delete(key);
      if (object !== undefined) this.#plan(object);
      return true;
    }
    const lastChange = Math.max(object.lastChange, nowSeconds);
    const dated: ManagedObject = { ...object, facts: facts ?? object.facts, lastChange };
    const isFinal = dated.facts.destroyed !== undefined;
    const after = isFinal ? { ...dated, material: undefined } : dated;
    const evidence = eventsOf(object, after.facts, this.#options.timers.wallMs());
    const change = { kind: "update", before, after } as const;
    const options = isFinal ? { agreed: true } : {};
    const outcome = await store.commit(instance, [change], evidence, options);
    if (outcome.kind === "conflict" || outcome.kind === "reserved") return false;
    if (outcome.kind === "instanceClosed") {
      // It may open again, as in a store that was just filled; if it is deleted, its objects are erased with it.
      this.#planned.set(key, { ...planned, at: nowSeconds + againSeconds });
      return true;
    }
    // The feed brings the next planned date with the change itself.
    this.#planned.delete(key);
    return true;
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.timers.wallMs() / 1_000);
  }
}

/** The facts that dates have made true by a time: planned ones, and the end of a destruction's delay. */
function factsBy({ facts, registers }: ManagedObject, nowSeconds: number, region: string): Facts {
  return destroyedFinally(due(facts, plannedDates(registers), nowSeconds, region), nowSeconds);
}

/** When a date will make another fact true, seconds; undefined where none will. */
export function nextDate(object: ManagedObject, region: string): number | undefined {
  const pending = pendingDestruction(object.facts);
  if (pending !== undefined) return pending.until;
  const planned = plannedDates(object.registers);
  const times = [planned.activation, planned.deactivation].filter((at) => at !== undefined);
  return times
    .toSorted((a, b) => a - b)
    .find((at) => due(object.facts, planned, at, region) !== object.facts);
}

/** The same audit events that an operation writes when it is the first to see a date. */
function eventsOf(
  { facts: old, uniqueIdentifier: target }: ManagedObject,
  facts: Facts,
  time: number,
): readonly AuditEvent[] {
  const actions = {
    activated: "kmip-key.activate",
    deactivated: "kmip-key.deactivate",
    destroyed: "kmip-key.erase",
  } as const;
  return (["activated", "deactivated", "destroyed"] as const)
    .filter((fact) => old[fact] === undefined && facts[fact] !== undefined)
    .map((fact) => ({
      time,
      action: actions[fact],
      outcome: "success",
      initiator: "planned-date",
      target,
      requestId: "leader",
    }));
}
