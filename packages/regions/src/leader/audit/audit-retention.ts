import {
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  type ObjectStore,
  type Observer,
  partitionOfTrail,
  type Timers,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { giveWay } from "../pace.ts";
import {
  chainPoint,
  differingPoint,
  type Gone,
  sameHash,
  tellGone,
  withGone,
} from "./audit-points.ts";

export interface AuditRetentionOptions {
  readonly log: AuditLog;
  /** Where it writes its own audit events. */
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly timers: Timers;
  readonly observe: Observer;
  /** What one of these sinks lacks stays. */
  readonly sinks: readonly string[];
  /** Older entries are removed. */
  readonly ageMs: number;
  /** Asked at each run. */
  readonly bounds: () => Promise<AuditBounds>;
  /** States in the log over the trail, if it has one, what is removed next. False if that was not possible. */
  readonly announce?:
    | ((partition: number, removed: number, context: DutyContext) => Promise<boolean>)
    | undefined;
}

/** Bytes of all entries together; each counts `entryOverhead` more than it has. */
interface AuditBounds {
  /** Beyond it, the oldest entries that every sink has are removed. */
  readonly bytesMax: number;
  /**
   * Beyond it, the oldest entries are removed even if a sink lacks them: the store must not fill
   * up.
   */
  readonly hardMax: number;
}

/** Bytes that the store needs for each entry, in addition to the entry itself. */
const entryOverhead = 64;

/** Whether an entry stays, given the point after it. */
type Until = (point: ChainPoint) => boolean;

/** The next entries of a trail that may be removed: the points after each of them. */
interface Ahead {
  readonly from: ChainPoint;
  readonly points: readonly ChainPoint[];
  /** Whether no more may be removed. */
  readonly isAll: boolean;
}

/** One run: how far it has got. */
interface Run {
  readonly context: DutyContext;
  readonly standings: readonly AuditStanding[];
  readonly limits: ReadonlyMap<number, number> & { readonly least: number };
  /** Where trails begin meanwhile. */
  readonly bases: Map<number, ChainPoint>;
  done: number;
  pages: number;
}

const retainEveryMs = 60_000;
/** Most pages of one run; the next run does the rest. */
const pagesPerRun = 64;
/** What was removed at the size bound is told once in this time. */
const tellEveryMs = 3_600_000;

/** Removes the oldest audit entries by age and by size; the chain continues from where the rest begins. */
export class AuditRetention implements Duty {
  readonly name = "audit-retention";
  readonly everyMs = retainEveryMs;
  readonly #options: AuditRetentionOptions;
  /** Partitions whose first entries are not those that were chained: they stay, as evidence. */
  readonly #faulty = new Set<number>();
  /** What the store gave up, and no audit event tells yet. */
  #untold: readonly Gone[] = [];
  /** The same of what was removed at the size bound, which happens in each run of a store that is full of events. */
  #cut: readonly Gone[] = [];
  #cutToldMs = Number.NEGATIVE_INFINITY;

  constructor(options: AuditRetentionOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { log, timers, ageMs } = this.#options;
    const limits = await this.#limits();
    const standings = await log.standings();
    const run: Run = { context, standings, limits, bases: new Map(), done: 0, pages: 0 };
    await this.#passDropped(run);
    const oldestMs = timers.wallMs() - ageMs;
    for (const [partition, { base, head }] of standings.entries()) {
      if (head.number === base.number) continue;
      while (await this.#remove(run, partition, ({ timeMs }) => timeMs >= oldestMs));
    }
    const { bytesMax, hardMax } = await this.#options.bounds();
    await this.#cutBySize(run, bytesMax, true);
    await this.#cutBySize(run, hardMax, false);
    // With the room that is free now, it may be possible.
    await this.#tell();
    return { done: run.done, left: run.pages >= pagesPerRun ? 1 : 0 };
  }

  /** Lets trails begin where the store dropped entries by itself, and tells of these. */
  async #passDropped({ context, standings, bases }: Run): Promise<void> {
    const { log, sinks, announce } = this.#options;
    for (const [partition, standing] of standings.entries()) {
      const to = await this.#base(partition, standing);
      if (to.number <= standing.base.number || !context.active()) continue;
      if (!((await announce?.(partition, to.number, context)) ?? true)) continue;
      if (sinks.length === 0) {
        this.#noteDropped(partition, standing.base.number + 1, to.number);
        // First, since afterwards nothing shows what was dropped. In a full store it waits, and the rest continues.
        await this.#tell();
      }
      await log.trim(partition, to, context.epoch);
      bases.set(partition, to);
    }
  }

  /** Removes a page of a trail's oldest entries; false where nothing may be removed. */
  async #remove(run: Run, partition: number, until: Until, waits = true): Promise<boolean> {
    const { log, timers, announce } = this.#options;
    const { context, standings, bases } = run;
    const head = standings[partition]?.head;
    if (head === undefined || run.pages >= pagesPerRun || !context.active()) return false;
    const { from, points } = await this.#ahead(run, partition, waits);
    const stays = points.findIndex(until);
    const going = stays < 0 ? points : points.slice(0, stays);
    const to = going.at(-1);
    if (to === undefined || !(await this.#isSound(partition, going, head))) return false;
    // A log that cannot be written does not let the store fill up.
    const isStated = (await announce?.(partition, to.number, context)) ?? true;
    if (!isStated && waits) return false;
    await log.trim(partition, to, context.epoch);
    run.pages += 1;
    run.done += to.number - from.number;
    bases.set(partition, to);
    await giveWay(timers);
    return true;
  }

  /**
   * Removes entries until all partitions together have at most `most` bytes: of the largest partition first, since room
   * matters more than age, and there the oldest of both its trails, so that what an instance does last, beyond its share,
   * is not what goes first.
   */
  async #cutBySize(run: Run, most: number, waits: boolean): Promise<void> {
    const { standings, bases } = run;
    const sizes = standings.map(
      ({ head, base }, at) => sizeAt(head) - sizeAt(bases.get(at) ?? base),
    );
    let excess = sizes.reduce((sum, size) => sum + size, -most);
    const partitions = Map.groupBy(standings.keys(), partitionOfTrail);
    const sizeOf = (trails: readonly number[]) =>
      trails.reduce((sum, trail) => sum + (sizes[trail] ?? 0), 0);
    const bySize = [...partitions.values()].toSorted((a, b) => sizeOf(b) - sizeOf(a));
    for (const trails of bySize) {
      let gone = Number.POSITIVE_INFINITY;
      while (excess > 0 && gone > 0) {
        gone = await this.#removeOldest(run, trails, excess, waits);
        excess -= gone;
      }
    }
  }

  /** Removes at most a page of each of a partition's trails, about `excess` bytes together; how many bytes went. */
  async #removeOldest(
    run: Run,
    trails: readonly number[],
    excess: number,
    waits: boolean,
  ): Promise<number> {
    if (run.pages >= pagesPerRun) return 0;
    const pages = await Promise.all(trails.map((trail) => this.#ahead(run, trail, waits)));
    const ends = oldestOf(pages, excess);
    let gone = 0;
    for (const [at, { from }] of pages.entries()) {
      const [partition = -1, end = 0] = [trails[at], ends[at]];
      if (end <= from.number) continue;
      if (!(await this.#remove(run, partition, ({ number }) => number > end, waits))) continue;
      const to = run.bases.get(partition) ?? from;
      gone += sizeAt(to) - sizeAt(from);
      if (this.#options.sinks.length > 0) continue;
      this.#cut = withGone(this.#cut, { partition, from: from.number + 1, to: to.number });
    }
    return gone;
  }

  /** Up to which number every sink has each partition. */
  async #limits(): Promise<Run["limits"]> {
    const { log, sinks } = this.#options;
    const least = sinks.length === 0 ? Number.POSITIVE_INFINITY : 0;
    const limits = Object.assign(new Map<number, number>(), { least });
    const points = await Promise.all(sinks.map((sink) => log.sinkPoints(sink)));
    for (const partition of new Set(points.flatMap((each) => [...each.keys()]))) {
      const numbers = points.map((each) => each.get(partition)?.number ?? 0);
      limits.set(partition, Math.min(...numbers));
    }
    return limits;
  }

  /** Where a partition's trail begins, even if the store dropped entries by itself. */
  async #base(partition: number, { base, dropped, head }: AuditStanding): Promise<ChainPoint> {
    if (dropped <= base.number || dropped > head.number) return base;
    const [kept] = await this.#options.log.points(partition, [dropped]);
    return kept ?? base;
  }

  /** Reports what the store gave up at its hard bound; what a sink lacks of it, that sink's duty reports. */
  #noteDropped(partition: number, from: number, to: number): void {
    const reason = "at the hard bound, without a sink";
    this.#options.observe({ type: "auditLost", entries: to - from + 1, reason });
    this.#untold = withGone(this.#untold, { partition, from, to });
  }

  /** Writes audit events about what is gone; what the store does not take now is told later. */
  async #tell(): Promise<void> {
    const nowMs = this.#options.timers.monotonicMs();
    const isDue = this.#cut.length > 0 && nowMs - this.#cutToldMs >= tellEveryMs;
    const all = [...this.#untold, ...(isDue ? this.#cut : [])];
    if (all.length === 0) return;
    if (!(await tellGone(this.#options, all))) return;
    this.#untold = [];
    if (isDue) [this.#cut, this.#cutToldMs] = [[], nowMs];
  }

  /** The next page of what may be removed from a trail. */
  async #ahead(
    { standings, limits, bases }: Run,
    partition: number,
    waits: boolean,
  ): Promise<Ahead> {
    const standing = standings[partition];
    if (standing === undefined) throw new RangeError(`partition ${partition} does not exist`);
    const from = bases.get(partition) ?? (await this.#base(partition, standing));
    const had = waits ? (limits.get(partition) ?? limits.least) : Number.POSITIVE_INFINITY;
    const limit = Math.min(had, standing.head.number);
    const points: ChainPoint[] = [];
    if (this.#faulty.has(partition) || from.number >= limit) return { from, points, isAll: true };
    const range = { from: { after: from.number }, limit: auditEntriesMax, covered: false };
    for (const entry of await this.#options.log.entries(partition, range)) {
      const before = points.at(-1) ?? from;
      if (entry.number !== before.number + 1 || entry.number > limit) break;
      points.push(chainPoint(before, entry));
    }
    return { from, points, isAll: points.length < auditEntriesMax };
  }

  /** Whether entries are those that were chained; those that are not stay. */
  async #isSound(
    partition: number,
    points: readonly ChainPoint[],
    head: ChainPoint,
  ): Promise<boolean> {
    const last = points.at(-1);
    const atHead = last?.number === head.number && !sameHash(last.hash, head.hash);
    const fault = atHead ? last : await differingPoint(this.#options.log, partition, points);
    if (fault === undefined) return true;
    this.#faulty.add(partition);
    const reason = `entries up to ${fault.number} are not those that were chained; they are kept`;
    this.#options.observe({ type: "auditFault", partition, reason });
    return false;
  }
}

/**
 * Up to which number to remove entries of each trail, so that `excess` bytes go and no entry goes before an older one: as
 * far as these pages show what is next.
 */
function oldestOf(pages: readonly Ahead[], excess: number): readonly number[] {
  const trails: readonly Passed[] = pages.map((page) => ({ ...page, at: 0, last: page.from }));
  for (let left = excess; left > 0; ) {
    const isUnknown = trails.some(({ points, at, isAll }) => at === points.length && !isAll);
    const next = isUnknown ? [] : trails.filter(({ points, at }) => at < points.length);
    const [trail] = next.toSorted((a, b) => nextOf(a).timeMs - nextOf(b).timeMs);
    if (trail === undefined) break;
    const point = nextOf(trail);
    left -= sizeAt(point) - sizeAt(trail.last);
    trail.at += 1;
    trail.last = point;
  }
  return trails.map(({ last }) => last.number);
}

/** How far a page was passed through. */
interface Passed extends Ahead {
  at: number;
  last: ChainPoint;
}

/** The next point of a page; clocks differ, so it counts as no older than the one before it. */
function nextOf({ points, at, last }: Passed): ChainPoint {
  const point = points[at] ?? last;
  return { ...point, timeMs: Math.max(point.timeMs, last.timeMs) };
}

/** Bytes of all entries up to a point, removed ones included. */
function sizeAt({ bytes, number }: ChainPoint): number {
  return bytes + number * entryOverhead;
}
