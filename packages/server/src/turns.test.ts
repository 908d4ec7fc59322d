import fc from "fast-check";
import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("no more than so many have a turn, and each that waits gets one, in order", () => {
  const turns = new Turns(2);
  const called: string[] = [];
  const client = (name: string, wants = true) => {
    const waiter = {
      proceed: () => {
        if (wants && turns.take(waiter)) called.push(name);
      },
    };
    return waiter;
  };
  const [a, b, c, gone, idle, d] = [
    client("a"),
    client("b"),
    client("c"),
    client("gone"),
    client("idle", false),
    client("d"),
  ];
  expect([a, b, c, gone, idle, d].map((one) => turns.take(one))).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
  turns.forget(gone);
  turns.give();
  expect(called).toEqual(["c"]);
  // Whoever no longer wants its turn leaves it to the next.
  turns.give();
  expect(called).toEqual(["c", "d"]);
  turns.give();
  turns.give();
  expect([a, b, c].map((one) => turns.take(one))).toEqual([true, true, false]);
});

test("whatever is taken and given, turns neither multiply nor get lost (seed 8)", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
      const turns = new Turns(3);
      let running = 0;
      let waiting = 0;
      for (const begins of steps) {
        const waiter = {
          proceed: () => {
            if (!turns.take(waiter)) return;
            waiting -= 1;
            running += 1;
          },
        };
        if (!begins && running > 0) {
          running -= 1;
          turns.give();
        } else if (turns.take(waiter)) running += 1;
        else waiting += 1;
        expect(running).toBeLessThanOrEqual(3);
        expect(waiting === 0 || running === 3).toBe(true);
      }
    }),
    { seed: 8 },
  );
});
