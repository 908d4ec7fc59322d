import fc from "fast-check";
import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const standing = () => 1;

test("so many of an instance have a turn at once; each that waits gets one, in order", () => {
  const turns = new Turns(standing, 2);
  const begun: string[] = [];
  const ask = (name: string, instance = "i") =>
    turns.ask(instance, { start: () => begun.push(name) });
  for (const name of ["a", "b", "c", "d"]) ask(name);
  ask("other", "j");
  expect(begun).toEqual(["a", "b", "other"]);
  turns.give("i");
  expect(begun).toEqual(["a", "b", "other", "c"]);
  turns.give("i");
  turns.give("i");
  ask("e");
  expect(begun).toEqual(["a", "b", "other", "c", "d", "e"]);
});

test("one that wants its turn no longer leaves it to the next", () => {
  const turns = new Turns(standing, 1);
  const begun: string[] = [];
  turns.ask("i", { start: () => begun.push("a") });
  turns.ask("i", { start: () => turns.give("i") });
  turns.ask("i", { start: () => begun.push("b") });
  expect(begun).toEqual(["a"]);
  turns.give("i");
  expect(begun).toEqual(["a", "b"]);
});

test("a turn of the event loop begins what it has time for, the instances in turn", async () => {
  let nowMs = 1;
  const turns = new Turns(() => nowMs);
  const begun: string[] = [];
  const ask = (instance: string) =>
    turns.ask(instance, {
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

test("turns neither multiply nor get lost, whatever is asked and given (seed 8)", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
      const turns = new Turns(standing, 3);
      let running = 0;
      let asked = 0;
      let begun = 0;
      for (const begins of steps) {
        if (begins) {
          asked += 1;
          turns.ask("i", {
            start: () => {
              begun += 1;
              running += 1;
            },
          });
        } else if (running > 0) {
          running -= 1;
          turns.give("i");
        }
        expect(running).toBeLessThanOrEqual(3);
        expect(begun === asked || running === 3).toBe(true);
      }
    }),
    { seed: 8 },
  );
});
