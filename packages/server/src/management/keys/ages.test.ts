import { monthOf } from "@holdfast/engine";
import { expect, test } from "vitest";
import { ages } from "./ages.ts";

const nowMs = Date.UTC(2027, 0, 1);

test.each([
  ["2027-01-01", "below1month"],
  ["2026-12-31", "below3months"],
  ["2026-11-01", "below3months"],
  ["2026-10-31", "below12months"],
  ["2026-02-01", "below12months"],
  ["2026-01-31", "below24months"],
  ["2025-01-31", "older"],
  ["1970-01-01", "older"],
  // Made by the other region, whose clock is ahead.
  ["2027-02-01", "below1month"],
])("a key of %s is %s", (date, age) => {
  const counts = ages(new Map([[monthOf(Date.parse(date)), 2]]), nowMs);
  expect([...counts].filter(([, count]) => count > 0)).toEqual([[age, 2]]);
  expect(counts.size).toBe(5);
});
