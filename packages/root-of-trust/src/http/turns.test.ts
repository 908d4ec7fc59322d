import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

const never = new AbortController().signal;

test("no more at a time than allowed, in the order in which they came", async () => {
  const turns = new Turns(3);
  const order: number[] = [];
  let [now, most] = [0, 0];
  await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      turns.take(never, async () => {
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

test("who gives up leaves the queue, and nobody's turn is lost", async () => {
  const turns = new Turns(1);
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = turns.take(never, () => held);
  const givesUp = new AbortController();
  const second = turns.take(givesUp.signal, async () => "second");
  const third = turns.take(never, async () => "third");
  givesUp.abort(new Error("too late"));
  await expect(second).rejects.toThrow("too late");
  release();
  await first;
  expect(await third).toBe("third");
  expect(await turns.take(never, async () => "fourth")).toBe("fourth");
});

test("a failure gives the turn back", async () => {
  const turns = new Turns(1);
  await expect(turns.take(never, () => Promise.reject(new Error("broken")))).rejects.toThrow();
  expect(await turns.take(never, async () => "next")).toBe("next");
});
