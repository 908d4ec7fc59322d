import type { Observer } from "../base/observe.ts";
import type { Locks } from "./locks.ts";

/** Locks within one process, for use without lock masters. */
export class MemoryLocks implements Locks {
  readonly #waitMs: number;
  readonly #observe: Observer;
  /** Resource → resolves when all that hold it or wait for it so far are done. */
  readonly #tails = new Map<string, Promise<void>>();

  constructor(options: { readonly waitMs?: number; readonly observe?: Observer } = {}) {
    this.#waitMs = options.waitMs ?? 1_000;
    this.#observe = options.observe ?? (() => undefined);
  }

  async withLock<Result>(resource: string, body: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(resource);
    const { promise: done, resolve: release } = deferred();
    const tail = before === undefined ? done : Promise.all([before, done]).then(() => undefined);
    this.#tails.set(resource, tail);
    void tail.then(() => {
      if (this.#tails.get(resource) === tail) this.#tails.delete(resource);
    });
    try {
      const acquired = before === undefined || (await this.#within(before));
      this.#observe({ type: "lock", result: acquired ? "acquired" : "contended" });
      return await body();
    } finally {
      release();
    }
  }

  /** Whether `before` was done in time. */
  async #within(before: Promise<void>): Promise<boolean> {
    const { promise: late, resolve } = deferred();
    const timer = setTimeout(resolve, this.#waitMs);
    try {
      return await Promise.race([before.then(() => true), late.then(() => false)]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
