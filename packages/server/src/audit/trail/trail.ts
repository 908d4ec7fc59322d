import { type CadfEvent, type CadfSettings, renderCadf } from "../cadf.ts";
import type { EventOrder } from "./event-cursor.ts";
import { type EventFilters, matches, mayMatch } from "./event-filters.ts";
import { readEntry, timeOfEntry } from "./read-entry.ts";

/** Entries that are looked at before other work of this node continues. */
export const entriesAtOnce = 16;

/** An entry of a region's audit trail, and where it lies. */
export interface TrailEntry {
  readonly partition: number;
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Which page. */
export interface PageWish {
  /** Most entries. */
  readonly limit: number;
  readonly order: EventOrder;
  readonly cursor?: string | undefined;
  /** Most bytes of all entries; one entry is always answered. */
  readonly bytesMax?: number;
}

/** A page of entries. It may be short, or empty, and have a `next`: a page looks at a bounded number of entries. */
export interface TrailPage {
  readonly storeId: string;
  readonly entries: readonly TrailEntry[];
  /** The cursor before the first entry. */
  readonly start: string;
  /** Absent where nothing follows; `timeMs` is about when the next entry was written. */
  readonly next?: { readonly cursor: string; readonly timeMs: number };
}

/**
 * Where new entries begin: at the `after` of the news before, at a time, or behind the event that a follower has. With
 * none of them, now.
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
  /** More may be there at once. */
  readonly more: boolean;
  /** Where `lastEventId` is an event of this store: from when on other regions' events may be new to the follower. */
  readonly sinceMs?: number;
}

/**
 * One region's audit trail. Both methods reject with `StoreUnavailable` or a `ManagementError` where it cannot be read,
 * and with `invalid` for a cursor that is not of this trail.
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
