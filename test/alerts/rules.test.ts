import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse, stringify } from "yaml";
import { faults } from "./faults.ts";
import { keepingCases } from "./keeping-cases.ts";
import { faultsOf, type MatrixReport } from "./matrix.ts";
import { outageCases } from "./outage-cases.ts";
import type { RuleCase } from "./rule-case.ts";
import { scaled } from "./scale.ts";

const folder = join(import.meta.dirname, "../../deploy/prometheus");
const rulesFile = join(folder, "alerts.yaml");
const stepS = 15;
/** At least one case for every alert. */
const ruleCases = [...outageCases, ...keepingCases];

interface Alert {
  readonly alert: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

const alerts: readonly Alert[] = parse(readFileSync(rulesFile, "utf8")).groups.flatMap(
  ({ rules }: { rules: readonly Alert[] }) => rules,
);
const names = alerts.map(({ alert }) => alert);

/** A test that needs promtool; it is skipped if promtool is not installed. */
const withPromtool = test.skipIf(spawnSync("promtool", ["--version"]).error !== undefined);
const needs = "(needs promtool: sudo apt-get install -y --no-install-recommends prometheus)";

/** A promtool test: one step earlier nothing fires, then exactly this alert does, and still at `stillAt`. */
function promtoolTest(each: RuleCase) {
  const { alert, name = "", input, trueAt, after, stillAt, labels, summary } = each;
  const runbook_url = `https://holdfast.example/docs/runbook.md#${alert.toLowerCase()}`;
  const at = trueAt + after;
  const fires = (second: number) => ({
    eval_time: `${second}s`,
    alertname: alert,
    exp_alerts: [{ exp_labels: labels, exp_annotations: { summary, runbook_url } }],
  });
  const silent = { eval_time: `${at - stepS}s`, alertname: alert, exp_alerts: [] };
  return {
    name: `${alert} ${name}`.trim(),
    interval: `${stepS}s`,
    input_series: Object.entries(input).map(([series, values]) => ({ series, values })),
    alert_rule_test: [
      ...(at === 0 ? [] : [silent]),
      fires(at),
      ...(stillAt === undefined ? [] : [fires(stillAt)]),
    ],
  };
}

/** Runs promtool on these cases with a rule file. */
function promtool(file: string, cases: readonly RuleCase[]) {
  const work = mkdtempSync(join(tmpdir(), "holdfast-promtool-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const tests = join(work, "tests.yaml");
  const content = {
    rule_files: [file],
    evaluation_interval: `${stepS}s`,
    tests: cases.map(promtoolTest),
  };
  writeFileSync(tests, stringify(content, { aliasDuplicateObjects: false }));
  const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", tests], {
    encoding: "utf8",
  });
  return { status, text: stdout + stderr };
}

test("every alert has a case, and every case is about an existing alert", () => {
  const tried = new Set(ruleCases.map(({ alert }) => alert));
  expect(names.length).toBeGreaterThan(30);
  expect(new Set(names).size).toBe(names.length);
  expect(names.filter((name) => !tried.has(name))).toEqual([]);
  expect([...tried].filter((name) => !names.includes(name))).toEqual([]);
});

test("every alert has a severity, and a link to its section of the runbook", () => {
  for (const { alert, labels, annotations } of alerts) {
    expect(["critical", "warning", "none"], alert).toContain(labels.severity);
    expect(annotations.runbook_url).toBe(
      `https://holdfast.example/docs/runbook.md#${alert.toLowerCase()}`,
    );
    expect(annotations.summary).not.toBe("");
  }
});

withPromtool(`every alert fires at its promised time, and not one step before ${needs}`, () => {
  expect(promtool(rulesFile, ruleCases)).toMatchObject({ status: 0 });
});

withPromtool(`an alert that fires later than promised makes the test fail ${needs}`, () => {
  const work = mkdtempSync(join(tmpdir(), "holdfast-promtool-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const late = join(work, "late.yaml");
  writeFileSync(late, readFileSync(rulesFile, "utf8").replaceAll("for: 1m", "for: 75s"));
  const gone = ruleCases.filter(({ alert }) => alert === "HoldfastNodeGone");
  expect(promtool(late, gone)).toMatchObject({ status: 1 });
});

withPromtool(`promtool and amtool accept the shipped files ${needs}`, () => {
  const run = (program: string, ...args: readonly string[]) =>
    spawnSync(program, args, { encoding: "utf8" });
  const lint = ["--lint=all", "--lint-fatal"];
  expect(run("promtool", "check", "rules", ...lint, rulesFile)).toMatchObject({ status: 0 });
  const config = join(folder, "prometheus.yml");
  expect(run("promtool", "check", "config", config)).toMatchObject({ status: 0 });
  const { error, status } = run("amtool", "check-config", join(folder, "alertmanager.yml"));
  if (error === undefined) expect(status).toBe(0);
});

test("the results in the documents are as expected, and about existing faults and alerts", () => {
  const file = join(import.meta.dirname, "results.json");
  const report = JSON.parse(readFileSync(file, "utf8")) as MatrixReport;
  expect(faultsOf(report, { times: true })).toEqual([]);
  const rows = new Map(faults.map(({ name, text, alerts: raised }) => [name, { text, raised }]));
  for (const { fault, text, expected } of report.outcomes) {
    expect({ text, raised: expected }, fault).toEqual(rows.get(fault));
  }
  for (const { alerts: raised, name } of faults) {
    const unknown = raised
      .map((one) => one.split(" ")[0] ?? "")
      .filter((one) => !names.includes(one));
    expect(unknown, name).toEqual([]);
  }
});

test("scaling changes times, but not limits in expressions", () => {
  const text =
    "for: 1m\nkeep_firing_for: 1m\ngroup_wait: 30s\nexpr: increase(x[5m] offset 5m) > 600";
  expect(scaled(text, 4)).toBe(
    "for: 15000ms\nkeep_firing_for: 15000ms\ngroup_wait: 7500ms\nexpr: increase(x[75000ms] offset 75000ms) > 600",
  );
});

test("silencing rules name only existing alerts", () => {
  const { inhibit_rules: inhibitions, route } = parse(
    readFileSync(join(folder, "alertmanager.yml"), "utf8"),
  );
  const text = JSON.stringify([inhibitions, route.routes]);
  const told = [...new Set(text.match(/Holdfast[A-Z]\w+/g) ?? [])];
  expect(told.length).toBeGreaterThan(10);
  const known = (name: string) => names.some((one) => one.startsWith(name));
  expect(told.filter((name) => !known(name))).toEqual([]);
});

test("Prometheus scrapes the nodes of the compose file as one job, with region and node", () => {
  const { scrape_configs: jobs } = parse(readFileSync(join(folder, "prometheus.yml"), "utf8"));
  expect(jobs).toHaveLength(1);
  expect(jobs[0].job_name).toBe("holdfast");
  const scraped = jobs[0].static_configs.map(
    ({ targets: [address], labels: { region, node } }: Scraped) => [address, region, node],
  );
  const nodes = ["a1", "a2", "b1", "b2"].map((name) => {
    const file = join(folder, `../compose/${name}.yaml`);
    const { http, region, node } = parse(readFileSync(file, "utf8"));
    return [http.listen, region, node];
  });
  expect(scraped).toEqual(nodes);
});

interface Scraped {
  readonly targets: readonly string[];
  readonly labels: { readonly region: string; readonly node: string };
}
