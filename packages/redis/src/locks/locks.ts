import type { ConnectionOptions } from "node:tls";
import type { Locks, Observer } from "@holdfast/engine";
import Redlock, { type Lock } from "redlock";
import { LockMaster, runWhenFull } from "./lock-master.ts";

/** Settings of the locks. */
export interface RedisLocksOptions {
  /**
   * URLs of the lock masters, `redis://` or `rediss://`: one, three or five independent servers.
   */
  readonly urls: readonly string[];
  readonly observe: Observer;
  /** Authorities and client certificate for `rediss://`; the system's authorities unless given. */
  readonly tls?: ConnectionOptions;
  /** How long a lock lasts when its holder vanishes; longer than the worst barrier. Default 5,000. */
  readonly lockMs?: number;
  /** How long a contender waits before it continues without the lock. Default 2,000. */
  readonly waitMs?: number;
  /** How long one lock master may take. Default 50. */
  readonly commandTimeoutMs?: number;
}

const retryDelayMs = 20;
/** After this many tries it checks again whether enough lock masters are connected. */
const triesPerRound = 5;
const retryJitterMs = 15;

/**
 * Locks on redlock. They order contenders and save work. A caller that cannot get a lock continues
 * without it, since the record's tag decides.
 */
export class RedisLocks implements Locks, AsyncDisposable {
  readonly #masters: readonly LockMaster[];
  readonly #redlock: Redlock;
  readonly #observe: Observer;
  readonly #lockMs: number;
  readonly #rounds: number;
  readonly #releases = new Set<Promise<void>>();

  private constructor(options: RedisLocksOptions) {
    const { urls, tls, observe, lockMs = 5_000, waitMs = 2_000, commandTimeoutMs = 50 } = options;
    if (urls.length === 0) throw new RangeError("locks: give at least one lock master");
    this.#masters = urls.map((url) => new LockMaster(url, commandTimeoutMs, tls));
    this.#observe = observe;
    this.#lockMs = lockMs;
    this.#rounds = Math.max(1, Math.round(waitMs / (retryDelayMs * triesPerRound)));
    this.#redlock = new Redlock(this.#masters, {
      driftFactor: 0.01,
      retryCount: triesPerRound - 1,
      retryDelay: retryDelayMs,
      retryJitter: retryJitterMs,
      ...runWhenFull,
    });
    // The lock's result reports it; without a listener an error would be thrown.
    this.#redlock.on("clientError", () => undefined);
  }

  /**
   * Resolves when the lock masters are connected, or after a bounded time; it keeps trying to reach
   * the others.
   */
  static async open(options: RedisLocksOptions): Promise<RedisLocks> {
    const locks = new RedisLocks(options);
    await Promise.all(locks.#masters.map((master) => master.connected()));
    return locks;
  }

  /** See `Locks.withLock`. */
  async withLock<Result>(resource: string, body: () => Promise<Result>): Promise<Result> {
    const lock = await this.#acquire(`{lock}:${resource}`);
    try {
      return await body();
    } finally {
      if (lock !== undefined) this.#release(lock);
    }
  }

  /** Waits for releases under way and closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#releases);
    for (const master of this.#masters) master.close();
  }

  async #acquire(resource: string): Promise<Lock | undefined> {
    for (let round = 0; round < this.#rounds; round += 1) {
      if (!this.#quorum()) {
        this.#observe({ type: "lock", result: "unavailable" });
        return undefined;
      }
      const lock = await this.#redlock.lock(resource, this.#lockMs).catch(() => undefined);
      if (lock === undefined) continue;
      this.#observe({ type: "lock", result: "acquired" });
      return lock;
    }
    this.#observe({ type: "lock", result: "contended" });
    return undefined;
  }

  /** Not awaited: a lock that is not released expires by itself. */
  #release(lock: Lock): void {
    const release = lock.unlock().catch(() => undefined);
    this.#releases.add(release);
    void release.then(() => this.#releases.delete(release));
  }

  #quorum(): boolean {
    const ready = this.#masters.filter((master) => master.ready).length;
    return ready > this.#masters.length / 2;
  }
}
