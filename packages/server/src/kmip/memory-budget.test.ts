import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryBudget, type Waiter } from "./memory-budget.ts";

const called: string[] = [];

function waiter(name: string): Waiter {
  return {
    granted: (bytes) => called.push(`${name} ${bytes}`),
    proceed: () => called.push(name),
  };
}

function calls(): readonly string[] {
  return called.splice(0);
}

test("requests wait for all memory in use, responses only for that of other responses", () => {
  const budget = new MemoryBudget(100);
  const reserve = (instance: string, bytes: number) =>
    budget.reserve(waiter(instance), instance, bytes);
  expect(reserve("i", 60)).toBe(true);
  expect(reserve("j", 50)).toBe(false);
  budget.releaseRequest("i", 60);
  expect(calls()).toEqual(["j 50"]);
  expect(reserve("k", 50)).toBe(true);
  expect(budget.answersFull).toBe(false);
  budget.takeAnswer(100);
  expect(budget.answersFull).toBe(true);
  budget.wait(waiter("answers"));
  budget.releaseRequest("j", 50);
  budget.releaseRequest("k", 50);
  expect(calls()).toEqual([]);
  budget.releaseAnswer(1);
  expect(calls()).toEqual(["answers"]);
  expect(reserve("i", 500)).toBe(true);
});

test("an instance takes half of the memory, or all of it with one request", () => {
  const budget = new MemoryBudget(100);
  expect(budget.reserve(waiter("one"), "i", 30)).toBe(true);
  expect(budget.reserve(waiter("two"), "i", 30)).toBe(false);
  expect(budget.reserve(waiter("other"), "j", 60)).toBe(true);
  budget.releaseRequest("i", 30);
  expect(calls()).toEqual(["two 30"]);
});

test("those that wait get memory in their order, and a smaller request does not pass a larger one", () => {
  const budget = new MemoryBudget(100);
  expect(budget.reserve(waiter("own"), "i", 50)).toBe(true);
  expect(budget.reserve(waiter("share"), "i", 10)).toBe(false);
  expect(budget.reserve(waiter("large"), "j", 60)).toBe(false);
  expect(budget.reserve(waiter("small"), "k", 10)).toBe(false);
  const gone = waiter("gone");
  expect(budget.reserve(gone, "l", 10)).toBe(false);
  budget.forget(gone);
  budget.releaseRequest("i", 20);
  expect(calls()).toEqual(["share 10", "large 60"]);
  budget.releaseRequest("j", 60);
  expect(calls()).toEqual(["small 10"]);
});

test("the next ones have their turn when one that waits leaves", () => {
  const budget = new MemoryBudget(100);
  const large = waiter("large");
  expect(budget.reserve(waiter("own"), "i", 50)).toBe(true);
  expect(budget.reserve(large, "j", 60)).toBe(false);
  expect(budget.reserve(waiter("small"), "k", 10)).toBe(false);
  budget.forget(large);
  expect(calls()).toEqual(["small 10"]);
});

test("one that waits for less unsent responses is called once", () => {
  const budget = new MemoryBudget(100);
  const again: Waiter = {
    granted: () => undefined,
    proceed: () => {
      called.push("again");
      budget.wait(again);
    },
  };
  const gone = waiter("gone");
  budget.takeAnswer(110);
  budget.wait(again);
  budget.wait(gone);
  budget.forget(gone);
  budget.releaseAnswer(5);
  expect(calls()).toEqual([]);
  budget.releaseAnswer(10);
  budget.releaseRequest("i", 0);
  expect(calls()).toEqual(["again"]);
});

test("reservations never go over the bound together, and nobody waits while there is room (seed 3)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom("i", "j", "k"), fc.integer({ min: -70, max: 70 }))),
      (steps) => {
        const budget = new MemoryBudget(150);
        const taken: [string, number][] = [];
        let waiting = 0;
        for (const [instance, bytes] of steps) {
          if (bytes > 0) {
            const granted = () => {
              waiting -= 1;
              taken.push([instance, bytes]);
            };
            if (budget.reserve({ granted, proceed: granted }, instance, bytes)) {
              taken.push([instance, bytes]);
            } else {
              waiting += 1;
            }
          } else {
            const [first] = taken.splice(0, 1);
            if (first !== undefined) budget.releaseRequest(...first);
          }
          const sum = taken.reduce((total, [, one]) => total + one, 0);
          expect(budget.usedBytes).toBe(sum);
          expect(sum).toBeLessThanOrEqual(150);
          if (sum === 0) expect(waiting).toBe(0);
        }
      },
    ),
    { seed: 3 },
  );
});
