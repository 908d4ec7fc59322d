import { type OwnStore, type PeerCursor, partitionOf } from "@holdfast/engine";
import { instance } from "../client.ts";
import { changedIn } from "../look.ts";
import type { RedisGroup } from "../store/redis-group.ts";
import type { Ears } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";
import { type Has, storedIn } from "./stored.ts";

/** The partition of all records that clients of a history make. */
const partitionUsed = partitionOf(instance);

/**
 * A cursor passes no record of the other region that the own store lacks: nobody would fetch it before a comparison of
 * all records.
 */
export class CursorRules {
  readonly #broken: Broken;
  readonly #own: RedisGroup;
  readonly #other: () => RedisGroup | undefined;
  #before: PeerCursor | undefined;

  /** `other` is the other region's Redis, if its nodes use that. */
  constructor(own: RedisGroup, other: () => RedisGroup | undefined, broken: Broken) {
    this.#own = own;
    this.#other = other;
    this.#broken = broken;
  }

  /** Hears what a leader writes. */
  get ears(): Ears<OwnStore> {
    return {
      setCursor: (partition, _peer, cursor) => {
        if (partition !== partitionUsed) return undefined;
        const has = storedIn(this.#own);
        return { answered: () => this.#saved(cursor, has) };
      },
    };
  }

  #saved(cursor: PeerCursor, has: Has): void {
    const before = this.#before;
    this.#before = cursor;
    const from = before?.replicationId === cursor.replicationId ? before.number : 0;
    const primary = this.#other()?.primary;
    // Another process counts in another way.
    if (primary === undefined || !cursor.replicationId.endsWith(`-${primary.runId}`)) return;
    const passed = changedIn(primary, instance, from, cursor.number);
    const lacking = passed.find((object) => has(object) === false);
    if (lacking === undefined) return;
    const { uniqueIdentifier: id } = lacking;
    this.#broken(`has read the other region beyond ${id}, of which its store lacks a part`);
  }
}
