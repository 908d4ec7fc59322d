import {
  type AuditEntry,
  type AuditLog,
  type AuditStanding,
  auditTimeOf,
  type ChainPoint,
  type ObjectStore,
  type Observer,
  type SinkPoint,
  type Timers,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "../duty.ts";
import { chainPoint, type Gone, sameHash, tellGone, withGone } from "./audit-points.ts";

/** An entry with its place in the chain. */
export interface ChainedEntry extends AuditEntry {
  readonly storeId: string;
  readonly partition: number;
  readonly hash: Uint8Array;
}

/** Where audit entries go. */
export interface AuditSink {
  readonly name: string;
  /** Most entries of one delivery; 500 unless given. */
  readonly batchMax?: number;
  /**
   * Resolves when the entries have arrived; rejects within a bounded time where they have not, and
   * then gets the same ones again.
   */
  deliver(entries: readonly ChainedEntry[], signal: AbortSignal): Promise<void>;
}

export interface AuditShipOptions {
  readonly log: AuditLog;
  readonly sink: AuditSink;
  /** Where it writes its own audit events. */
  readonly store: Pick<ObjectStore, "appendAudit">;
  readonly timers: Timers;
  readonly observe: Observer;
}

const shipEveryMs = 1_000;
const entriesPerBatch = 500;
const bytesPerBatch = 1 << 19;

/** One batch as it is put together. */
interface Batch {
  readonly entries: ChainedEntry[];
  readonly points: Map<number, SinkPoint>;
  bytes: number;
}

/**
 * Gives a sink the chained entries, each at least once: when they have arrived, the store notes up
 * to where the sink has them. A sink that is down delays nothing else, and its entries wait in the
 * store.
 */
export class AuditShip implements Duty {
  readonly name: string;
  readonly everyMs = shipEveryMs;
  readonly #options: AuditShipOptions;
  /** The partition with which the next batch begins, so that no partition waits for another. */
  #turn = 0;
  /** Up to which entry of a store's partition a loss was reported: a sink that is down is tried again and again. */
  readonly #lostTo = new Map<string, number>();
  /** What the sink has lost, and no audit event tells yet. */
  #untold: readonly Gone[] = [];

  constructor(options: AuditShipOptions) {
    this.#options = options;
    this.name = `audit-ship-${options.sink.name}`;
  }

  async run({ epoch, signal }: DutyContext): Promise<DutyResult> {
    const { log, sink, timers } = this.#options;
    const startedMs = timers.monotonicMs();
    const standings = await log.standings();
    const points = await log.sinkPoints(sink.name);
    const numberOf = (partition: number): number => points.get(partition)?.number ?? 0;
    const behind = standings.reduce(
      (sum, { head, base }, at) => sum + head.number - Math.max(numberOf(at), base.number),
      0,
    );
    if (behind === 0) {
      await this.#tell();
      this.#report({ ok: true, entries: 0, behind: 0, lagMs: 0 }, startedMs);
      return { done: 0, left: 0 };
    }
    const batch = await this.#gather(standings, points);
    await this.#tell();
    const entries = inOrder(batch.entries);
    const first = entries[0];
    const lagMs = first === undefined ? 0 : Math.max(0, timers.wallMs() - timeOf(first));
    try {
      if (entries.length > 0) await sink.deliver(entries, signal);
      await log.setSinkPoints(sink.name, batch.points, epoch);
    } catch (cause) {
      this.#report({ ok: false, entries: 0, behind, lagMs, cause }, startedMs);
      throw cause;
    }
    const left = Math.max(0, behind - entries.length);
    this.#report(
      { ok: true, entries: entries.length, behind: left, lagMs: left ? lagMs : 0 },
      startedMs,
    );
    return { done: batch.points.size === 0 ? 0 : Math.max(1, entries.length), left };
  }

  get #entriesMax(): number {
    return this.#options.sink.batchMax ?? entriesPerBatch;
  }

  async #gather(
    standings: readonly AuditStanding[],
    points: ReadonlyMap<number, SinkPoint>,
  ): Promise<Batch> {
    const batch: Batch = { entries: [], points: new Map(), bytes: 0 };
    const turn = this.#turn;
    for (let step = 0; step < standings.length; step += 1) {
      if (batch.entries.length >= this.#entriesMax || batch.bytes >= bytesPerBatch) break;
      const partition = (turn + step) % standings.length;
      const standing = standings[partition];
      const from = points.get(partition);
      if (standing === undefined || standing.head.number <= (from?.number ?? 0)) continue;
      await this.#take(batch, partition, standing, from);
      this.#turn = (partition + 1) % standings.length;
    }
    return batch;
  }

  async #take(
    batch: Batch,
    partition: number,
    standing: AuditStanding,
    point: SinkPoint | undefined,
  ): Promise<void> {
    const { log } = this.#options;
    const { base, head } = standing;
    const storeId = log.storeId ?? "";
    let before = await this.#start(partition, standing, point);
    const limit = this.#entriesMax - batch.entries.length;
    const range = { from: { after: before.number }, limit, covered: false };
    for (const entry of await log.entries(partition, range)) {
      if (entry.number > head.number) break;
      if (entry.number !== before.number + 1) {
        this.#fault(partition, `entries ${before.number + 1} to ${entry.number - 1} are missing`);
        const [kept] = await log.points(partition, [entry.number - 1]);
        before = kept ?? { ...base, number: entry.number - 1 };
      }
      before = chainPoint(before, entry);
      batch.entries.push({ ...entry, storeId, partition, hash: before.hash });
      batch.bytes += entry.bytes.length;
      if (batch.bytes >= bytesPerBatch) break;
    }
    if (before.number === head.number && !sameHash(before.hash, head.hash)) {
      this.#fault(partition, `entries up to ${head.number} are not those that were chained`);
      before = head;
    }
    if (before.number > (point?.number ?? 0)) batch.points.set(partition, before);
  }

  /** Where the sink continues: at its own position, or where the trail begins by now. */
  async #start(
    partition: number,
    { base, dropped, head }: AuditStanding,
    point: SinkPoint | undefined,
  ): Promise<ChainPoint> {
    const at = point?.number ?? 0;
    const goneTo = Math.min(head.number, Math.max(base.number, dropped));
    // A new sink gets what the store has; for an older one, retention should have waited.
    if (point !== undefined && goneTo > at) this.#noteLost(partition, at + 1, goneTo);
    if (goneTo <= at && point !== undefined) return { ...base, ...point };
    if (goneTo === base.number) return base;
    if (goneTo === head.number) return head;
    const [kept] = await this.#options.log.points(partition, [goneTo]);
    return kept ?? { ...base, number: goneTo };
  }

  #noteLost(partition: number, from: number, to: number): void {
    const { log, sink, observe } = this.#options;
    const key = `${log.storeId} ${partition}`;
    const first = Math.max(from, (this.#lostTo.get(key) ?? 0) + 1);
    if (first > to) return;
    this.#lostTo.set(key, to);
    const reason = `before sink ${sink.name} had them`;
    observe({ type: "auditLost", entries: to - first + 1, reason });
    this.#untold = withGone(this.#untold, { partition, from: first, to });
  }

  /** Writes audit events about lost entries. If a full store refuses them, they are written later, and delivery continues. */
  async #tell(): Promise<void> {
    const { sink } = this.#options;
    if (this.#untold.length === 0) return;
    const lost = this.#untold.map((gone) => ({ ...gone, sink: sink.name }));
    if (await tellGone(this.#options, lost)) this.#untold = [];
  }

  #fault(partition: number, reason: string): void {
    this.#options.observe({ type: "auditFault", partition, reason });
  }

  #report(
    result: {
      readonly ok: boolean;
      readonly entries: number;
      readonly behind: number;
      readonly lagMs: number;
      readonly cause?: unknown;
    },
    startedMs: number,
  ): void {
    const { sink, observe, timers } = this.#options;
    const durationMs = timers.monotonicMs() - startedMs;
    observe({ type: "auditSink", sink: sink.name, durationMs, ...result });
  }
}

/**
 * Entries of all partitions in order of time; those of one partition in the order of their numbers.
 */
function inOrder(entries: readonly ChainedEntry[]): readonly ChainedEntry[] {
  const latest = new Map<number, number>();
  const timed = entries.map((entry) => {
    const time = Math.max(latest.get(entry.partition) ?? 0, timeOf(entry));
    latest.set(entry.partition, time);
    return { entry, time };
  });
  return timed.toSorted((a, b) => a.time - b.time).map(({ entry }) => entry);
}

function timeOf({ bytes }: AuditEntry): number {
  return bytes.length < 8 ? 0 : auditTimeOf(bytes);
}
