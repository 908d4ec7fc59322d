import { StoreUnavailable } from "@holdfast/engine";
import type { Argument } from "./command-line.ts";
import type { Connection } from "./connection.ts";
import { partitionKeys } from "./keys.ts";
import { type PartitionHead, readPartitionHead } from "./record-header.ts";

/** The values of some keys of a partition, and the partition's head, of one moment. */
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

const keysMax = 512;

/**
 * Gathers reads into one MGET, so that a read costs a key and not a command: those of one turn of the event loop, and
 * while an MGET is under way all that come until it is answered.
 */
export class Reader {
  readonly connection: Connection;
  readonly #heads: readonly string[];
  readonly #observe: (durationMs: number) => void;
  readonly #now: () => number;
  #keys: Argument[] = [];
  #headAt = new Map<number, number>();
  #waiting: Waiting[] = [];
  #underWay = 0;

  constructor(
    connection: Connection,
    heads: readonly string[],
    now: () => number,
    observe: (durationMs: number) => void,
  ) {
    this.connection = connection;
    this.#heads = heads;
    this.#now = now;
    this.#observe = observe;
  }

  /** Reads keys of a partition; rejects with `StoreUnavailable`. */
  read(partition: number, keys: readonly Argument[]): Promise<Values> {
    return new Promise((resolve, reject) => {
      if (this.#keys.length === 0 && this.#underWay === 0) setImmediate(() => this.#flush());
      let head = this.#headAt.get(partition);
      if (head === undefined) {
        head = this.#keys.push(this.#heads[partition] ?? partitionKeys(partition).head) - 1;
        this.#headAt.set(partition, head);
      }
      const first = this.#keys.length;
      for (const key of keys) this.#keys.push(key);
      this.#waiting.push({ head, first, count: keys.length, resolve, reject });
      if (this.#keys.length >= keysMax) this.#flush();
    });
  }

  /** How many of the keys exist, whatever their type. */
  async existing(keys: readonly Argument[]): Promise<number> {
    return Number(await this.connection.call("exists", ...keys));
  }

  #flush(): void {
    if (this.#keys.length === 0) return;
    const keys = this.#keys;
    const waiting = this.#waiting;
    this.#keys = [];
    this.#waiting = [];
    this.#headAt = new Map();
    const sent = this.#now();
    this.#underWay += 1;
    this.connection.call("mget", ...keys).then(
      (answer) => {
        this.#observe(this.#now() - sent);
        this.#answered();
        this.#settle(waiting, answer as readonly (Buffer | null)[]);
      },
      (error: unknown) => {
        this.#answered();
        for (const { reject } of waiting) reject(error);
      },
    );
  }

  /** Sends what has gathered, before the answers are looked at: Redis works meanwhile. */
  #answered(): void {
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#flush();
  }

  #settle(waiting: readonly Waiting[], answer: readonly (Buffer | null)[]): void {
    if (!Array.isArray(answer)) {
      const failure = new StoreUnavailable("corrupt", "MGET answered no list");
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
