import { readFileSync } from "node:fs";
import { join } from "node:path";
import { eventMetrics, parseConfig, readMetrics } from "@holdfast/server";
import { expect, test } from "vitest";
import { documents } from "./generate.ts";

const root = join(import.meta.dirname, "..", "..");

test.each(Object.entries(documents))(
  "%s is what the tables say (else: npm run docs)",
  (path, make) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(make());
  },
);

test.each([
  "deploy/holdfast.example.yaml",
  ...["a1", "a2", "b1", "b2"].map((node) => `deploy/compose/${node}.yaml`),
])("%s is a good configuration", (path) => {
  expect(parseConfig(readFileSync(join(root, path), "utf8"), path)).toBeTypeOf("object");
});

test("the runbook has a section for every alert, and for none that there is not", () => {
  const alerts = readFileSync(join(root, "deploy/prometheus/alerts.yaml"), "utf8");
  const named = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  const runbook = readFileSync(join(root, "docs/runbook.md"), "utf8");
  const told = [...runbook.matchAll(/^## (Holdfast\w+)$/gm)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(10);
  expect(told).toEqual(named);
});

test("alerts and runbook name metrics that there are", () => {
  const known = new Set([...eventMetrics, ...readMetrics].map(({ name }) => name));
  for (const path of ["deploy/prometheus/alerts.yaml", "docs/runbook.md"]) {
    const names = readFileSync(join(root, path), "utf8").match(/\bholdfast_\w+/g) ?? [];
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  }
});
