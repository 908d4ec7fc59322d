import { setImmediate as turn } from "node:timers/promises";
import type { AuditLog, AuditStanding, Clock } from "@holdfast/engine";
import type { CadfSettings } from "../cadf.ts";
import {
  type EventOrder,
  isCursorOf,
  type Positions,
  readCursor,
  writeCursor,
} from "./event-cursor.ts";
import { type EventFilters, partitionsOf } from "./event-filters.ts";
import { PartitionWalk, slackMs } from "./partition-walk.ts";
import { timeOfEntry } from "./read-entry.ts";
import {
  entriesAtOnce,
  eventsOf,
  type NewsPlace,
  type PageWish,
  type Trail,
  type TrailEntry,
  type TrailNews,
  type TrailPage,
} from "./trail.ts";

export interface AuditReaderOptions {
  readonly log: AuditLog;
  readonly cadf: CadfSettings;
  readonly clock: Clock;
  /** How long followers share one reading of the standings; 250 ms unless given. */
  readonly sharedMs?: number;
}

/** The most entries that one page looks at. */
const entriesPerPage = 5_000;
const sharedUsualMs = 250;
const followEntries = 256;
/** How many bytes an entry's place takes in an answer. */
const placeBytes = 36;
/** A resumed stream reads other partitions from this long before the follower's last event. */
const resumeSlackMs = 10_000;

/** Reads the audit trail of a region's own store. */
export class AuditReader implements Trail {
  readonly region: string;
  readonly #options: AuditReaderOptions;
  /** The last reading of the standings, shared by all followers. */
  #standings: { readonly atMs: number; readonly answer: Promise<readonly AuditStanding[]> };

  constructor(options: AuditReaderOptions) {
    this.#options = options;
    this.region = options.cadf.region;
    this.#standings = { atMs: Number.NEGATIVE_INFINITY, answer: Promise.resolve([]) };
  }

  /** One page of entries with events that are asked for; may reject with `StoreUnavailable`. */
  async page(filters: EventFilters, wish: PageWish): Promise<TrailPage> {
    const { log } = this.#options;
    const { order, cursor } = wish;
    const standings = await log.standings();
    const storeId = log.storeId ?? "";
    const positions =
      cursor === undefined
        ? await this.#begin(filters, order, standings)
        : readCursor(cursor, storeId, order);
    const walks = [...positions].map(
      ([partition, position]) => new PartitionWalk(log, { partition, order, position, filters }),
    );
    const entries = await this.#walked(walks, filters, wish);
    const page = { storeId, entries, start: writeCursor(storeId, order, positions) };
    const left = walks.filter(({ over }) => !over);
    const timeMs = nextOf(left, order)?.timeMs;
    if (timeMs === undefined) return page;
    const ends = new Map(left.map(({ partition, position }) => [partition, position]));
    return { ...page, next: { cursor: writeCursor(storeId, order, ends), timeMs } };
  }

