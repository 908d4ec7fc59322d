import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Histogram, median, pairedRatio } from "./statistics.ts";

const seed = 20_261_125;

describe("median", () => {
  test.each<[string, number[], number | undefined]>([
    ["of nothing", [], undefined],
    ["of one", [7], 7],
    ["of an odd number, unsorted", [9, 1, 5], 5],
    ["of an even number", [10, 1, 2, 3], 2.5],
    ["of numbers, not of their texts", [100, 20, 3], 20],
  ])("is computed %s", (_name, values, expected) => {
    expect(median(values)).toBe(expected);
  });
});

describe("pairedRatio", () => {
  test.each<[string, number[], number[], number | undefined]>([
    ["round by round, not of the medians", [10, 100, 1000], [5, 100, 4000], 1],
    ["of the rounds that both have", [10, 20], [5], 2],
    ["without a round that counted nothing", [10, 30], [0, 10], 3],
    ["of nothing", [], [1], undefined],
  ])("is computed %s", (_name, ours, theirs, expected) => {
    expect(pairedRatio(ours, theirs)).toBe(expected);
  });
});

describe("histogram", () => {
  test("has no percentile when it is empty", () => {
    expect(new Histogram().percentile(0.5)).toBeUndefined();
  });

  test("gives the duration that a share does not exceed", () => {
    const histogram = new Histogram();
    for (let us = 1; us <= 1000; us++) histogram.record(us);
    for (const share of [0.01, 0.5, 0.99, 1]) {
      const at = histogram.percentile(share) ?? 0;
      expect(Math.abs(at / (share * 1000) - 1), String(share)).toBeLessThan(0.06);
    }
    expect(histogram.count).toBe(1000);
  });

  const durations = fc.array(fc.double({ min: 0.01, max: 6e7, noNaN: true }), { minLength: 1 });

  test(`has percentiles within one per cent of the sorted values (seed ${seed})`, () => {
    fc.assert(
      fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const histogram = new Histogram();
        for (const value of values) histogram.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(share * values.length)) - 1] ?? 0;
        const ratio = (histogram.percentile(share) ?? 0) / Math.max(1, exact);
        expect(ratio).toBeGreaterThan(0.99);
        expect(ratio).toBeLessThan(1.011);
      }),
      { seed },
    );
  });

  test(`counts the same when merged, through JSON too (seed ${seed})`, () => {
    fc.assert(
      fc.property(durations, durations, (first, second) => {
        const [one, other, both] = [new Histogram(), new Histogram(), new Histogram()];
        for (const value of first) one.record(value);
        for (const value of second) other.record(value);
        for (const value of [...first, ...second]) both.record(value);
        one.merge(Histogram.of(JSON.parse(JSON.stringify(other))));
        expect(one.toJSON()).toEqual(both.toJSON());
        expect(one.count).toBe(both.count);
      }),
      { seed },
    );
  });
});
