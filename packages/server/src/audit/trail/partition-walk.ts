import type { AuditEntry, AuditLog } from "@holdfast/engine";
import type { EventOrder } from "./event-cursor.ts";
import type { EventFilters } from "./event-filters.ts";
import { timeOfEntry } from "./read-entry.ts";

/**
 * How far beyond a requested time the walk looks. Entries are in order of their numbers, but only
 * roughly in order of time: clocks of nodes differ, and the events of a long request come late.
 */
export const slackMs = 60_000;

/** Where a walk begins, and where it may end. */
export interface WalkOptions {
  readonly partition: number;
  readonly order: EventOrder;
  /** The number just before the first one to read, in the direction of the walk. */
  readonly position: number;
  readonly filters: Pick<EventFilters, "fromMs" | "toMs">;
}

const chunkMax = 256;
const chunkMin = 8;

/** Goes through one partition's entries in one direction, a few at a time. */
export class PartitionWalk {
  readonly partition: number;
  readonly #log: Pick<AuditLog, "entries">;
  readonly #options: WalkOptions;
  #waiting: readonly AuditEntry[] = [];
  #at = 0;
  #chunk = 0;
  /** The number of the last entry that was taken. */
  position: number;
  /** The next entry's time. */
  timeMs = 0;
  /** Nothing of interest follows. */
  over = false;

  constructor(log: Pick<AuditLog, "entries">, options: WalkOptions) {
    this.#log = log;
    this.#options = options;
    this.partition = options.partition;
    this.position = options.position;
  }

  /** Whether `fill` would read. */
  get isHungry(): boolean {
    return !this.over && this.#at >= this.#waiting.length;
  }

  /** Reads entries if none wait: first by the limit and the number of walks, then twice as many. */
  async fill(walks: number, limit: number): Promise<void> {
    if (!this.isHungry) return;
    const first = Math.max(chunkMin, Math.ceil(limit / walks));
    this.#chunk = Math.min(chunkMax, this.#chunk === 0 ? first : this.#chunk * 2);
    const { order } = this.#options;
    const from = order === "newest" ? { before: this.position } : { after: this.position };
    const range = { from, limit: this.#chunk, covered: false };
    this.#waiting = await this.#log.entries(this.partition, range);
    this.#at = 0;
    if (this.#waiting.length === 0) this.over = true;
    this.#look();
  }

  /** The next entry. */
  peek(): AuditEntry | undefined {
    return this.#waiting[this.#at];
  }

  /** Moves past the next entry. */
  take(): void {
    this.position = this.peek()?.number ?? this.position;
    this.#at += 1;
    this.#look();
  }

  #look(): void {
    const next = this.peek();
    if (next === undefined) return;
    this.timeMs = timeOfEntry(next.bytes);
    const { order, filters } = this.#options;
    const { fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY } = filters;
    const beyond =
      order === "newest" ? this.timeMs < fromMs - slackMs : this.timeMs > toMs + slackMs;
    if (beyond) this.over = true;
  }
}
