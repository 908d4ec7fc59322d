import fc from "fast-check";
import { expect, test } from "vitest";
import { isLegal } from "./brute-force.ts";
import { check, type Model, type Timed } from "./checker.ts";

/** A register and a flag that is only ever set. */
type Step =
  | { readonly kind: "write"; readonly value: number }
  | { readonly kind: "raise" }
  | { readonly kind: "read"; readonly value: number; readonly raised: boolean };

interface State {
  readonly value: number;
  readonly raised: boolean;
}

const register: Model<State, Step> = {
  initial: { value: 0, raised: false },
  next: (state, step) => {
    if (step.kind === "write") return [{ ...state, value: step.value }];
    if (step.kind === "raise") return [state.raised ? state : { ...state, raised: true }];
    return state.value === step.value && state.raised === step.raised ? [state] : [];
  },
  key: ({ value, raised }) => `${value} ${raised}`,
  name: (step) => JSON.stringify(step),
  needs: (step, earlier) =>
    step.kind === "read" &&
    (earlier.kind === "write" ? step.value === earlier.value : earlier.kind === "raise"),
  areOrdered: (one, later) =>
    one.kind === "read" ? later.kind !== "read" : one.kind === "write" && later.kind === "write",
  isRead: ({ kind }) => kind === "read",
};

const value = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("write" as const), value }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("raise" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("read" as const), value, raised: fc.boolean() }),
  },
);
const operation: fc.Arbitrary<Timed<Step>> = fc
  .record({
    step,
    callMs: fc.integer({ min: 0, max: 12 }),
    tookMs: fc.integer({ min: 0, max: 8 }),
    fate: fc.constantFrom("sure", "sure", "sure", "perhaps", "at any time"),
  })
  .map(({ step: one, callMs, tookMs, fate }) => ({
    step: one,
    callMs,
    returnMs: fate === "at any time" ? Number.POSITIVE_INFINITY : callMs + tookMs,
    optional: fate !== "sure" && one.kind !== "read",
  }));

test("the same answer as from trying every order, on 5,000 small histories", () => {
  const counts = { legal: 0, illegal: 0 };
  fc.assert(
    fc.property(fc.array(operation, { minLength: 2, maxLength: 7 }), (operations) => {
      const expected = isLegal(register, operations) ? "legal" : "illegal";
      counts[expected] += 1;
      expect(check(register, operations).kind).toBe(expected);
    }),
    { seed: 11, numRuns: 5_000 },
  );
  // Both answers are tried often.
  expect(Math.min(counts.legal, counts.illegal)).toBeGreaterThan(1_000);
});

const at = (callMs: number, returnMs: number, one: Step, optional = false): Timed<Step> => ({
  step: one,
  callMs,
  returnMs,
  optional,
});
const write = (to: number): Step => ({ kind: "write", value: to });
const read = (of: number): Step => ({ kind: "read", value: of, raised: false });

test("names the first return that no order explains, and the states before it", () => {
  const stale = at(20, 21, read(0));
  const operations = [at(0, 5, write(1)), at(10, 11, read(1)), stale, at(30, 31, read(2))];
  expect(check(register, operations)).toEqual({
    kind: "illegal",
    at: stale,
    before: [{ value: 1, raised: false }],
  });
});

test("unknown, not legal, when the budget is used up", () => {
  const writes = [1, 2, 3, 4, 5, 6].map((to) => at(0, 50, write(to)));
  expect(check(register, [...writes, at(40, 60, read(7))], 100)).toEqual({ kind: "unknown" });
  expect(check(register, [...writes, at(40, 60, read(7))]).kind).toBe("illegal");
});

test("decides long histories with many writes that may have happened", () => {
  const operations = Array.from({ length: 400 }, (_, number) => [
    at(number * 10, number * 10 + 12, write(number)),
    at(number * 10 + 13, number * 10 + 14, read(number)),
    at(number * 10, Number.POSITIVE_INFINITY, write(-number), true),
  ]).flat();
  expect(check(register, operations).kind).toBe("legal");
  const lost = at(4_100, 4_101, read(398));
  expect(check(register, [...operations, lost])).toMatchObject({ kind: "illegal", at: lost });
});
