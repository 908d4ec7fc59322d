import { type ChainPoint, chainStart, checkpointEvery } from "../../audit/audit-chain.ts";
import { auditTimeOf, decodeAudit, encodeAudit } from "../../audit/audit-codec.ts";
import type { AuditEvent } from "../../audit/audit-event.ts";
import {
  type AuditEntry,
  type AuditLog,
  type AuditRange,
  type AuditStanding,
  auditEntriesMax,
  type SinkPoint,
} from "../../audit/audit-log.ts";
import { auditShare, sysPartition, trailCount, trailsOf } from "../../system/partition.ts";
import { MemoryAuditTree } from "./memory-audit-tree.ts";
import type { MemoryJournal } from "./memory-journal.ts";

/** What the trail needs from the store that holds it. */
export interface MemoryAuditHost {
  readonly storeId: string;
  readonly journal: MemoryJournal;
  readonly demand: (need: "read" | "write") => void;
  /** Refuses an epoch that is over. */
  readonly fence: (epoch: number) => void;
  /** Resolves when everything written before is durable. */
  readonly barrier: () => Promise<void>;
}

/** One partition's trail. */
class Trail {
  readonly entries = new Map<number, Uint8Array>();
  readonly counters = new Map<"last" | "dropped", number>();
  readonly points = new Map<number | "base" | "head", ChainPoint>();
  /** Instance → how many of the entries are its. */
  readonly shares = new Map<string, number>();

  get last(): number {
    return this.counters.get("last") ?? 0;
  }
}

/** The audit trail of a store in memory. */
export class MemoryAudit implements AuditLog {
  readonly tree: MemoryAuditTree;
  readonly #host: () => MemoryAuditHost;
  readonly #kept: number;
  #trails = emptyTrails();
  #sinks = new Map<string, SinkPoint>();

  /** About `kept` entries of a partition stay. */
  constructor(host: () => MemoryAuditHost, kept: number) {
    this.#host = host;
    this.#kept = kept;
    this.tree = new MemoryAuditTree(host);
  }

  get storeId(): string {
    return this.#host().storeId;
  }

  /** Appends an instance's events, as part of a commit or alone. */
  append(instance: string, events: readonly AuditEvent[]): void {
    const [own, surplus = own] = trailsOf(instance).map((trail) => this.#trail(trail));
    if (own === undefined || surplus === undefined) return;
    for (const bytes of encodeAudit(instance, events)) {
      const has = own.shares.get(instance) ?? 0;
      const isBeyond = has >= auditShare(this.#kept) && has < own.entries.size;
      this.#append(isBeyond ? surplus : own, instance, bytes);
    }
  }

  #append(trail: Trail, instance: string, bytes: Uint8Array): void {
    const { journal } = this.#host();
    const number = trail.last + 1;
    const has = trail.shares.get(instance) ?? 0;
    journal.set(trail.entries, number, bytes);
    journal.set(trail.counters, "last", number);
    journal.set(trail.shares, instance, has + 1);
    const isBounded = !this.#isOwn(trail) || has + 1 >= trail.entries.size;
    if (isBounded && number % checkpointEvery === 0) this.#bound(trail, number);
  }

  #isOwn(trail: Trail): boolean {
    return this.#trails.indexOf(trail) <= sysPartition;
  }

  /** Forgets everything, like a store that is emptied. */
  empty(): void {
    this.#trails = emptyTrails();
    this.#sinks = new Map();
    this.tree.empty();
  }

  /** What is kept of an instance, oldest first. */
  of(instance: string): readonly AuditEvent[] {
    return trailsOf(instance)
      .flatMap((trail) => [...this.#trail(trail).entries.values()])
      .map(decodeAudit)
      .flatMap((content) => (content.instance === instance ? content.events : []));
  }

  /** Replaces or removes an entry, as somebody would do to hide something. */
  tamper(partition: number, number: number, bytes: Uint8Array | undefined): void {
    const { entries } = this.#trail(partition);
    if (bytes === undefined) entries.delete(number);
    else entries.set(number, bytes);
  }

  async standings(): Promise<readonly AuditStanding[]> {
    this.#host().demand("read");
    return this.#trails.map((trail, partition) => {
      const start = chainStart(this.storeId, partition);
      return {
        last: trail.last,
        dropped: trail.counters.get("dropped") ?? 0,
        base: trail.points.get("base") ?? start,
        head: trail.points.get("head") ?? start,
      };
    });
  }

