import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import {
  type AuditEntry,
  type AuditLog,
  type AuditStanding,
  type Clock,
  StoreUnavailable,
} from "@holdfast/engine";
import { type CadfEvent, type CadfSettings, renderCadf } from "./cadf.ts";
import { type EventOrder, type Positions, readCursor, writeCursor } from "./event-cursor.ts";
import { type EventFilters, matches, mayMatch, partitionsOf } from "./event-filters.ts";
import { PartitionWalk, slackMs } from "./partition-walk.ts";
import { readEntry, timeOfEntry } from "./read-entry.ts";

/** What an `AuditReader` stands on. */
export interface AuditReaderOptions {
  readonly log: AuditLog;
  readonly cadf: CadfSettings;
  readonly clock: Clock;
  /** How often what is new is looked for; 500 ms unless given. */
  readonly followMs?: number;
}

/** A page of events. It may be short, or empty, and have a `next`: so many entries are looked at and no more. */
export interface EventPage {
  readonly events: readonly CadfEvent[];
  readonly next?: string;
}

/** Which page. */
export interface PageWish {
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** `newest` unless given. */
  readonly order?: EventOrder | undefined;
}

/** How one follows. */
export interface FollowOptions {
  readonly signal: AbortSignal;
  /** The identifier of the last event that the follower has; it begins with what is new unless given. */
  readonly lastEventId?: string | undefined;
}

/** Entries that one page looks at, at most. */
const entriesPerPage = 5_000;
/** And before whoever waits for this node is let through. */
const entriesAtOnce = 64;
const followEveryMs = 500;
const followEntries = 256;
/** Before the last event that a follower has, others may lie that came later. */
const resumeSlackMs = 10_000;

/** Reads the audit trail of a region's own store as CADF events. */
export class AuditReader {
  readonly #options: AuditReaderOptions;
  /** What the last question for standings answers, shared by all followers. */
  #standings: { readonly atMs: number; readonly answer: Promise<readonly AuditStanding[]> };

  constructor(options: AuditReaderOptions) {
    this.#options = options;
    this.#standings = { atMs: Number.NEGATIVE_INFINITY, answer: Promise.resolve([]) };
  }

  /** One page of events; `StoreUnavailable` while the store cannot be read. */
  async query(filters: EventFilters, wish: PageWish): Promise<EventPage> {
    const { log } = this.#options;
    const { order = "newest", limit, cursor } = wish;
    const standings = await log.standings();
    const storeId = log.storeId ?? "";
    const positions =
      cursor === undefined
        ? await this.#begin(filters, order, standings)
        : readCursor(cursor, storeId, order);
    const walks = [...positions].map(
      ([partition, position]) => new PartitionWalk(log, { partition, order, position, filters }),
    );
    const events: CadfEvent[] = [];
    for (let looked = 0; looked < entriesPerPage && events.length < limit; looked += 1) {
      if (looked % entriesAtOnce === entriesAtOnce - 1) await turn();
      const walk = await nextWalk(walks, order, limit);
      const entry = walk?.peek();
      if (walk === undefined || entry === undefined) break;
      const found = this.#eventsOf(walk.partition, entry, filters);
      // Pending and outcome stay together, unless there is room for one only.
      if (events.length > 0 && events.length + found.length > limit) break;
      walk.take();
      events.push(...(order === "newest" ? found.toReversed() : found));
    }
    const left = walks.filter(({ over }) => !over);
    if (left.length === 0) return { events };
    const ends = new Map(left.map(({ partition, position }) => [partition, position]));
    return { events, next: writeCursor(storeId, order, ends) };
  }

  /** Events as they are written, those of each partition in the order of their numbers, until `signal` is aborted. */
  async *follow(filters: EventFilters, options: FollowOptions): AsyncGenerator<CadfEvent> {
    const { log, followMs = followEveryMs } = this.#options;
    const { signal, lastEventId } = options;
    const partitions = partitionsOf(filters);
    let storeId: string | undefined;
    let positions = new Map<number, number>();
    while (!signal.aborted) {
      try {
        const standings = await this.#shared();
        if (log.storeId !== storeId) {
          const begins = storeId === undefined ? "now" : "first";
          positions = await this.#places(standings, begins, lastEventId);
          storeId = log.storeId;
        }
        const fresh = await this.#fresh(partitions, standings, positions);
        for (const { partition, entry } of fresh) {
          yield* this.#eventsOf(partition, entry, filters);
          positions.set(partition, entry.number);
        }
        if (fresh.length > 0) continue;
      } catch (error) {
        // The store is out for a while; what was written meanwhile is told when it is back.
        if (!(error instanceof StoreUnavailable)) throw error;
      }
      await delay(followMs, undefined, { signal }).catch(() => undefined);
    }
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

  /** Undefined where there is nothing. */
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

  /** Where a follower begins. */
  async #places(
    standings: readonly AuditStanding[],
    begins: "now" | "first",
    lastEventId: string | undefined,
  ): Promise<Map<number, number>> {
    const { log } = this.#options;
    const places = standings.map(({ last }) => (begins === "now" ? last : 0));
    const [, storeId, partition, number, which] =
      /^(.+)-(\d{1,2})-(\d{1,15})-([po])$/.exec(lastEventId ?? "") ?? [];
    if (begins === "now" && storeId === log.storeId) {
      const [at, had] = [Number(partition), Number(number)];
      const from = { after: had - 1 };
      const [entry] = await log.entries(at, { from, limit: 1, covered: false });
      const timeMs = entry === undefined ? 0 : timeOfEntry(entry.bytes) - resumeSlackMs;
      const starts = await Promise.all(
        places.map(async (_, each) => (await log.seek(each, timeMs)) - 1),
      );
      starts[at] = which === "p" ? had - 1 : had;
      return new Map(starts.entries());
    }
    return new Map(places.entries());
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
      return entries.map((entry) => ({ partition, entry, timeMs: timeOfEntry(entry.bytes) }));
    });
    const all = (await Promise.all(found)).flat();
    return all.toSorted((one, other) =>
      one.partition === other.partition
        ? one.entry.number - other.entry.number
        : one.timeMs - other.timeMs,
    );
  }

  #shared(): Promise<readonly AuditStanding[]> {
    const { log, clock, followMs = followEveryMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#standings.atMs < followMs / 2) return this.#standings.answer;
    const answer = log.standings();
    // Whoever asked is told of a failure; nobody else need be.
    answer.catch(() => undefined);
    this.#standings = { atMs: nowMs, answer };
    return answer;
  }

  #eventsOf(
    partition: number,
    { number, bytes }: AuditEntry,
    filters: EventFilters,
  ): readonly CadfEvent[] {
    const { log, cadf } = this.#options;
    const place = { storeId: log.storeId ?? "", partition, number };
    const timeMs = timeOfEntry(bytes);
    const content = readEntry(bytes);
    if (!mayMatch(filters, content.instance, timeMs)) return [];
    return renderCadf(content, place, cadf).filter((event) => matches(filters, event));
  }
}

/** The walk that has the next entry of all; each that has none reads on before. */
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
