import {
  type AuditEvent,
  type ClockDoubt,
  due,
  type Facts,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  partitionCount,
  plannedDates,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
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
}

const dueEveryMs = 1_000;
const recordsPerRun = 1_000;
const factsPerRun = 200;
const plannedMaxDefault = 50_000;

/** Writes early the facts that planned dates have made true; otherwise the first reader of the object does. */
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

  constructor(options: DueDatesOptions) {
    this.#options = options;
    const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);
    this.#feed = new OwnFeed(options.own, partitions);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const unread = await this.#feed.follow(recordsPerRun, context, (object) => this.#plan(object));
    const nowSeconds = this.#nowSeconds();
    if (nowSeconds >= this.#horizon) {
      this.#horizon = Number.POSITIVE_INFINITY;
      this.#feed.restart();
    }
    const { done, left } = await this.#write(nowSeconds, context);
    return { done, left: left + unread };
  }

  #plan(object: ManagedObject): void {
    const key = `${object.instance}\0${object.uniqueIdentifier}`;
    const at = nextDate(object, this.#options.region);
    if (at === undefined) {
      this.#planned.delete(key);
      return;
    }
    this.#planned.set(key, { instance: object.instance, id: object.uniqueIdentifier, at });
    this.#earliest = Math.min(this.#earliest, at);
    if (this.#planned.size > (this.#options.plannedMax ?? plannedMaxDefault)) this.#dropLater();
  }

  /** Keeps the earlier half. */
  #dropLater(): void {
    const sorted = [...this.#planned].toSorted(([, a], [, b]) => a.at - b.at);
    for (const [key, { at }] of sorted.slice(sorted.length >> 1)) {
      this.#planned.delete(key);
      this.#horizon = Math.min(this.#horizon, at);
    }
  }

  async #write(nowSeconds: number, { active }: DutyContext): Promise<DutyResult> {
    if (nowSeconds < this.#earliest) return { done: 0, left: 0 };
    const doubt = this.#options.doubt?.();
    if (doubt !== undefined) throw new StoreUnavailable("clockDoubt", doubt.reason);
    const dueNow = [...this.#planned].filter(([, { at }]) => at <= nowSeconds);
    let done = 0;
    for (const [key, planned] of dueNow.slice(0, factsPerRun)) {
      if (!active()) break;
      if (await this.#settle(key, planned)) done += 1;
      await giveWay(this.#options.timers);
    }
    const times = [...this.#planned.values()].map(({ at }) => at);
    this.#earliest = times.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
    return { done, left: dueNow.length - done };
  }

  /** False where another writer was faster; it is tried again. */
  async #settle(key: string, { instance, id }: Planned): Promise<boolean> {
    const { store, region } = this.#options;
    const [before] = await store.read(instance, [id]);
    const nowSeconds = this.#nowSeconds();
    const object = before?.object;
    const facts = object && due(object.facts, plannedDates(object.registers), nowSeconds, region);
    if (before === undefined || object === undefined || facts === object.facts) {
      this.#planned.delete(key);
      if (object !== undefined) this.#plan(object);
      return true;
    }
    const lastChange = Math.max(object.lastChange, nowSeconds);
    const after: ManagedObject = { ...object, facts: facts ?? object.facts, lastChange };
    const evidence = eventsOf(object, after.facts, this.#options.timers.wallMs());
    const outcome = await store.commit(instance, [{ kind: "update", before, after }], evidence);
    if (outcome.kind === "conflict" || outcome.kind === "reserved") return false;
    // The feed brings the next planned date with the change itself.
    this.#planned.delete(key);
    return true;
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.timers.wallMs() / 1_000);
  }
}

/** When a date will make another fact true, seconds; undefined where none will. */
export function nextDate(object: ManagedObject, region: string): number | undefined {
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
  const actions = { activated: "kmip-key.activate", deactivated: "kmip-key.deactivate" } as const;
  return (["activated", "deactivated"] as const)
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