  async entries(
    partition: number,
    { from, limit, covered }: AuditRange,
  ): Promise<readonly AuditEntry[]> {
    this.#host().demand("read");
    const all = [...this.#trail(partition).entries].map(([number, bytes]) => ({ number, bytes }));
    const found =
      "after" in from
        ? all.filter(({ number }) => number > from.after).toSorted((a, b) => a.number - b.number)
        : all.filter(({ number }) => number < from.before).toSorted((a, b) => b.number - a.number);
    const page = found.slice(0, Math.min(limit, auditEntriesMax));
    if (covered) await this.#host().barrier();
    return page;
  }

  async seek(partition: number, timeMs: number): Promise<number> {
    this.#host().demand("read");
    const { entries, last } = this.#trail(partition);
    const numbers = [...entries.keys()].toSorted((a, b) => a - b);
    return (
      numbers.find((number) => auditTimeOf(entries.get(number) ?? new Uint8Array(8)) >= timeMs) ??
      last + 1
    );
  }

  async points(
    partition: number,
    numbers: readonly number[],
  ): Promise<readonly (ChainPoint | undefined)[]> {
    this.#host().demand("read");
    const { points } = this.#trail(partition);
    return numbers.map((number) => points.get(number));
  }

  async extend(
    partition: number,
    from: ChainPoint,
    points: readonly ChainPoint[],
    epoch: number,
    base?: ChainPoint,
  ): Promise<boolean> {
    const { journal, demand, fence, barrier } = this.#host();
    demand("write");
    fence(epoch);
    const trail = this.#trail(partition);
    const head = trail.points.get("head") ?? chainStart(this.storeId, partition);
    if (head.number !== from.number) return false;
    const last = points.at(-1);
    if (last !== undefined) journal.set(trail.points, "head", last);
    for (const point of points) {
      if (point.number % checkpointEvery === 0) journal.set(trail.points, point.number, point);
    }
    if (base !== undefined) this.#cut(trail, base);
    await barrier();
    return true;
  }

  async trim(partition: number, base: ChainPoint, epoch: number): Promise<void> {
    const { demand, fence, barrier } = this.#host();
    demand("write");
    fence(epoch);
    this.#cut(this.#trail(partition), base);
    await barrier();
  }

  async sinkPoints(sink: string): Promise<ReadonlyMap<number, SinkPoint>> {
    this.#host().demand("read");
    const found = [...this.#sinks].flatMap(([key, point]) => {
      const [name, partition] = key.split("/");
      return name === sink ? [[Number(partition), point] as const] : [];
    });
    return new Map(found);
  }

  async setSinkPoints(
    sink: string,
    points: ReadonlyMap<number, SinkPoint>,
    epoch: number,
  ): Promise<void> {
    const { journal, demand, fence, barrier } = this.#host();
    demand("write");
    fence(epoch);
    for (const [partition, point] of points) {
      journal.set(this.#sinks, `${sink}/${partition}`, point);
    }
    await barrier();
  }

  #trail(partition: number): Trail {
    const trail = this.#trails[partition];
    if (trail === undefined) throw new RangeError(`partition ${partition} does not exist`);
    return trail;
  }

  #cut(trail: Trail, base: ChainPoint): void {
    const { journal } = this.#host();
    const before = trail.points.get("base")?.number ?? 0;
    for (let number = before + 1; number <= base.number; number += 1) {
      this.#remove(trail, number);
      journal.delete(trail.points, number);
    }
    journal.set(trail.points, "base", base);
  }

  #remove(trail: Trail, number: number): void {
    const { journal } = this.#host();
    const entry = trail.entries.get(number);
    if (entry === undefined) return;
    const { instance } = decodeAudit(entry);
    journal.delete(trail.entries, number);
    journal.set(trail.shares, instance, (trail.shares.get(instance) ?? 1) - 1);
  }

  /** Enforces the hard limit, as the scripts do. */
  #bound(trail: Trail, number: number): void {
    const { journal } = this.#host();
    const upTo = number - Math.ceil(this.#kept / checkpointEvery) * checkpointEvery;
    const dropped = trail.counters.get("dropped") ?? 0;
    if (upTo <= dropped) return;
    for (let at = dropped + 1; at <= upTo; at += 1) this.#remove(trail, at);
    journal.set(trail.counters, "dropped", upTo);
  }
}

function emptyTrails(): readonly Trail[] {
  return Array.from({ length: trailCount }, () => new Trail());
}
