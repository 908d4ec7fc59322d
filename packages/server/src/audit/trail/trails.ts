import { setImmediate as turn } from "node:timers/promises";
import { ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import type { CadfEvent, CadfSettings } from "../cadf.ts";
import { cursorAfter, type EventOrder, stale } from "./event-cursor.ts";
import type { EventFilters } from "./event-filters.ts";
import { timeOfEntry } from "./read-entry.ts";
import { entriesAtOnce, eventsOf, type Trail, type TrailPage } from "./trail.ts";

/** A region whose events are not in an answer, and why. */
interface MissingRegion {
  readonly region: string;
  readonly reason: string;
}

/** A page of all regions' events. It may be short, or empty, and have a `next`. */
export interface EventPage {
  readonly events: readonly CadfEvent[];
  readonly next?: string;
  readonly missing: readonly MissingRegion[];
}

/** Which page of which regions' events. */
export interface EventWish {
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** `newest` unless given. */
  readonly order?: EventOrder | undefined;
  /** One region only. */
  readonly region?: string | undefined;
}

/** Marks a region in a cursor that could not be read: it stays out, to keep the list's order. */
const left = "-";
const beginAgain = "it could not be read on an earlier page; begin the list again for its events";

/** Entries of one region that wait to be merged. */
interface Waiting {
  readonly trail: Trail;
  readonly page: TrailPage;
  taken: number;
}

/** A page of these trails' events, by time; rejects with `storeUnavailable` if none can be read. */
export async function queryTrails(
  trails: readonly Trail[],
  filters: EventFilters,
  wish: EventWish,
  cadf: CadfSettings,
): Promise<EventPage> {
  const { order = "newest", limit, region } = wish;
  const cursors = wish.cursor === undefined ? undefined : readCursors(wish.cursor);
  const missing: MissingRegion[] = [];
  const asked = trails.filter((trail) => isAsked(trail, cursors, region));
  if (cursors !== undefined && asked.length < cursors.size) throw stale();
  const read = asked.map(async (trail): Promise<readonly Waiting[]> => {
    const cursor = cursors?.get(trail.region);
    try {
      if (cursor === left) throw new ManagementError("peerUnreachable", beginAgain);
      return [{ trail, page: await trail.page(filters, { limit, order, cursor }), taken: 0 }];
    } catch (error) {
      const { region } = trail;
      if (cursor !== undefined && isRefused(error)) throw stale();
      const reason = reasonOf(error)
        .replace(`region ${region}: `, "")
        .replace(`region ${region} `, "it ");
      missing.push({ region, reason });
      return [];
    }
  });
  const all = (await Promise.all(read)).flat();
  if (all.length === 0) throw unreadable(missing);
  const events = await merged(all, filters, { order, limit }, cadf);
  const places = all.flatMap((one) => placeOf(one));
  if (places.length === 0) return { events, missing };
  const lost = missing.map((one) => `${one.region}.${left}`);
  return { events, missing, next: [...places, ...lost].join(",") };
}

function isAsked(
  trail: Trail,
  cursors: ReadonlyMap<string, string> | undefined,
  region: string | undefined,
): boolean {
  if (region !== undefined && trail.region !== region) return false;
  return cursors === undefined || cursors.has(trail.region);
}

/** Takes entries by time until the page is full, or a region's next entries are not known yet. */
async function merged(
  all: readonly Waiting[],
  filters: EventFilters,
  { order, limit }: { readonly order: EventOrder; readonly limit: number },
  cadf: CadfSettings,
): Promise<readonly CadfEvent[]> {
  const events: CadfEvent[] = [];
  for (let count = 1; events.length < limit; count += 1) {
    if (count % entriesAtOnce === 0) await turn();
    const one = nextOf(all, order);
    const entry = one?.page.entries[one.taken];
    if (one === undefined || entry === undefined) break;
    const { region } = one.trail;
    const found = eventsOf(one.page.storeId, entry, filters, { ...cadf, region });
    // Pending and outcome stay together, unless there is room for one only.
    if (events.length > 0 && events.length + found.length > limit) break;
    one.taken += 1;
    events.push(...(order === "newest" ? found.toReversed() : found));
  }
  return events;
}

/** The region that has the next entry, which may be after its page. */
function nextOf(all: readonly Waiting[], order: EventOrder): Waiting | undefined {
  let best: { readonly one: Waiting; readonly timeMs: number } | undefined;
  for (const one of all) {
    const timeMs = timeOfNext(one);
    if (timeMs === undefined) continue;
    const ahead =
      best === undefined || (order === "newest" ? timeMs > best.timeMs : timeMs < best.timeMs);
    if (ahead) best = { one, timeMs };
  }
  return best?.one;
}

function timeOfNext({ page, taken }: Waiting): number | undefined {
  const entry = page.entries[taken];
  return entry === undefined ? page.next?.timeMs : timeOfEntry(entry.bytes);
}

/** A region's part of the cursor; empty if nothing follows. */
function placeOf({ trail, page, taken }: Waiting): readonly string[] {
  const { entries, start, next } = page;
  if (taken < entries.length) {
    return [`${trail.region}.${cursorAfter(start, entries.slice(0, taken))}`];
  }
  return next === undefined ? [] : [`${trail.region}.${next.cursor}`];
}

function readCursors(cursor: string): ReadonlyMap<string, string> {
  const parts = cursor.split(",").map((part) => {
    const at = part.lastIndexOf(".");
    if (at < 1 || at === part.length - 1) throw stale();
    return [part.slice(0, at), part.slice(at + 1)] as const;
  });
  return new Map(parts);
}

function isRefused(error: unknown): boolean {
  return error instanceof ManagementError && error.code === "invalid";
}

/** Why a trail cannot be read; other errors are thrown again. */
export function reasonOf(error: unknown): string {
  if (error instanceof StoreUnavailable) return "its store cannot be read now; try again";
  if (error instanceof ManagementError && error.code !== "invalid") return error.message;
  throw error;
}

function unreadable(missing: readonly MissingRegion[]): ManagementError {
  const reasons = missing.map(({ region, reason }) => `region ${region}: ${reason}`);
  return new ManagementError("storeUnavailable", `no events can be read: ${reasons.join("; ")}`);
}
