import { expect, test } from "vitest";
import { Shares } from "./shares.ts";

test("one owner gets half of the places, and an owner without a place gets one while any is free", () => {
  const shares = new Shares(16);
  const taken = (owner: string): number => {
    let count = 0;
    while (shares.take(owner) !== undefined) count += 1;
    return count;
  };
  expect(["a", "b", "c", "d", "e", "f"].map(taken)).toEqual([8, 4, 2, 1, 1, 0]);
});

test("a place that is released twice is freed once", () => {
  const shares = new Shares(2);
  const give = shares.take("a");
  expect(shares.take("a")).toBeUndefined();
  give?.();
  give?.();
  expect(shares.take("a")).toBeDefined();
  expect(shares.take("a")).toBeUndefined();
  expect(shares.take("b")).toBeDefined();
});
