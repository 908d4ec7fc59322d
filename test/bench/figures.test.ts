import { describe, expect, test } from "vitest";
import {
  cpuRatio,
  cpuUs,
  failures,
  type LoadFigures,
  latencyMs,
  loadCpuUs,
  rate,
  rateRatio,
} from "./figures.ts";
import type { LoadResult } from "./load-plan.ts";
import type { Results } from "./results.ts";
import { Histogram } from "./statistics.ts";
import { judge } from "./targets.ts";

/** A round of operations of `us` microseconds each, measured for one second unless given. */
function round(operations: number, us: number, given: Partial<LoadResult> = {}): LoadResult {
  const histogram = new Histogram();
  for (let at = 0; at < operations; at++) histogram.record(us);
  const cpuSeconds = { server: (operations * us) / 1e6 };
  return {
    operations,
    failures: 0,
    seconds: 1,
    histogram: histogram.toJSON(),
    cpuSeconds,
    loadCpuSeconds: 0.5,
    ...given,
  };
}

const load = (name: string, connections: number, sides: LoadFigures["sides"]): LoadFigures => ({
  name,
  title: name,
  connections,
  sides,
});
const nothing: Results = { loads: [], idleMemory: [], storedBytes: [] };
const verdictOf = (results: Partial<Results>, text: RegExp) =>
  judge({ ...nothing, ...results }).filter((verdict) => text.test(verdict.text));

describe("figures of rounds", () => {
  const rounds = [round(100, 10), round(300, 20, { seconds: 2, failures: 2 }), round(200, 30)];

  test("have the rate of the median round", () => {
    expect(rate(rounds)).toBe(150);
  });

  test("have the processor time per operation over all rounds", () => {
    expect(cpuUs(rounds, "server")).toBeCloseTo((100 * 10 + 300 * 20 + 200 * 30) / 600, 6);
    expect(loadCpuUs(rounds)).toBeCloseTo(1.5e6 / 600, 6);
    expect(cpuUs(rounds, "redis")).toBeUndefined();
  });

  test("have the latency of all operations together", () => {
    expect(latencyMs(rounds, 0.1)).toBeCloseTo(0.01, 3);
    expect(latencyMs(rounds, 0.5)).toBeCloseTo(0.02, 3);
    expect(latencyMs(rounds, 1)).toBeCloseTo(0.03, 3);
  });

  test("have the sum of all failures", () => {
    expect(failures(rounds)).toBe(2);
  });

  test("are undefined without rounds", () => {
    expect(rate(undefined)).toBeUndefined();
    expect(cpuUs([], "server")).toBeUndefined();
    expect(latencyMs(undefined, 0.5)).toBeUndefined();
    expect(rateRatio(load("get", 1, { holdfast: rounds }), "bare")).toBeUndefined();
  });

  test("have ratios that compare Holdfast with the other side", () => {
    const figures = load("get", 1, { holdfast: [round(50, 30)], bare: [round(100, 10)] });
    expect(rateRatio(figures, "bare")).toBe(0.5);
    expect(cpuRatio(figures, "bare")).toBeCloseTo(3, 6);
  });
});

describe("targets", () => {
  test("are neither met nor missed without a measurement", () => {
    expect(judge(nothing).map(({ met }) => met)).toEqual(judge(nothing).map(() => undefined));
    expect(judge(nothing).length).toBeGreaterThanOrEqual(8);
  });

  test.each([
    ["at the limit", 25, true],
    ["beyond it", 26, false],
  ])("with an upper limit are judged %s", (_name, us, met) => {
    const figures = load("get", 32, { holdfast: [round(50, us)], bare: [round(50, 10)] });
    const [verdict] = verdictOf({ loads: [figures] }, /server CPU/);
    expect(verdict?.met).toBe(met);
  });

  test.each([
    ["at the limit", 1000, true],
    ["below it", 999, false],
  ])("with a lower limit are judged %s", (_name, operations, met) => {
    const sides = { holdfast: [round(operations, 1)], pykmip: [round(20, 1)] };
    const [verdict] = verdictOf({ loads: [load("get", 32, sides)] }, /Get.*PyKMIP/);
    expect(verdict?.met).toBe(met);
  });

  test("ignore another number of connections", () => {
    const figures = load("get", 8, { holdfast: [round(50, 1)], bare: [round(50, 10)] });
    const verdicts = verdictOf({ loads: [figures] }, /Get/);
    expect(verdicts.filter(({ measured }) => measured !== undefined)).toEqual([]);
  });

  test("use the median of Holdfast's rounds for the memory of an idle connection, in thousands of bytes", () => {
    const memory = (side: "holdfast" | "bare", bytesAfter: number) =>
      ({ side, connections: 100, bytesBefore: 1_000_000, bytesAfter }) as const;
    const idleMemory = [
      memory("holdfast", 7_000_000),
      memory("bare", 2_000_000),
      memory("holdfast", 8_000_000),
    ];
    const [verdict] = verdictOf({ idleMemory }, /idle/);
    expect(verdict).toMatchObject({ measured: 65, met: false });
  });

  test("count the stored bytes of one object, without streams", () => {
    const stored = (objects: "created" | "described", bytes: number) =>
      ({ objects, title: "", count: 10, bytes, streamBytes: 99_999 }) as const;
    const storedBytes = [stored("created", 7_000), stored("described", 13_000)];
    expect(verdictOf({ storedBytes }, /Redis memory/)).toMatchObject([
      { measured: 700, met: true },
      { measured: 1300, met: false },
    ]);
  });

  test("use the median of the warm starts", () => {
    const startUp = {
      npmFirstAnswerMs: [9000, 4000, 3000],
      npmReadyMs: [],
      nodes: {
        source: { firstAnswerMs: [], idleBytes: [] },
        bundle: { firstAnswerMs: [], idleBytes: [] },
      },
    };
    expect(verdictOf({ startUp }, /npm start/)).toMatchObject([{ measured: 4, met: true }]);
  });
});
