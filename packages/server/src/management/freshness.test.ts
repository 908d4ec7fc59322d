import { expect, test } from "vitest";
import { Freshness } from "./freshness.ts";

test("a view that falls behind while a store serves must not be used", () => {
  const freshness = new Freshness();
  const look = (nowMs: number, serves: boolean, freshAtMs?: number) =>
    freshness.look({ nowMs, serves, freshAtMs });
  expect(look(0, false)).toBe(true);
  expect(look(1_000, true)).toBe(true);
  expect(look(11_000, true)).toBe(true);
  expect(look(11_001, true)).toBe(false);
  expect(look(12_000, true, 11_500)).toBe(true);
  expect(look(21_501, true, 11_500)).toBe(false);
  // An outage of all stores: nothing is answered, and the time does not count.
  expect(look(30_000, false, 11_500)).toBe(true);
  expect(look(99_000, false, 11_500)).toBe(true);
  expect(look(100_000, true, 11_500)).toBe(true);
  expect(look(110_001, true, 11_500)).toBe(false);
  expect(look(110_001, true, 110_000)).toBe(true);
});
