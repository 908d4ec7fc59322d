import {
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  type Observer,
} from "@holdfast/engine";
import type { Timers } from "../ports.ts";
import { chainPoint, differingPoint, sameHash } from "./audit-points.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";
import { giveWay } from "./pace.ts";

/** What `AuditRetention` stands on. */
export interface AuditRetentionOptions {
  readonly log: AuditLog;
  readonly timers: Timers;
  readonly observe: Observer;
  /** What no sink has yet stays. */
  readonly sinks: readonly string[];
  /** Older entries go. */
  readonly ageMs: number;
  /** The oldest go when all of them together are larger. */
  readonly bytesMax: number;
}

/** Whether an entry, with the point after it and the one before, stays. */
type Until = (point: ChainPoint, before: ChainPoint) => boolean;

const retainEveryMs = 60_000;
/** Pages of one run; the rest is for the next. */
const pagesPerRun = 64;

/** Removes the oldest audit entries by age and by size; the chain goes on from where the rest begins. */
export class AuditRetention implements Duty {
  readonly name = "audit-retention";
  readonly everyMs = retainEveryMs;
  readonly #options: AuditRetentionOptions;
  /** Partitions whose beginning is not what the chain says: evidence that stays. */
  readonly #faulty = new Set<number>();

  constructor(options: AuditRetentionOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { log, timers, ageMs, bytesMax } = this.#options;
    const limits = await this.#limits();
    const standings = await log.standings();
    const bases = new Map<number, ChainPoint>();
    let [done, pages] = [0, 0];
    const cut = async (partition: number, until: Until) => {
      const standing = standings[partition];
      if (standing === undefined || pages >= pagesPerRun || !context.active()) return false;
      const from = bases.get(partition) ?? (await this.#base(partition, standing));
      const limit = Math.min(limits.get(partition) ?? limits.least, standing.head.number);
      const to = await this.#page(partition, from, standing.head, limit, until);
      if (to === undefined) return false;
      await log.trim(partition, to, context.epoch);
      pages += 1;
      bases.set(partition, to);
      done += to.number - from.number;
      await giveWay(timers);
      return true;
    };
    const oldestMs = timers.wallMs() - ageMs;
    for (const [partition, { base, head }] of standings.entries()) {
      if (head.number === base.number) continue;
      while (await cut(partition, ({ timeMs }) => timeMs >= oldestMs));
    }
    let excess = standings.reduce((sum, { head, base }, at) => {
      return sum + head.bytes - (bases.get(at) ?? base).bytes;
    }, -bytesMax);
    // The largest first: which of them is older matters less than that room is made.
    const bySize = [...standings.entries()].toSorted(([, a], [, b]) => sizeOf(b) - sizeOf(a));
    for (const [partition, standing] of bySize) {
      if (excess <= 0) break;
      const start = bases.get(partition) ?? standing.base;
      const share = start.bytes + Math.min(excess, standing.head.bytes - start.bytes);
      while (await cut(partition, (_, before) => before.bytes >= share));
      excess -= (bases.get(partition) ?? start).bytes - start.bytes;
    }
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

  /** Where a partition's trail begins, also where the store gave entries up by itself. */
  async #base(partition: number, { base, dropped, head }: AuditStanding): Promise<ChainPoint> {
    if (dropped <= base.number || dropped > head.number) return base;
    const [kept] = await this.#options.log.points(partition, [dropped]);
    return kept ?? base;
  }

  /** The point up to which one page may go; undefined where nothing may. */
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

function sizeOf({ head, base }: AuditStanding): number {
  return head.bytes - base.bytes;
}
