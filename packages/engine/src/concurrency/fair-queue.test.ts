import fc from "fast-check";
import { expect, test } from "vitest";
import { FairQueue } from "./fair-queue.ts";

test("owners take turns, and each owner's entries leave in order", () => {
  const queue = new FairQueue<string, string>();
  for (const entry of ["a1", "a2", "a3", "b1", "c1", "c2"]) queue.push(entry[0] ?? "", entry);
  expect(queue.sizeOf("a")).toBe(3);
  const taken = [queue.shift(), queue.shift(), queue.shift(), queue.shift()];
  queue.push("b", "b2");
  expect([...taken, queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual([
    ...["a1", "b1", "c1"],
    ...["a2", "c2", "a3", "b2"],
    undefined,
  ]);
  expect(queue.sizeOf("a")).toBe(0);
});

test("nothing is lost, and nobody waits for more than one entry of each other (seed 12)", () => {
  const owner = fc.integer({ min: 0, max: 4 });
  fc.assert(
    fc.property(fc.array(owner, { maxLength: 60 }), (owners) => {
      const queue = new FairQueue<number, number>();
      for (const [at, one] of owners.entries()) queue.push(one, at);
      const taken: number[] = [];
      while (queue.size > 0) taken.push(queue.shift() ?? -1);
      expect(taken.toSorted((a, b) => a - b)).toEqual(owners.map((_, at) => at));
      for (const one of new Set(owners)) {
        const own = taken.filter((at) => owners[at] === one);
        expect(own).toEqual(own.toSorted((a, b) => a - b));
        expect(taken.indexOf(own[0] ?? -1)).toBeLessThan(5);
      }
    }),
    { seed: 12 },
  );
});
