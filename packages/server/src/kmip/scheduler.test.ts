import fc from "fast-check";
import { expect, test } from "vitest";
import { Scheduler } from "./scheduler.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const standing = () => 1;

test("a bounded number of an instance's requests run at once; those that wait begin in order", () => {
  const scheduler = new Scheduler(standing, 2);
  const begun: string[] = [];
  const ask = (name: string, instance = "i") =>
    scheduler.enqueue(instance, { start: () => begun.push(name) });
  for (const name of ["a", "b", "c", "d"]) ask(name);
  ask("other", "j");
  expect(begun).toEqual(["a", "b", "other"]);
  scheduler.release("i");
  expect(begun).toEqual(["a", "b", "other", "c"]);
  scheduler.release("i");
  scheduler.release("i");
  ask("e");
  expect(begun).toEqual(["a", "b", "other", "c", "d", "e"]);
});

test("a request that no longer needs its turn leaves it to the next", () => {
  const scheduler = new Scheduler(standing, 1);
  const begun: string[] = [];
  scheduler.enqueue("i", { start: () => begun.push("a") });
  scheduler.enqueue("i", { start: () => scheduler.release("i") });
  scheduler.enqueue("i", { start: () => begun.push("b") });
  expect(begun).toEqual(["a"]);
  scheduler.release("i");
  expect(begun).toEqual(["a", "b"]);
});

test("a turn of the event loop begins the requests that it has time for, the instances in turn", async () => {
  let nowMs = 1;
  const scheduler = new Scheduler(() => nowMs);
  const begun: string[] = [];
  const ask = (instance: string) =>
    scheduler.enqueue(instance, {
      start: () => {
        begun.push(instance);
        nowMs += 4;
      },
    });
  for (let at = 0; at < 6; at++) ask("hog");
  ask("other");
  expect(begun).toEqual(["hog", "hog"]);
  await nextTurn();
  expect(begun).toEqual(["hog", "hog", "hog", "other"]);
  await nextTurn();
  await nextTurn();
  expect(begun).toHaveLength(7);
});

test("turns neither multiply nor get lost in any order of requests and releases (seed 8)", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
      const scheduler = new Scheduler(standing, 3);
      let running = 0;
      let asked = 0;
      let begun = 0;
      for (const begins of steps) {
        if (begins) {
          asked += 1;
          scheduler.enqueue("i", {
            start: () => {
              begun += 1;
              running += 1;
            },
          });
        } else if (running > 0) {
          running -= 1;
          scheduler.release("i");
        }
        expect(running).toBeLessThanOrEqual(3);
        expect(begun === asked || running === 3).toBe(true);
      }
    }),
    { seed: 8 },
  );
});
