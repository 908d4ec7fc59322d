import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isLegal } from "./brute-force.ts";
import { check, type Model, type Timed } from "./checker.ts";
import { commonModel } from "./common-model.ts";
import { states } from "./operation.ts";
import { regionModel } from "./region-model.ts";
import type { Step } from "./step.ts";

const value = fc.constantFrom("v1" as const, "v2" as const);
const event = fc.constantFrom("activate", "deactivate", "compromise", "destroy");
const values = fc.subarray(["v1", "v2"]);
/** What else may be shown when a value was set. */
const others = {
  v1: { rivals: new Set(["v2"]), successors: new Set(["v2"]) },
  v2: { rivals: new Set<string>(), successors: new Set(["v1"]) },
};
const attribute = fc.constantFrom("x-set", "x-many");

/** Changes and answers, so that some histories are legal. */
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("event" as const), event, isDecided: fc.boolean() }),
  fc.record({ kind: fc.constant("add" as const), attribute: fc.constant("x-many"), value }),
  fc.record({ kind: fc.constant("delete" as const), attribute, value }),
  value.map((one) => ({
    kind: "set" as const,
    attribute: "x-set",
    value: one,
    ...others[one],
  })),
  fc.record({
    kind: fc.constant("look" as const),
    state: fc.option(fc.constantFrom(...states), { nil: undefined }),
    attributes: fc.oneof(
      fc.constant({}),
      fc.record({ "x-set": values }),
      fc.record({ "x-many": values }),
    ),
  }),
  fc.record({ kind: fc.constant("material" as const), digest: fc.constantFrom("d1", "d2") }),
  fc.record({
    kind: fc.constant("locate" as const),
    found: fc.boolean(),
    term: fc.option(fc.record({ attribute, value }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant("absent" as const), orDestroyed: fc.boolean() }),
  fc.constant({ kind: "gone" as const }),
  fc.constant({ kind: "list" as const }),
  fc.record({ kind: fc.constant("refused" as const), event }),
);

const changing = new Set<Step["kind"]>(["create", "list", "event", "add", "delete", "set"]);

const operation: fc.Arbitrary<Timed<Step>> = fc
  .record({
    step,
    callMs: fc.integer({ min: 2, max: 10 }),
    tookMs: fc.integer({ min: 0, max: 8 }),
    fate: fc.constantFrom("sure", "sure", "perhaps", "at any time"),
  })
  .map(({ step: one, callMs, tookMs, fate }) => {
    const optional = fate !== "sure" && changing.has(one.kind);
    const returnMs = optional && fate === "at any time" ? Infinity : callMs + tookMs;
    return { step: one, callMs, returnMs, optional };
  });

const create: Timed<Step> = {
  step: { kind: "create", isListed: false },
  callMs: 0,
  returnMs: 4,
  optional: false,
};

/** Values of two attributes, one with several and one with a single one. */
const changeOfValue: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), attribute: fc.constant("x-many"), value }),
  fc.record({ kind: fc.constant("delete" as const), attribute, value }),
  value.map((one) => ({
    kind: "set" as const,
    attribute: "x-set",
    value: one,
    ...others[one],
  })),
);
const lookAtValues: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("look" as const),
  attributes: fc.oneof(
    values.map((shown) => ({ "x-many": shown })),
    fc.constantFrom([], ["v1"], ["v2"]).map((shown) => ({ "x-set": shown })),
  ),
});
const valueOperation: fc.Arbitrary<Timed<Step>> = fc
  .record({
    step: fc.oneof({ weight: 2, arbitrary: changeOfValue }, { weight: 1, arbitrary: lookAtValues }),
    callMs: fc.integer({ min: 2, max: 10 }),
    tookMs: fc.integer({ min: 0, max: 8 }),
    fate: fc.constantFrom("in time", "in time", "late", "never"),
  })
  .map(({ step: one, callMs, tookMs, fate }) => {
    const isLate = fate !== "in time" && changing.has(one.kind);
    const lateMs = fate === "late" ? 20 : Infinity;
    const returnMs = isLate ? lateMs : callMs + tookMs;
    return { step: one, callMs, returnMs, optional: returnMs === Infinity };
  });
const last = lookAtValues.map((step) => ({ step, callMs: 30, returnMs: 31, optional: false }));
/** Changes that may come late, and what is shown in the end. */
const valueHistory = fc
  .tuple(fc.array(valueOperation, { minLength: 2, maxLength: 6 }), last)
  .map(([some, end]) => [...some, end]);

function compare<State>(
  model: Model<State, Step>,
  histories = fc.array(operation, { minLength: 1, maxLength: 6 }),
): Record<"legal" | "illegal", number> {
  const counts = { legal: 0, illegal: 0 };
  fc.assert(
    fc.property(histories, (some) => {
      const operations = [create, ...some];
      const expected = isLegal(model, operations) ? "legal" : "illegal";
      counts[expected] += 1;
      expect(check(model, operations).kind).toBe(expected);
    }),
    { seed: 12, numRuns: 5_000 },
  );
  return counts;
}

describe("the same answer as from trying every order, on 5,000 small histories of an object", () => {
  test("in one region", () => {
    const { legal, illegal } = compare(regionModel);
    expect(Math.min(legal, illegal)).toBeGreaterThan(500);
  });

  test("in one region, of values that come late", () => {
    const { legal, illegal } = compare(regionModel, valueHistory);
    expect(Math.min(legal, illegal)).toBeGreaterThan(500);
  });

  test("at any endpoint", () => {
    const { legal, illegal } = compare(commonModel);
    expect(Math.min(legal, illegal)).toBeGreaterThan(500);
  });
});

describe("decides what the other region gets at one time after a long cut:", () => {
  const many = Array.from({ length: 16 }, (_, number) => `v${number}`);
  const inCut = (step: Step, at: number, optional = false): Timed<Step> => ({
    step,
    callMs: 10 + at,
    returnMs: optional ? Infinity : 100,
    optional,
  });
  const look = (values: readonly string[], attribute: string): Timed<Step> => ({
    step: { kind: "look", attributes: { [attribute]: values } },
    callMs: 90,
    returnMs: 110,
    optional: false,
  });
  const adds = many.map((each, at) =>
    inCut({ kind: "add", attribute: "x-many", value: each }, at, at % 2 === 0),
  );
  const rivals = new Set(many);
  const sets = many.map((each, at) =>
    inCut({ kind: "set", attribute: "x-set", value: each, rivals, successors: rivals }, at),
  );

  test.each([
    ["16 values", adds, look(many, "x-many"), "legal"],
    ["16 values, of which one is not shown", adds, look(many.slice(0, -1), "x-many"), "legal"],
    ["a value that nobody added", adds, look([...many, "v99"], "x-many"), "illegal"],
    ["one of 16 that were set", sets, look(["v7"], "x-set"), "legal"],
    ["one that nobody set", sets, look(["v99"], "x-set"), "illegal"],
  ])("%s", (_, changes, seen, expected) => {
    expect(check(regionModel, [create, ...changes, seen]).kind).toBe(expected);
  });
});