  /** Takes entries by time until the page is full, nothing follows, or enough were looked at. */
  async #walked(
    walks: readonly PartitionWalk[],
    filters: EventFilters,
    { order, limit, bytesMax = Number.POSITIVE_INFINITY }: PageWish,
  ): Promise<readonly TrailEntry[]> {
    const entries: TrailEntry[] = [];
    let bytes = 0;
    for (let looked = 0; looked < entriesPerPage && entries.length < limit; looked += 1) {
      if (looked % entriesAtOnce === entriesAtOnce - 1) await turn();
      const walk = await nextWalk(walks, order, limit);
      const entry = walk?.peek();
      if (walk === undefined || entry === undefined) break;
      const found = { partition: walk.partition, number: entry.number, bytes: entry.bytes };
      if (this.#isAsked(found, filters)) {
        bytes += found.bytes.length + placeBytes;
        if (entries.length > 0 && bytes > bytesMax) break;
        entries.push(found);
      }
      walk.take();
    }
    return entries;
  }

  /** Entries that are new since a place, those of each partition in the order of their numbers. */
  async news(
    filters: EventFilters,
    place: NewsPlace,
    bytesMax = Number.POSITIVE_INFINITY,
  ): Promise<TrailNews> {
    const { log } = this.#options;
    const standings = await this.#shared();
    const storeId = log.storeId ?? "";
    const { positions, sinceMs } = await this.#places(standings, place);
    const fresh = await this.#fresh(partitionsOf(filters), standings, positions);
    const entries: TrailEntry[] = [];
    let bytes = 0;
    let more = fresh.length >= followEntries;
    for (const [at, entry] of fresh.entries()) {
      if (at % entriesAtOnce === entriesAtOnce - 1) await turn();
      if (this.#isAsked(entry, filters)) {
        bytes += entry.bytes.length + placeBytes;
        more ||= bytes > bytesMax;
        if (entries.length > 0 && bytes > bytesMax) break;
        entries.push(entry);
      }
      positions.set(entry.partition, entry.number);
    }
    const after = writeCursor(storeId, "oldest", positions);
    return { storeId, entries, after, more, ...(sinceMs !== undefined && { sinceMs }) };
  }

  /** Where a list begins. */
  async #begin(
    filters: EventFilters,
    order: EventOrder,
    standings: readonly AuditStanding[],
  ): Promise<Positions> {
    const positions = new Map<number, number>();
    const all = partitionsOf(filters).map(async (partition) => {
      const standing = standings[partition];
      const position = standing && (await this.#beginIn(partition, standing, filters, order));
      if (position !== undefined) positions.set(partition, position);
    });
    await Promise.all(all);
    return positions;
  }

  /** Undefined if nothing in the partition can match. */
  async #beginIn(
    partition: number,
    { last, base, dropped }: AuditStanding,
    { fromMs, toMs }: EventFilters,
    order: EventOrder,
  ): Promise<number | undefined> {
    const { log } = this.#options;
    const first = Math.max(base.number, dropped) + 1;
    if (last < first) return undefined;
    if (order === "newest") {
      const end = toMs === undefined ? last + 1 : await log.seek(partition, toMs + slackMs);
      return end > first ? end : undefined;
    }
    const start = fromMs === undefined ? first : await log.seek(partition, fromMs - slackMs);
    return start <= last ? start - 1 : undefined;
  }

  /** A follower's positions. If the store is not the same as before, all entries are new. */
  async #places(
    standings: readonly AuditStanding[],
    { after, sinceMs, lastEventId }: NewsPlace,
  ): Promise<{ readonly positions: Map<number, number>; readonly sinceMs?: number }> {
    const { log } = this.#options;
    if (after !== undefined) {
      const isSame = isCursorOf(after, log.storeId ?? "");
      return { positions: new Map(isSame ? readCursor(after, log.storeId ?? "", "oldest") : []) };
    }
    if (sinceMs !== undefined) return { positions: await this.#since(standings, sinceMs) };
    const [, storeId, partition, number, which] =
      /^(.+)-(\d{1,3})-(\d{1,15})-([po])$/.exec(lastEventId ?? "") ?? [];
    if (storeId !== log.storeId || storeId === undefined) {
      return { positions: new Map(standings.map(({ last }, at) => [at, last])) };
    }
    const [at, had] = [Number(partition), Number(number)];
    const from = { after: had - 1 };
    const [entry] = await log.entries(at, { from, limit: 1, covered: false });
    const timeMs = entry === undefined ? 0 : timeOfEntry(entry.bytes) - resumeSlackMs;
    const positions = await this.#since(standings, timeMs);
    positions.set(at, which === "p" ? had - 1 : had);
    return { positions, sinceMs: timeMs };
  }

  async #since(standings: readonly AuditStanding[], timeMs: number): Promise<Map<number, number>> {
    const { log } = this.#options;
    const starts = standings.map(async (_, at) => (await log.seek(at, timeMs)) - 1);
    return new Map((await Promise.all(starts)).entries());
  }

  async #fresh(
    partitions: readonly number[],
    standings: readonly AuditStanding[],
    positions: ReadonlyMap<number, number>,
  ) {
    const { log } = this.#options;
    const found = partitions.map(async (partition) => {
      const after = positions.get(partition) ?? 0;
      if ((standings[partition]?.last ?? 0) <= after) return [];
      const range = { from: { after }, limit: followEntries, covered: true };
      const entries = await log.entries(partition, range);
      let timeMs = 0;
      return entries.map(({ number, bytes }) => {
        // Entries of one partition stay in the order of their numbers.
        timeMs = Math.max(timeMs, timeOfEntry(bytes));
        return { partition, number, bytes, timeMs };
      });
    });
    const all = (await Promise.all(found)).flat();
    return all.toSorted((one, other) => one.timeMs - other.timeMs);
  }

  #shared(): Promise<readonly AuditStanding[]> {
    const { log, clock, sharedMs = sharedUsualMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#standings.atMs < sharedMs) return this.#standings.answer;
    const answer = log.standings();
    // The caller gets the failure; nobody else needs it.
    answer.catch(() => undefined);
    this.#standings = { atMs: nowMs, answer };
    return answer;
  }

  #isAsked(entry: TrailEntry, filters: EventFilters): boolean {
    const { log, cadf } = this.#options;
    return eventsOf(log.storeId ?? "", entry, filters, cadf).length > 0;
  }
}

/** The walk that has the next entry of all; walks that have none waiting read more first. */
async function nextWalk(
  walks: readonly PartitionWalk[],
  order: EventOrder,
  limit: number,
): Promise<PartitionWalk | undefined> {
  if (walks.some(({ isHungry }) => isHungry)) {
    await Promise.all(walks.map((walk) => walk.fill(walks.length, limit)));
  }
  return nextOf(walks, order);
}

function nextOf(walks: readonly PartitionWalk[], order: EventOrder): PartitionWalk | undefined {
  let best: PartitionWalk | undefined;
  for (const walk of walks) {
    if (walk.over) continue;
    const ahead =
      order === "newest" ? walk.timeMs - (best?.timeMs ?? 0) : (best?.timeMs ?? 0) - walk.timeMs;
    if (best === undefined || ahead > 0) best = walk;
  }
  return best;
}
