import {
  type ObjectStore,
  type OwnStore,
  type OwnStoredObject,
  recordTag,
  type StoredObject,
} from "@holdfast/engine";
import { joinKeepingSeals, type Peer } from "@holdfast/regions";
import type { Ears } from "./overheard.ts";
import type { Broken, ServingRules } from "./serving-rules.ts";

type Copies = readonly (OwnStoredObject | undefined)[];

/** What an answer to a read must be. */
export class ReadRules {
  readonly #broken: Broken;
  readonly #serving: ServingRules;
  readonly #isSplit: () => boolean;
  /** The identifiers of a read, as they were given → what the own store answered for it, and in which state of its lease. */
  readonly #own = new WeakMap<
    readonly string[],
    { readonly copies: Copies; readonly leases: number }
  >();
  /** Record → when the own store was last asked for it. */
  readonly #askedAt = new Map<string, number>();
  /** Record → when other regions have said that they lack it. */
  readonly #lackedAt = new Map<string, number[]>();
  /** How often the lease has changed. */
  #leases = 0;
  /** Numbers what happens. */
  #now = 0;

  constructor(
    own: Pick<OwnStore, "onState">,
    serving: ServingRules,
    broken: Broken,
    isSplit: () => boolean,
  ) {
    this.#serving = serving;
    this.#broken = broken;
    this.#isSplit = isSplit;
    own.onState(() => {
      this.#leases += 1;
    });
  }

  /** Hears what the own store answers. */
  get own(): Ears<OwnStore> {
    return {
      read: (_instance, ids) => {
        const leases = this.#leases;
        this.#now += 1;
        for (const id of ids) this.#askedAt.set(id, this.#now);
        return { answered: (copies) => void this.#own.set(ids, { copies, leases }) };
      },
    };
  }

  /** Hears what another region answers. */
  get peer(): Ears<Peer> {
    return {
      fetch: (_instance, ids) => ({
        answered: (copies) => {
          this.#now += 1;
          for (const [at, id] of ids.entries()) {
            if (copies[at] !== undefined) continue;
            this.#lackedAt.set(id, [...(this.#lackedAt.get(id) ?? []), this.#now]);
          }
        },
      }),
    };
  }

  /** Hears what clients of the node are answered. */
  get client(): Ears<ObjectStore> {
    return {
      read: (_instance, ids) => {
        this.#now += 1;
        const [since, state] = [this.#now, this.#serving.state];
        return {
          answered: (found) => {
            this.#requireOwn(ids, found);
            // What another region serves is asked for in another order.
            if (state !== this.#serving.state || this.#serving.from !== "local") return;
            for (const [at, id] of ids.entries()) {
              if (found[at] === undefined) this.#requireLast(id, since);
            }
          },
        };
      },
    };
  }

  /** An answer has all that the own store has just answered for the same read. */
  #requireOwn(ids: readonly string[], found: readonly (StoredObject | undefined)[]): void {
    const own = this.#own.get(ids);
    // What was read before an outage does not count after it, and each node of two stores shows its own.
    if (own === undefined || own.leases !== this.#leases || this.#isSplit()) return;
    for (const [at, copy] of own.copies.entries()) {
      if (copy === undefined || contains(found[at], copy)) continue;
      this.#broken(`answers less of ${ids[at]} than its own store has`);
    }
  }

  /** After the first "no" of another region in this read, the own store was asked once more. */
  #requireLast(id: string, since: number): void {
    const no = this.#lackedAt.get(id)?.find((at) => at > since);
    if (no === undefined || (this.#askedAt.get(id) ?? 0) > no) return;
    this.#broken(`does not find ${id}, and has not looked again after the other region`);
  }
}

function contains(found: StoredObject | undefined, copy: StoredObject): boolean {
  if (found === undefined || found.tag === copy.tag) return found !== undefined;
  const outcome = joinKeepingSeals(found.object, copy.object);
  // Copies that contradict each other are put aside.
  return outcome.kind === "conflict" || recordTag(outcome.object) === found.tag;
}
