import { StoreUnavailable } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import type { Connection } from "../connection/connection.ts";
import { partitionKeys } from "../connection/keys.ts";
import { type PartitionHead, readPartitionHead } from "../connection/record-header.ts";
import type { StoreTimers } from "../connection/timers.ts";

/** The values of some keys of a partition, and the partition's head, all read at one moment. */
export interface Values {
  readonly head: PartitionHead | undefined;
  readonly values: readonly (Buffer | null)[];
}

interface Waiting {
  readonly head: number;
  readonly first: number;
  readonly count: number;
  readonly resolve: (values: Values) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Most keys in one MGET: with as many large records it takes a second, and all other commands wait
 * behind it.
 */
const keysMax = 64;

/** Reads that go into one MGET. */
class Gathering {
  readonly keys: Argument[] = [];
  readonly waiting: Waiting[] = [];
  readonly #headAt = new Map<number, number>();

  /** The index of a partition's head, which is read once. */
  headAt(partition: number, name: string): number {
    const known = this.#headAt.get(partition);
    if (known !== undefined) return known;
    const at = this.keys.push(name) - 1;
    this.#headAt.set(partition, at);
    return at;
  }
}

/**
 * Collects reads into one MGET, so that a read costs a key and not a command. It takes the reads of
 * one turn of the event loop or, while another MGET is under way, those that come until that one is
 * answered.
 */
export class Reader {
  readonly connection: Connection;
  readonly #heads: readonly string[];
  readonly #observe: (durationMs: number) => void;
  readonly #now: () => number;
  readonly #timers: Pick<StoreTimers, "soon">;
  /** What is still to be sent, one after another. */
  readonly #gatherings: Gathering[] = [];
  #underWay = false;

  constructor(
    connection: Connection,
    heads: readonly string[],
    now: () => number,
    observe: (durationMs: number) => void,
    timers: Pick<StoreTimers, "soon">,
  ) {
    this.connection = connection;
    this.#heads = heads;
    this.#now = now;
    this.#observe = observe;
    this.#timers = timers;
  }

  /** Reads keys of a partition; rejects with `StoreUnavailable`. */
  read(partition: number, keys: readonly Argument[]): Promise<Values> {
    return new Promise((resolve, reject) => {
      if (this.#gatherings.length === 0 && !this.#underWay) this.#timers.soon(() => this.#flush());
      const gathering = this.#open();
      const name = this.#heads[partition] ?? partitionKeys(partition).head;
      const head = gathering.headAt(partition, name);
      const first = gathering.keys.length;
      for (const key of keys) gathering.keys.push(key);
      gathering.waiting.push({ head, first, count: keys.length, resolve, reject });
    });
  }

  /** How many of the keys exist, of any type. */
  async existing(keys: readonly Argument[]): Promise<number> {
    return Number(await this.connection.call("exists", ...keys));
  }

  /** The gathering that still takes keys. */
  #open(): Gathering {
    const last = this.#gatherings.at(-1);
    if (last !== undefined && last.keys.length < keysMax) return last;
    const next = new Gathering();
    this.#gatherings.push(next);
    return next;
  }

  #flush(): void {
    const gathering = this.#gatherings.shift();
    this.#underWay = gathering !== undefined;
    if (gathering === undefined) return;
    const { keys, waiting } = gathering;
    const sent = this.#now();
    this.connection.call("mget", ...keys).then(
      (answer) => {
        this.#observe(this.#now() - sent);
        // Sent before the answers are handled, so that Redis works meanwhile.
        this.#flush();
        this.#settle(waiting, answer as readonly (Buffer | null)[]);
      },
      (error: unknown) => {
        this.#flush();
        for (const { reject } of waiting) reject(error);
      },
    );
  }

  #settle(waiting: readonly Waiting[], answer: readonly (Buffer | null)[]): void {
    if (!Array.isArray(answer)) {
      const failure = new StoreUnavailable("badReply", "MGET did not answer a list");
      for (const { reject } of waiting) reject(failure);
      return;
    }
    const heads = new Map<number, PartitionHead | undefined>();
    for (const { head: at, first, count, resolve } of waiting) {
      if (!heads.has(at)) heads.set(at, readPartitionHead(answer[at]));
      resolve({ head: heads.get(at), values: answer.slice(first, first + count) });
    }
  }
}
