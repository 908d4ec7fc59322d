import type { Change, CommitOutcome, ObjectStore, OwnStore } from "@holdfast/engine";
import { StoreUnavailable } from "@holdfast/engine";
import type { PeerStore } from "@holdfast/regions";
import type { Ears } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";

/**
 * A store that had no room for something that another region has is no longer level: its node says so to the store before
 * it answers, since other nodes serve from that store, too.
 */
export class FullRules {
  readonly #broken: Broken;
  readonly #region: string;
  /** How often the node has told its store that it lacks something. */
  #told = 0;
  /** Changes for which the own store had no room → how often it was told by then. */
  readonly #refused = new WeakMap<readonly Change[], number>();

  constructor(region: string, broken: Broken) {
    this.#region = region;
    this.#broken = broken;
  }

  /** Hears what the node's store is asked for its own clients, and for the other region. */
  get own(): Ears<OwnStore> {
    return {
      commit: (_instance, changes) => ({
        failed: (error) => {
          if (isFull(error)) this.#refused.set(changes, this.#told);
        },
      }),
      loseLevel: () => {
        this.#told += 1;
        return undefined;
      },
    };
  }

  /** Hears what clients of the node ask. */
  get client(): Ears<ObjectStore> {
    return {
      commit: (_instance, changes) => ({
        answered: (outcome) => this.#made(changes, outcome),
      }),
    };
  }

  /** Hears what the other region asks. */
  get service(): Ears<PeerStore> {
    return {
      push: () => {
        const before = this.#told;
        return {
          failed: (error) => {
            if (!isFull(error) || this.#told > before) return;
            this.#broken("has no room for what the other region pushes, and its store stays level");
          },
        };
      },
    };
  }

  #made(changes: readonly Change[], outcome: CommitOutcome): void {
    const before = this.#refused.get(changes);
    if (outcome.kind !== "committed" || before === undefined || this.#told > before) return;
    if (outcome.regions?.includes(this.#region) !== false) return;
    this.#broken("had a change made elsewhere for lack of room, and its store stays level");
  }
}

function isFull(error: unknown): boolean {
  return error instanceof StoreUnavailable && error.failure === "full";
}
