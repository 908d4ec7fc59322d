import type { ConnectionOptions } from "node:tls";
import Redlock, { type Lock, type Options } from "redlock";
import type { ShownCertificate } from "../connection/shown-certificate.ts";
import { LockMaster, type NotedStore, runWhenFull } from "./lock-master.ts";

/** Settings of the leader's lock. */
export interface RedisLeaderLockOptions {
  /** URLs of the lock masters, as `RedisLocksOptions` says. */
  readonly urls: readonly string[];
  /** Authorities and client certificate for `rediss://`. */
  readonly tls?: ConnectionOptions;
  /** Called with the certificate of a lock master at each new connection by TLS. */
  readonly onCertificate?: (shown: ShownCertificate) => void;
  /** How long one lock master may take; a call asks them at the same time, three times at most. Default 200. */
  readonly commandTimeoutMs?: number;
  /** Processes that want the same resource contend for it. Default `leader`. */
  readonly resource?: string;
}

/**
 * How many lock masters exist and how many answer, and whether a majority of all of them holds the
 * lock.
 */
export interface LockLook {
  readonly masters: number;
  readonly answering: number;
  readonly held: boolean;
}

/** Never retries by itself: a candidate counts its time from when it asked. */
const options: Options = {
  driftFactor: 0.01,
  retryCount: 0,
  retryDelay: 0,
  retryJitter: 0,
  ...runWhenFull,
};

/**
 * The lock of a region's leader, on a majority of the lock masters. It is extended and released by its own value only, so
 * that a node that was paused takes nothing from its successor. All methods end within a bounded time and never reject.
 */
export class RedisLeaderLock implements AsyncDisposable {
  readonly #masters: readonly LockMaster[];
  readonly #redlock: Redlock;
  /**
   * redlock releases a lock that it fails to extend. This one does not: the holder continues to
   * lead until its time is over, and tries again.
   */
  readonly #extender: Redlock;
  readonly #resource: string;
  #lock: Lock | undefined;

  private constructor(given: RedisLeaderLockOptions) {
    const { urls, tls, commandTimeoutMs = 200, resource, onCertificate } = given;
    if (urls.length === 0) throw new RangeError("locks: give at least one lock master");
    this.#masters = urls.map((url) => new LockMaster(url, commandTimeoutMs, tls, onCertificate));
    this.#resource = `{lock}:${resource ?? "leader"}`;
    this.#redlock = new Redlock(this.#masters, options);
    this.#extender = new Redlock(this.#masters, { ...options, unlockScript: () => "return 0" });
    // The lock's result reports it; without a listener an error would be thrown.
    for (const redlock of [this.#redlock, this.#extender]) {
      redlock.on("clientError", () => undefined);
    }
  }

  /**
   * Resolves when the lock masters are connected, or after a bounded time; it keeps trying to reach
   * the others.
   */
  static async open(given: RedisLeaderLockOptions): Promise<RedisLeaderLock> {
    const lock = new RedisLeaderLock(given);
    await Promise.all(lock.#masters.map((master) => master.connected()));
    return lock;
  }

  /** What the lock masters say now; does not try to take the lock. */
  async look(): Promise<LockLook> {
    const held = await Promise.all(this.#masters.map((master) => master.holds(this.#resource)));
    const holding = held.filter((one) => one === true).length;
    return {
      masters: held.length,
      answering: held.filter((one) => one !== undefined).length,
      held: holding > held.length / 2,
    };
  }

  /**
   * Notes at every lock master which store a node of the region uses, and returns what the region's other nodes have noted
   * there in the last seconds; none where no lock master answers. `processId` tells nodes apart that have the same name by
   * mistake.
   */
  async noteStore(node: string, storeId: string, processId = node): Promise<readonly NotedStore[]> {
    const resource = `${this.#resource}:stores`;
    const note = { node, storeId, processId };
    const notes = this.#masters.map((master) => master.note(resource, note));
    return (await Promise.all(notes)).flat();
  }

  /**
   * Tries to take the lock for `ttlMs`, counted from when the lock masters receive it; answers
   * whether it is held.
   */
  async acquire(ttlMs: number): Promise<boolean> {
    // A node that does not lead tries twice a second: asking costs less than a lock that fails and is taken back.
    if ((await this.look()).held) return false;
    const lock = await this.#redlock.lock(this.#resource, ttlMs).catch(() => undefined);
    if (lock !== undefined) this.#lock = lock;
    return lock !== undefined;
  }

  /**
   * Tries to extend the lock to `ttlMs` from now; answers whether it did. If not, the lock ends
   * when it did before.
   */
  async extend(ttlMs: number): Promise<boolean> {
    const lock = this.#lock;
    if (lock === undefined) return false;
    const extended = await this.#extender.extend(lock, ttlMs).catch(() => undefined);
    return extended !== undefined && this.#lock === lock;
  }

  /** Releases it; where the lock masters do not answer, it expires. */
  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.unlock().catch(() => undefined);
  }

  /** Releases it and closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
    for (const master of this.#masters) master.close();
  }
}
