import { type Objective, objectives, periodDays, slothId } from "@holdfast/server";
import { stringify } from "yaml";

/** A pair of windows: the alert fires if both have more than `factor` times the allowed errors. */
export interface Burn {
  readonly long: "1h" | "6h" | "3d";
  readonly short: "5m" | "30m" | "6h";
  readonly factor: number;
}

const fast: Burn = { long: "1h", short: "5m", factor: 14.4 };
const steady: Burn = { long: "6h", short: "30m", factor: 6 };
const slow: Burn = { long: "3d", short: "6h", factor: 1 };

/** The burn rates by severity, as in `alerts.yaml`: `critical` pages a person, `warning` waits. */
export const burns = { critical: [fast, steady], warning: [slow] } as const;

const windows = ["5m", "30m", "1h", "6h", "3d"] as const;
const period = `${periodDays}d`;

/** `deploy/prometheus/slo.yaml`: sloth's rules for objectives, and two burn-rate alerts for each. */
export function sloRules(): string {
  const groups = objectives.flatMap((objective) => [
    { name: `sloth-slo-sli-recordings-${slothId(objective.id)}`, rules: recordings(objective) },
    { name: `sloth-slo-meta-recordings-${slothId(objective.id)}`, rules: meta(objective) },
    { name: `sloth-slo-alerts-${slothId(objective.id)}`, rules: alerts(objective) },
  ]);
  return [
    "# Objectives for what clients see, recorded under sloth's names, and alerts on how fast their error budgets burn.",
    "# Made from the objectives in `packages/server/src/observe/panels/objectives.ts` by `npm run docs`; a test compares them.",
    "# docs/slo.md says what they mean, and has a section for each alert.",
    stringify({ groups }, { lineWidth: 0, aliasDuplicateObjects: false }),
  ].join("\n");
}

function labelsOf({ id }: (typeof objectives)[number]) {
  return { sloth_id: slothId(id), sloth_service: "holdfast", sloth_slo: id };
}

/** Without requests there is no ratio: 0/0 would be NaN, and so would every average with it. */
function recordings(row: (typeof objectives)[number]) {
  const labels = labelsOf(row);
  const ratios = windows.map((window) => ({
    record: `slo:sli_error:ratio_rate${window}`,
    expr: ratio(row, window),
    labels: { ...labels, sloth_window: window },
  }));
  const error = `slo:sli_error:ratio_rate5m${selector(labels)}`;
  const long = {
    record: `slo:sli_error:ratio_rate${period}`,
    expr: `sum_over_time(${error}[${period}]) / ignoring (sloth_window) count_over_time(${error}[${period}])`,
    labels: { ...labels, sloth_window: period },
  };
  return [...ratios, long];
}

function ratio({ errors, total }: Objective, window: string): string {
  return `((${errors(window)}) or vector(0)) / ((${total(window)}) > 0)`;
}

function meta(row: (typeof objectives)[number]) {
  const labels = labelsOf(row);
  const { objective } = row;
  const per = (name: string) => `slo:${name}${selector(labels)}`;
  const budget = `on (sloth_id, sloth_slo, sloth_service) group_left ${per("error_budget:ratio")}`;
  const rules = {
    "slo:objective:ratio": `vector(${objective})`,
    "slo:error_budget:ratio": `vector(1 - ${objective})`,
    "slo:time_period:days": `vector(${periodDays})`,
    "slo:current_burn_rate:ratio": `${per("sli_error:ratio_rate5m")} / ${budget}`,
    "slo:period_burn_rate:ratio": `${per(`sli_error:ratio_rate${period}`)} / ${budget}`,
    "slo:period_error_budget_remaining:ratio": `1 - ${per("period_burn_rate:ratio")}`,
  };
  return Object.entries(rules).map(([record, expr]) => ({ record, expr, labels }));
}

function alerts(row: (typeof objectives)[number]) {
  const { alert, burns: what } = row;
  return Object.entries(burns).map(([severity, pairs]) => ({
    alert,
    expr: pairs.map((burn) => `(${burning(row, burn)})`).join(" or "),
    labels: { severity, ...labelsOf(row) },
    annotations: {
      summary: `${what} ${severity === "critical" ? "within days" : "within the month"}`,
      runbook_url: `docs/slo.md#${alert.toLowerCase()}`,
    },
  }));
}

/** The condition of a burn. It drops the label of the window, since the two series must match. */
function burning({ id, objective }: (typeof objectives)[number], burn: Burn): string {
  const allowed = `${burn.factor} * ${Number((1 - objective).toFixed(6))}`;
  return [burn.short, burn.long]
    .map(
      (window) =>
        `max(slo:sli_error:ratio_rate${window}{sloth_id="${slothId(id)}"} > (${allowed})) without (sloth_window)`,
    )
    .join(" and ");
}

function selector(labels: Readonly<Record<string, string>>): string {
  const matchers = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `{${matchers.join(", ")}}`;
}
