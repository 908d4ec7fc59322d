import { type CadfEvent, type CadfSettings, renderCadf } from "../cadf.ts";
import type { EventOrder } from "./event-cursor.ts";
import { type EventFilters, matches, mayMatch } from "./event-filters.ts";
import { readEntry, timeOfEntry } from "./read-entry.ts";

/** How many entries are looked at before other work of this node gets a turn. */
export const entriesAtOnce = 16;

/** An entry of a region's audit trail, and its place. */
export interface TrailEntry {
  readonly partition: number;
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Which page to read. */
export interface PageWish {
  /** The most entries. */
  readonly limit: number;
  readonly order: EventOrder;
  readonly cursor?: string | undefined;
  /** The most bytes of all entries together; one entry is always returned. */
  readonly bytesMax?: number;
}

/** A page of entries. It may be short, or empty, and have a `next`: a page looks at a bounded number of entries. */
export interface TrailPage {
  readonly storeId: string;
  readonly entries: readonly TrailEntry[];
  /** The cursor before the first entry. */
  readonly start: string;
  /** Absent if nothing follows; `timeMs` is about when the next entry was written. */
  readonly next?: { readonly cursor: string; readonly timeMs: number };
}

/**
 * Where new entries begin: at the `after` of the previous news, at a time, or after the event that
 * a follower has. Without any of these, they begin now.
 */
export interface NewsPlace {
  readonly after?: string | undefined;
  readonly sinceMs?: number | undefined;
  readonly lastEventId?: string | undefined;
}

/** New entries. */
export interface TrailNews {
  readonly storeId: string;
  readonly entries: readonly TrailEntry[];
  /** Where the next news begin. */
  readonly after: string;
  /** More may be available at once. */
  readonly more: boolean;
  /** If `lastEventId` is of this store: from when on other regions' events may be new. */
  readonly sinceMs?: number;
}

/**
 * One region's audit trail. Both methods reject with `StoreUnavailable` or a `ManagementError` if
 * it cannot be read, and with `invalid` for a cursor of another trail.
 */
export interface Trail {
  readonly region: string;
  page(filters: EventFilters, wish: PageWish): Promise<TrailPage>;
  news(filters: EventFilters, place: NewsPlace): Promise<TrailNews>;
}

/** The events of an entry that are asked for, oldest first. */
export function eventsOf(
  storeId: string,
  { partition, number, bytes }: TrailEntry,
  filters: EventFilters,
  cadf: CadfSettings,
): readonly CadfEvent[] {
  const content = readEntry(bytes);
  if (!mayMatch(filters, content.instance, timeOfEntry(bytes))) return [];
  const place = { storeId, partition, number };
  return renderCadf(content, place, cadf).filter((event) => matches(filters, event));
}
