import { setTimeout as delay } from "node:timers/promises";
import type { CadfEvent, CadfSettings } from "../cadf.ts";
import type { EventFilters } from "./event-filters.ts";
import { eventsOf, type NewsPlace, type Trail, type TrailNews } from "./trail.ts";
import { reasonOf } from "./trails.ts";

export interface FollowDeps {
  /** This region's first. */
  readonly trails: () => readonly Trail[];
  readonly cadf: CadfSettings;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** How often new events are looked for; 500 ms unless given. */
  readonly followMs?: number;
}

/** The options of one follower. */
export interface FollowOptions {
  readonly signal: AbortSignal;
  /** The identifier of the follower's last event; without it, the stream begins with new events. */
  readonly lastEventId?: string | undefined;
}

const followEveryMs = 500;
/** How often another region is asked. */
const askEveryMs = 1_000;
/** A region that cannot be asked at the start is read from this long before it: clocks differ. */
const lateSlackMs = 10_000;
/** How far back a follower begins if its last event may be in a region that cannot be asked. */
const unknownSlackMs = 60_000;

/**
 * Events of all regions as they are written, until `signal` is aborted; those of each region's
 * partition in the order of their numbers. What a region wrote while it could not be read follows
 * when it can be read again.
 */
export async function* followTrails(
  { trails, cadf, wallMs, monotonicMs, followMs = followEveryMs }: FollowDeps,
  filters: EventFilters,
  { signal, lastEventId }: FollowOptions,
): AsyncGenerator<CadfEvent> {
  const beganMs = wallMs();
  const places = await placesOf(trails(), filters, { lastEventId, beganMs });
  const all = [...places].map(
    ([trail, place]) => new Followed(trail, place, { filters, cadf, beganMs, monotonicMs }),
  );
  const [own, ...others] = all;
  const everyMs = Math.min(askEveryMs, 2 * followMs);
  while (!signal.aborted) {
    // A region that is slow or cut off does not delay the others, unless it has more events.
    for (const other of others) {
      const asked = other.ask(everyMs);
      if (other.more) await asked;
    }
    await own?.ask(0);
    for (const one of all) yield* one.take();
    if (all.some(({ more }) => more)) continue;
    await delay(followMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Where each region's part begins. */
async function placesOf(
  trails: readonly Trail[],
  filters: EventFilters,
  { lastEventId, beganMs }: { readonly lastEventId: string | undefined; readonly beganMs: number },
): Promise<ReadonlyMap<Trail, NewsPlace>> {
  const all = (place: NewsPlace) => new Map(trails.map((trail) => [trail, place]));
  if (lastEventId === undefined) return all({});
  let begin: NewsPlace = {};
  for (const trail of trails) {
    try {
      const { sinceMs } = await trail.news(filters, { lastEventId });
      if (sinceMs !== undefined) return all({ sinceMs }).set(trail, { lastEventId });
    } catch (error) {
      reasonOf(error);
      begin = { sinceMs: beganMs - unknownSlackMs };
    }
  }
  return all(begin);
}

interface FollowedOptions {
  readonly filters: EventFilters;
  readonly cadf: CadfSettings;
  readonly beganMs: number;
  readonly monotonicMs: () => number;
}

/** One region's part of a stream. */
class Followed {
  readonly #trail: Trail;
  readonly #options: FollowedOptions;
  #place: NewsPlace;
  #asking: Promise<void> | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  #ready: TrailNews | undefined;
  #failure: unknown;
  /** More events may be available at once. */
  more = false;

  constructor(trail: Trail, place: NewsPlace, options: FollowedOptions) {
    this.#trail = trail;
    this.#place = place;
    this.#options = options;
  }

  /**
   * Asks for new events, unless that is under way, or was done less than `everyMs` ago and found
   * all. Never rejects.
   */
  async ask(everyMs: number): Promise<void> {
    const nowMs = this.#options.monotonicMs();
    const isDue = this.more || nowMs - this.#askedMs >= everyMs;
    if (this.#asking !== undefined || this.#ready !== undefined || !isDue)
      return await this.#asking;
    this.#askedMs = nowMs;
    this.#asking = this.#ask().finally(() => {
      this.#asking = undefined;
    });
    await this.#asking;
  }

  /** The events that were found; throws an unexpected error of asking. */
  *take(): Generator<CadfEvent> {
    if (this.#failure !== undefined) throw this.#failure;
    const { filters, cadf } = this.#options;
    const { region } = this.#trail;
    const ready = this.#ready;
    this.#ready = undefined;
    for (const entry of ready?.entries ?? []) {
      yield* eventsOf(ready?.storeId ?? "", entry, filters, { ...cadf, region });
    }
  }

  async #ask(): Promise<void> {
    const { filters, beganMs } = this.#options;
    try {
      const news = await this.#trail.news(filters, this.#place);
      this.#place = { after: news.after };
      this.more = news.more;
      this.#ready = news;
    } catch (error) {
      this.more = false;
      const { after, sinceMs, lastEventId } = this.#place;
      const isNow = after === undefined && sinceMs === undefined && lastEventId === undefined;
      if (isNow) this.#place = { sinceMs: beganMs - lateSlackMs };
      try {
        reasonOf(error);
      } catch (unexpected) {
        this.#failure = unexpected;
      }
    }
  }
}
