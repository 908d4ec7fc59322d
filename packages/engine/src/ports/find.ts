import type { StoredObject } from "./ports.ts";

/** Where the next page of a find begins: opaque, given by the store. */
export type FindCursor = string;

/** Which records a store walks through. The engine filters what comes back; `term` narrows the walk. */
export interface FindQuery {
  /** An index term as `indexTerms` makes it; absent = every object of the instance. */
  readonly term?: string;
  /** Live objects, destroyed objects, or both. */
  readonly live: boolean;
  readonly destroyed: boolean;
  readonly limit: number;
  readonly after?: FindCursor;
}

export interface FindPage {
  /** Newest first by creation counter. May be fewer than `limit` although more follow. */
  readonly objects: readonly StoredObject[];
  /** Absent when nothing follows. */
  readonly next?: FindCursor;
}
