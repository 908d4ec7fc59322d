import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Locks } from "../../concurrency/locks.ts";

/** Locks to test. */
export interface LocksSubject {
  /** Holders and contenders have longer than a busy machine needs. */
  readonly subject: Locks;
  /** How long a contender waits there, in milliseconds. */
  readonly waitMs: number;
  /** The same kind of locks, where a contender waits for a short time. */
  readonly hasty: Locks;
  close(): Promise<void>;
}

/** What every `Locks` does. The subject is opened once; each test uses resources of its own. */
export function locksConformance(name: string, open: () => Promise<LocksSubject>): void {
  describe(`${name} as locks`, () => {
    let opened: LocksSubject;
    let locks: Locks;
    beforeAll(async () => {
      opened = await open();
      locks = opened.subject;
    });
    afterAll(async () => {
      await opened?.close();
    });

    test("a resource has one holder at a time, and every contender gets it in the end", async () => {
      const resource = randomUUID();
      let inside = 0;
      let most = 0;
      const done = await Promise.all(
        [0, 1, 2, 3].map((contender) =>
          locks.withLock(resource, async () => {
            inside += 1;
            most = Math.max(most, inside);
            await sleep(20);
            inside -= 1;
            return contender;
          }),
        ),
      );
      expect(done).toEqual([0, 1, 2, 3]);
      expect(most).toBe(1);
    });

    /** Expects that nobody waited until the end for a lock. */
    const expectFree = (startedMs: number) =>
      expect(performance.now() - startedMs).toBeLessThan(opened.waitMs);

    test("resources do not block each other", async () => {
      const [outer, inner] = [randomUUID(), randomUUID()];
      const startedMs = performance.now();
      const answer = await locks.withLock(outer, () => locks.withLock(inner, async () => "both"));
      expect(answer).toBe("both");
      expectFree(startedMs);
    });

    test("a body's error passes through and releases the lock", async () => {
      const resource = randomUUID();
      const fault = new Error("the body's own");
      await expect(
        locks.withLock(resource, async () => {
          throw fault;
        }),
      ).rejects.toBe(fault);
      const startedMs = performance.now();
      expect(await locks.withLock(resource, async () => "next")).toBe("next");
      expectFree(startedMs);
    });

    test("a contender waits a bounded time for a holder that does not end", async () => {
      const { hasty } = opened;
      const resource = randomUUID();
      let contend: () => void = () => undefined;
      const contended = new Promise<void>((resolve) => {
        contend = resolve;
      });
      // This deadlocks unless the contender's wait is bounded.
      const held = hasty.withLock(resource, () => contended);
      await sleep(20);
      await hasty.withLock(resource, async () => contend());
      await held;
    });
  });
}
