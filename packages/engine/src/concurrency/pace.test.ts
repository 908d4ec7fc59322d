import { expect, test } from "vitest";
import type { Clock } from "../base/clock.ts";
import { aesKey } from "../testing/test-attributes.ts";
import { type TestItem, testEngine } from "../testing/test-engine.ts";
import { Pace, RoundRobin } from "./pace.ts";

/** A clock that advances by `stepMs` at each reading. */
function readingClock(stepMs: number): Clock {
  let ms = 0;
  return { wallMs: () => 1_780_000_000_000 + ms, monotonicMs: () => (ms += stepMs) };
}

const creates = (count: number): readonly TestItem[] =>
  Array.from({ length: count }, () => ["Create", aesKey()] as const);
const everything = { live: true, destroyed: true, limit: 100 };

test("a batch with Stop ends in time, at the item that came too late", async () => {
  const engine = await testEngine({ clock: readingClock(1000) });
  const { items } = await engine.send("1.4", creates(40));
  const made = items.slice(0, -1);
  expect(items.at(-1)?.reason).toBe("GeneralFailure");
  expect(made.every(({ status }) => status === "Success")).toBe(true);
  expect((await engine.store.find("i", everything)).objects).toHaveLength(made.length);
});

test("a batch with Continue ends in time: all items that came too late are refused", async () => {
  const engine = await testEngine({ clock: readingClock(1000) });
  const { items } = await engine.send("2.1", creates(40), {
    batchErrorContinuationOption: "Continue",
  });
  const made = (await engine.store.find("i", everything)).objects.length;
  expect(made).toBeLessThan(40);
  expect(items.map(({ reason }) => reason)).toEqual(
    items.map((_, at) => (at < made ? undefined : "ServerLimitExceeded")),
  );
});

test("an Undo batch that takes too long does nothing", async () => {
  const engine = await testEngine({ clock: readingClock(1000) });
  const { items } = await engine.send("2.1", creates(40), { batchErrorContinuationOption: "Undo" });
  expect(items.at(-1)?.reason).toBe("ServerLimitExceeded");
  expect((await engine.store.find("i", everything)).objects).toEqual([]);
});

test("a search ends in time", async () => {
  const engine = await testEngine({ clock: readingClock(31_000) });
  expect(await engine.reason("2.1", "Locate", {})).toBe("ServerLimitExceeded");
});

test("others get their turn during a batch that waits for nothing", async () => {
  const engine = await testEngine({ clock: readingClock(6) });
  const answered = engine.send("2.1", creates(40), { batchErrorContinuationOption: "Undo" });
  let turns = 0;
  let ended = false;
  void answered.finally(() => {
    ended = true;
  });
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  expect((await answered).items.map(({ status }) => status)).toEqual(
    Array.from({ length: 40 }, () => "Success"),
  );
  expect(turns).toBeGreaterThan(20);
});

test("each turn of the event loop continues one of many long-running messages, and instances take turns", async () => {
  const roundRobin = new RoundRobin();
  const order: string[] = [];
  const perTurn: number[] = [];
  const work = async (instance: string) => {
    for (let slice = 0; slice < 3; slice++) {
      await roundRobin.turn(instance);
      order.push(instance);
    }
  };
  const done = Promise.all([...["hog", "hog", "hog", "hog"], "other"].map(work));
  while (order.length < 15) {
    const before = order.length;
    await new Promise((resolve) => setImmediate(resolve));
    perTurn.push(order.length - before);
  }
  await done;
  expect(Math.max(...perTurn)).toBe(1);
  expect(order.indexOf("other")).toBeLessThan(2);
  expect(order.lastIndexOf("other")).toBeLessThan(7);
});

test("a long-running message takes the turns of its own instance", async () => {
  const roundRobin = new RoundRobin();
  const order: string[] = [];
  const work = async (instance: string) => {
    const pace = new Pace(readingClock(11), roundRobin, instance);
    for (let slice = 0; slice < 3; slice++) {
      await pace.next();
      order.push(instance);
    }
  };
  await Promise.all(["hog", "hog", "hog", "hog", "other"].map(work));
  expect(order.lastIndexOf("other")).toBeLessThan(7);
});
