import {
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  isSurplus,
  type ObjectStore,
  type Observer,
  systemInstance,
  type Timers,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { giveWay } from "../pace.ts";
import { chainPoint, differingPoint, leaderEvent, sameHash } from "./audit-points.ts";

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

/** Whether an entry stays, given the point after it and the one before. */
type Until = (point: ChainPoint, before: ChainPoint) => boolean;

const retainEveryMs = 60_000;
/** Most pages of one run; the next run does the rest. */
const pagesPerRun = 64;

/** Removes the oldest audit entries by age and by size; the chain continues from where the rest begins. */
export class AuditRetention implements Duty {
  readonly name = "audit-retention";
  readonly everyMs = retainEveryMs;
  readonly #options: AuditRetentionOptions;
  /** Partitions whose first entries are not those that were chained: they stay, as evidence. */
  readonly #faulty = new Set<number>();

  constructor(options: AuditRetentionOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { log, timers, sinks, ageMs, announce } = this.#options;
    const limits = await this.#limits();
    const standings = await log.standings();
    const bases = new Map<number, ChainPoint>();
    let [done, pages] = [0, 0];
    const cut = async (partition: number, until: Until, waits = true) => {
      const standing = standings[partition];
      if (standing === undefined || pages >= pagesPerRun || !context.active()) return false;
      const from = bases.get(partition) ?? (await this.#base(partition, standing));
      const had = waits ? (limits.get(partition) ?? limits.least) : Number.POSITIVE_INFINITY;
      const limit = Math.min(had, standing.head.number);
      const to = await this.#page(partition, from, standing.head, limit, until);
      if (to === undefined) return false;
      // A log that cannot be written does not let the store fill up.
      const isStated = (await announce?.(partition, to.number, context)) ?? true;
      if (!isStated && waits) return false;
      await log.trim(partition, to, context.epoch);
      pages += 1;
      bases.set(partition, to);
      done += to.number - from.number;
      await giveWay(timers);
      return true;
    };
    for (const [partition, standing] of standings.entries()) {
      const to = await this.#base(partition, standing);
      if (to.number <= standing.base.number || !context.active()) continue;
      if (!((await announce?.(partition, to.number, context)) ?? true)) continue;
      await log.trim(partition, to, context.epoch);
      bases.set(partition, to);
      if (sinks.length === 0)
        await this.#tellDropped(partition, standing.base.number + 1, to.number);
    }
    const oldestMs = timers.wallMs() - ageMs;
    for (const [partition, { base, head }] of standings.entries()) {
      if (head.number === base.number) continue;
      while (await cut(partition, ({ timeMs }) => timeMs >= oldestMs));
    }
    const { bytesMax, hardMax } = await this.#options.bounds();
    await cutBySize(standings, bases, bytesMax, (partition, until) => cut(partition, until));
    await cutBySize(standings, bases, hardMax, (partition, until) => cut(partition, until, false));
    return { done, left: pages >= pagesPerRun ? 1 : 0 };
  }

  /** Up to which number every sink has each partition. */
  async #limits(): Promise<ReadonlyMap<number, number> & { readonly least: number }> {
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
  async #tellDropped(partition: number, from: number, to: number): Promise<void> {
    const { observe, store, timers } = this.#options;
    const reason = "at the hard bound, without a sink";
    observe({ type: "auditLost", entries: to - from + 1, reason });
    const event = leaderEvent(timers.wallMs(), "audit.drop", { partition, from, to });
    await store.appendAudit(systemInstance, [event], true);
  }

  /** The point up to which one page may be removed; undefined where nothing may. */
  async #page(
    partition: number,
    base: ChainPoint,
    head: ChainPoint,
    limit: number,
    until: Until,
  ): Promise<ChainPoint | undefined> {
    const { log } = this.#options;
    if (this.#faulty.has(partition) || base.number >= limit) return undefined;
    const range = { from: { after: base.number }, limit: auditEntriesMax, covered: false };
    const points: ChainPoint[] = [];
    for (const entry of await log.entries(partition, range)) {
      const before = points.at(-1) ?? base;
      if (entry.number !== before.number + 1 || entry.number > limit) break;
      const point = chainPoint(before, entry);
      if (until(point, before)) break;
      points.push(point);
    }
    const last = points.at(-1);
    if (last === undefined) return undefined;
    const atHead = last.number === head.number && !sameHash(last.hash, head.hash);
    const fault = atHead ? last : await differingPoint(log, partition, points);
    if (fault === undefined) return last;
    this.#faulty.add(partition);
    const reason = `entries up to ${fault.number} are not those that were chained; they are kept`;
    this.#options.observe({ type: "auditFault", partition, reason });
    return undefined;
  }
}

/**
 * Removes entries until all partitions together have at most `most` bytes: first of what instances have beyond their
 * share, and of the largest partition first, since room matters more than age.
 */
async function cutBySize(
  standings: readonly AuditStanding[],
  bases: ReadonlyMap<number, ChainPoint>,
  most: number,
  cut: (partition: number, until: Until) => Promise<boolean>,
): Promise<void> {
  let excess = standings.reduce((sum, { head, base }, at) => {
    return sum + sizeAt(head) - sizeAt(bases.get(at) ?? base);
  }, -most);
  const bySize = [...standings.entries()].toSorted(([at, a], [other, b]) => {
    return Number(isSurplus(other)) - Number(isSurplus(at)) || sizeOf(b) - sizeOf(a);
  });
  for (const [partition, { base, head }] of bySize) {
    if (excess <= 0) return;
    const start = bases.get(partition) ?? base;
    const share = sizeAt(start) + Math.min(excess, sizeAt(head) - sizeAt(start));
    while (await cut(partition, (_, before) => sizeAt(before) >= share));
    excess -= sizeAt(bases.get(partition) ?? start) - sizeAt(start);
  }
}

/** Bytes of all entries up to a point, removed ones included. */
function sizeAt({ bytes, number }: ChainPoint): number {
  return bytes + number * entryOverhead;
}

function sizeOf({ head, base }: AuditStanding): number {
  return sizeAt(head) - sizeAt(base);
}
