import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventMetrics, objectives } from "@holdfast/server";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { type Burn, burns } from "./slo-rules.ts";

const root = join(import.meta.dirname, "..", "..");
const file = join(root, "deploy/prometheus/slo.yaml");
const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

const { groups } = parse(readFileSync(file, "utf8")) as {
  readonly groups: readonly {
    readonly name: string;
    readonly rules: readonly { readonly alert?: string; readonly expr: string }[];
  }[];
};
const groupNames = groups.map(({ name }) => name);

const minute = 60;
const secondsOf = { m: minute, h: 60 * minute, d: 24 * 60 * minute } as const;

/** Minutes between samples. Samples must be few, since every rule is evaluated at each. */
const stepOf = { "1h": 1, "6h": 5, "3d": 30 } as const;

interface Series {
  readonly series: string;
  readonly values: string;
}

type Row = (typeof objectives)[number];

/** Requests of one objective: a fixed number per step; each span has its share of bad ones. */
function seriesOf({ id }: Row, spans: readonly (readonly [steps: number, bad: number])[]) {
  const total = 100_000;
  // No counter begins at 0: Prometheus extrapolates differently near 0.
  const start = 1_000_000;
  const rising = (series: string, share: (bad: number) => number): Series => {
    let value = start;
    const values = spans.map(([steps, bad]) => {
      const step = total * share(bad);
      const text = `${value}+${step}x${steps - 1}`;
      value += step * steps;
      return text;
    });
    return { series, values: values.join(" ") };
  };
  const bucketed = (name: string, where: string, le: string) => [
    rising(`${name}_count{${where}}`, () => 1),
    rising(`${name}_bucket{${where},le="${le}"}`, (bad) => 1 - bad),
  ];
  switch (id) {
    case "get-availability":
    case "create-availability": {
      const name = `holdfast_requests_total{node="a1",operation="${id.startsWith("get") ? "Get" : "Create"}"`;
      return [
        rising(`${name},result="Success"}`, (bad) => 1 - bad),
        rising(`${name},result="GeneralFailure"}`, (bad) => bad),
        // A client's own fault counts as an answer.
        rising(`${name},result="ItemNotFound"}`, () => 0),
      ];
    }
    case "get-latency":
      return bucketed("holdfast_operation_seconds", 'node="a1",operation="Get"', "0.05");
    case "handshake-latency":
      return bucketed("holdfast_handshake_seconds", 'node="a1",resumed="false"', "0.25");
  }
}

function inSeconds(window: string): number {
  return Number.parseInt(window, 10) * secondsOf[window.slice(-1) as keyof typeof secondsOf];
}

/** The alert fires half a long window after a fault's start, and ends a short window after it. */
function testOf(row: Row, severity: string, { long, short, factor }: Burn) {
  const step = stepOf[long] * minute;
  const steps = inSeconds(long) / step;
  const half = steps / 2;
  // So many errors that half a window of them just exceeds what the alert allows.
  const bad = (factor * (1 - row.objective) * steps) / (half - 0.5);
  // At least six healthy hours: the other pair of windows of this alert must stay below its limit.
  const before = Math.max(steps, inSeconds("6h") / step) + 1;
  const [during, after] = [half + 10, inSeconds(short) / step + 5];
  const at = (steps: number) => `${((before + steps) * step) / minute}m`;
  const fires = (time: string, count: number) => ({
    expr: `count(ALERTS{alertname="${row.alert}",severity="${severity}",alertstate="firing"})`,
    eval_time: time,
    exp_samples: count === 0 ? [] : [{ labels: "{}", value: count }],
  });
  return {
    name: `${row.alert}, ${severity}, ${long}`,
    interval: `${step / minute}m`,
    input_series: seriesOf(row, [
      [before, 0],
      [during, bad],
      [after, 0],
    ]),
    promql_expr_test: [
      fires(at(half - 1), 0),
      fires(at(half), 1),
      fires(at(during + after - 1), 0),
    ],
  };
}

test.skipIf(!hasPromtool)(
  "each alert fires on time, not earlier, and ends (needs promtool)",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-slo-"));
    try {
      const pairs = Object.entries(burns).flatMap(([severity, all]) =>
        all.map((burn: Burn) => [severity, burn] as const),
      );
      const tests = objectives.flatMap((row) =>
        pairs.map(([severity, burn]) => testOf(row, severity, burn)),
      );
      for (const interval of new Set(tests.map((one) => one.interval))) {
        const path = join(folder, `${interval}.yaml`);
        const own = tests.filter((one) => one.interval === interval);
        writeFileSync(
          path,
          stringify({
            rule_files: [file],
            evaluation_interval: interval,
            // Otherwise groups run in any order, and an alert may be a step late.
            group_eval_order: groupNames,
            tests: own,
          }),
        );
        const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", path], {
          encoding: "utf8",
        });
        expect(`${stdout}${stderr}`).toMatch(/SUCCESS\s*$/);
        expect(status).toBe(0);
      }
      expect(tests.length).toBe(objectives.length * 3);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test.skipIf(!hasPromtool)("the rules pass promtool's check (needs promtool)", () => {
  const args = ["check", "rules", "--lint=all", "--lint-fatal", file];
  const { status, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test("docs/slo.md has a section for every alert, and for no other", () => {
  const named = groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? []));
  const told = [
    ...readFileSync(join(root, "docs/slo.md"), "utf8").matchAll(/^## (Holdfast\w+)$/gm),
  ].map(([, name]) => name);
  expect(told).toEqual([...new Set(named)]);
  const used = groups
    .flatMap(({ rules }) => rules)
    .flatMap(({ expr }) => expr.match(/\bholdfast_\w+/g) ?? []);
  const known = new Set(
    eventMetrics.flatMap(({ name }) => [name, `${name}_count`, `${name}_bucket`]),
  );
  expect(used.length).toBeGreaterThan(20);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
});
