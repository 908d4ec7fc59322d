import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryBudget } from "./memory-budget.ts";

test("requests wait for all memory in use, responses only for that of other responses", () => {
  const budget = new MemoryBudget(100);
  expect(budget.reserve(60)).toBe(true);
  expect(budget.reserve(50)).toBe(false);
  expect(budget.reserve(40)).toBe(true);
  expect(budget.answersFull).toBe(false);
  budget.takeAnswer(100);
  expect(budget.answersFull).toBe(true);
  budget.release(100, 0);
  expect(budget.reserve(500)).toBe(true);
});

test("a waiter is called once, at the next release", () => {
  const budget = new MemoryBudget(100);
  const called: string[] = [];
  const again = {
    proceed: () => {
      called.push("again");
      budget.wait(again);
    },
  };
  const gone = { proceed: () => called.push("gone") };
  budget.takeRequest(10);
  budget.wait(again);
  budget.wait(gone);
  budget.forget(gone);
  budget.release(0, 0);
  expect(called).toEqual([]);
  budget.release(5, 0);
  budget.release(5, 0);
  expect(called).toEqual(["again", "again"]);
});

test("reservations never go over the bound together (seed 3)", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -100, max: 100 })), (steps) => {
      const budget = new MemoryBudget(150);
      const taken: number[] = [];
      for (const step of steps) {
        if (step > 0 && budget.reserve(step)) taken.push(step);
        else budget.release(taken.shift() ?? 0, 0);
        const sum = taken.reduce((total, one) => total + one, 0);
        expect(budget.usedBytes).toBe(sum);
        expect(sum).toBeLessThanOrEqual(150);
      }
    }),
    { seed: 3 },
  );
});
