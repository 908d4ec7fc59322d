import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { Semaphore } from "./semaphore.ts";

test("few run at once, owners take turns, and each owner's work runs in order", async () => {
  const semaphore = new Semaphore(2);
  const begun: string[] = [];
  let running = 0;
  let most = 0;
  const run = (owner: string, name: string) =>
    semaphore.run(
      async () => {
        begun.push(name);
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        return name;
      },
      { owner },
    );
  const all = [
    ...[1, 2, 3, 4, 5].map((at) => run("hog", `hog ${at}`)),
    ...[1, 2].map((at) => run("other", `other ${at}`)),
    run("third", "third 1"),
  ];
  expect(await Promise.all(all)).toHaveLength(8);
  expect(most).toBe(2);
  expect(begun).toEqual([
    ...["hog 1", "hog 2"],
    ...["hog 3", "other 1", "third 1"],
    ...["hog 4", "other 2"],
    "hog 5",
  ]);
});

test("no more run at a time than allowed, and they run in the order in which they came", async () => {
  const semaphore = new Semaphore(3);
  const order: number[] = [];
  let [now, most] = [0, 0];
  await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      semaphore.run(async () => {
        order.push(at);
        now += 1;
        most = Math.max(most, now);
        await sleep(1);
        now -= 1;
      }),
    ),
  );
  expect(most).toBe(3);
  expect(order).toEqual(Array.from({ length: 20 }, (_, at) => at));
});

test("a failure passes the permit to the next", async () => {
  const semaphore = new Semaphore(1);
  const failed = semaphore.run(() => Promise.reject(new Error("no")));
  const next = semaphore.run(async () => "yes");
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
  expect(await semaphore.run(async () => "again", { owner: "b" })).toBe("again");
});

describe("a signal", () => {
  test("ends a wait, and no permit is lost", async () => {
    const semaphore = new Semaphore(1);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = semaphore.run(() => held);
    const givesUp = new AbortController();
    const second = semaphore.run(async () => "second", { signal: givesUp.signal });
    const third = semaphore.run(async () => "third");
    expect(semaphore.waiting()).toBe(2);
    givesUp.abort(new Error("too late"));
    await expect(second).rejects.toThrow("too late");
    expect(semaphore.waiting()).toBe(1);
    release();
    await first;
    expect(await third).toBe("third");
    expect(await semaphore.run(async () => "fourth")).toBe("fourth");
  });

  test("that comes before work begins refuses it, and no permit is lost", async () => {
    const semaphore = new Semaphore(1);
    const over = AbortSignal.abort(new Error("over"));
    await expect(semaphore.run(async () => "done", { signal: over })).rejects.toThrow("over");
    await semaphore.acquire();
    const late = new AbortController();
    const waits = semaphore.run(async () => "done", { signal: late.signal });
    semaphore.release();
    late.abort(new Error("late"));
    await expect(waits).rejects.toThrow("late");
    expect(semaphore.tryAcquire()).toBe(true);
    expect(semaphore.tryAcquire()).toBe(false);
  });
});
