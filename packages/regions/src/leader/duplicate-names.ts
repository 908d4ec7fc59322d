import {
  indexTerms,
  type ManagedObject,
  type Observer,
  type OwnStore,
  partitionCount,
} from "@holdfast/engine";
import { failureIn, isOfOneRecord } from "../ports/waiting.ts";
import { OwnFeed } from "./catch-up/own-feed.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";

export interface DuplicateNamesOptions {
  readonly own: OwnStore;
  readonly observe: Observer;
}

interface Term {
  readonly instance: string;
  readonly term: string;
}

const everyMs = 1_000;
const recordsPerRun = 1_000;
/** Checking one name costs a script; at this rate clients do not notice it. */
const looksPerRun = 100;
const waitingMax = 50_000;
/** Known duplicates are checked again this often, since a Name may have been deleted. */
const runsPerRecheck = 60;

/**
 * Counts Names that two live objects have. Within a region that cannot happen; but both regions may give the same Name at the
 * same time, and a join leaves both, of which Locate answers the newer first.
 */
export class DuplicateNames implements Duty {
  readonly name = "duplicate-names";
  readonly everyMs = everyMs;
  readonly #options: DuplicateNamesOptions;
  readonly #feed: OwnFeed;
  readonly #waiting = new Map<string, Term>();
  readonly #duplicates = new Map<string, Term>();
  #reported: number | undefined;
  #runs = 0;

  constructor(options: DuplicateNamesOptions) {
    this.#options = options;
    const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);
    this.#feed = new OwnFeed(options.own, partitions);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    // While many names wait, the feed waits too, since it brings more of them.
    const room = Math.min(recordsPerRun, waitingMax - this.#waiting.size);
    const unread = await this.#feed.follow(room, context, (object) => this.#note(object));
    this.#runs += 1;
    if (this.#runs % runsPerRecheck === 0) {
      for (const [key, term] of this.#duplicates) this.#waiting.set(key, term);
    }
    let looks = 0;
    for (const [key, term] of this.#waiting) {
      if (looks >= looksPerRun || !context.active()) break;
      looks += 1;
      const isDuplicate = await this.#isDuplicate(term);
      if (isDuplicate) this.#duplicates.set(key, term);
      if (isDuplicate === false) this.#duplicates.delete(key);
      this.#waiting.delete(key);
    }
    const left = unread + this.#waiting.size;
    this.#report(left);
    // `done` is 0, so that the duty does not run again at once: nothing waits for it.
    return { done: 0, left };
  }

  #note(object: ManagedObject): void {
    const { instance } = object;
    for (const { term, unique } of indexTerms(object)) {
      if (unique) this.#waiting.set(`${instance}\0${term}`, { instance, term });
    }
  }

  /** Undefined where a record with the name cannot be read, which is reported elsewhere. */
  async #isDuplicate({ instance, term }: Term): Promise<boolean | undefined> {
    const query = { term, live: true, destroyed: false, limit: 2 };
    const found = await this.#options.own.find(instance, query).catch((error: unknown) => {
      if (isOfOneRecord(failureIn(error))) return undefined;
      throw error;
    });
    if (found === undefined) return undefined;
    const named = found.objects.filter(({ object }) =>
      indexTerms(object).some((each) => each.unique && each.term === term),
    );
    return named.length > 1;
  }

  #report(left: number): void {
    const names = this.#duplicates.size;
    if (names === this.#reported || left > 0) return;
    this.#reported = names;
    this.#options.observe({ type: "duplicateNames", names });
  }
}
