import {
  type AuditEntry,
  type AuditLog,
  type AuditStanding,
  auditEntriesMax,
  type ChainPoint,
  chainGap,
  type ObjectStore,
  type Observer,
  systemInstance,
  type Timers,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { forEachLimit } from "../pace.ts";
import { chainPoint, leaderEvent } from "./audit-points.ts";

export interface AuditChainOptions {
  readonly log: AuditLog;
  /** Where it writes its own audit events. */
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly timers: Timers;
  readonly observe: Observer;
  /** Gets what was chained, so that the log over the trail need not read it again. */
  readonly chained?: ((partition: number, part: ChainedPart) => void) | undefined;
}

/** Entries without a gap, and the points of the chain before and after them. */
export interface ChainedPart {
  readonly from: ChainPoint;
  readonly entries: readonly AuditEntry[];
  readonly to: ChainPoint;
}

const chainEveryMs = 1_000;
const partitionsAtOnce = 8;

/**
 * Chains the audit trail: SHA-256 over the entries of each partition in the order of their numbers.
 * Only what is covered is chained, since after a fail-over the numbers of the rest may be used
 * again.
 */
export class AuditChain implements Duty {
  readonly name = "audit-chain";
  readonly everyMs = chainEveryMs;
  readonly #options: AuditChainOptions;

  constructor(options: AuditChainOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const standings = await this.#options.log.standings();
    const behind = [...standings.entries()].filter(([, { last, head }]) => last > head.number);
    let [done, left] = [0, 0];
    await forEachLimit(behind, partitionsAtOnce, async ([partition, standing]) => {
      const chained = context.active() ? await this.#chain(partition, standing, context.epoch) : 0;
      done += chained;
      left += Math.max(0, standing.last - standing.head.number - chained);
    });
    return { done, left };
  }

  async #chain(partition: number, standing: AuditStanding, epoch: number): Promise<number> {
    const { log } = this.#options;
    const { head } = standing;
    const range = { from: { after: head.number }, limit: auditEntriesMax, covered: true };
    const entries = await log.entries(partition, range);
    const first = entries[0];
    if (first === undefined) return 0;
    const gap = first.number > head.number + 1 ? chainGap(head, first.number - 1) : undefined;
    const points: ChainPoint[] = gap === undefined ? [] : [gap];
    for (const entry of entries) {
      const before = points.at(-1) ?? head;
      if (entry.number !== before.number + 1) break;
      points.push(chainPoint(before, entry));
    }
    // After entries that the store dropped, the trail has a new beginning. Before entries that
    // somebody removed, the earlier ones still exist.
    const base = gap !== undefined && gap.number <= standing.dropped ? gap : undefined;
    if (!(await log.extend(partition, head, points, epoch, base))) return 0;
    const to = points.at(-1);
    if (gap === undefined && points.length === entries.length && to !== undefined) {
      this.#options.chained?.(partition, { from: head, entries, to });
    }
    if (gap !== undefined) await this.#tellGap(partition, head.number + 1, gap.number, base);
    return (points.at(-1)?.number ?? head.number) - head.number;
  }

  async #tellGap(
    partition: number,
    from: number,
    to: number,
    base: ChainPoint | undefined,
  ): Promise<void> {
    const { observe, store, timers } = this.#options;
    if (base === undefined) {
      const reason = `entries ${from} to ${to} are missing`;
      observe({ type: "auditFault", partition, reason });
    } else {
      observe({ type: "auditLost", entries: to - from + 1, reason: "before they were chained" });
    }
    const action = base === undefined ? "audit.damage" : "audit.drop";
    const event = leaderEvent(timers.wallMs(), action, { partition, from, to });
    await store.appendAudit(systemInstance, [event], true);
  }
}
