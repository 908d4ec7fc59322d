import type { CounterName, GaugeName, HistogramName } from "../metrics/metric-table.ts";
import { type ObjectiveId, slothId } from "./objectives.ts";
import type { PromQl } from "./panel-row.ts";

/** The selection by a dashboard's variables; every target has these labels. */
const scope = 'region=~"$region",node=~"$node"';

/** Grafana's own variable: at least four scrape intervals. */
const usualRange = "$__rate_interval";

/** Builds PromQL from parts that are PromQL, numbers, or a list of labels. */
export function promql(
  texts: TemplateStringsArray,
  ...parts: readonly (PromQl | number)[]
): PromQl {
  const named = texts.find((text) => /\b(holdfast|nodejs|process|slo)[_:]/.test(text));
  if (named !== undefined)
    throw new TypeError(`${named}: name metrics by gauge, rate and the like`);
  return String.raw({ raw: texts }, ...parts) as PromQl;
}

/** A gauge of the chosen regions and nodes, with matching labels. */
export function gauge(name: GaugeName, where = ""): PromQl {
  return selector(name, where);
}

/** The increase of a counter per second. */
export function rate(name: CounterName, where = "", range = usualRange): PromQl {
  return `rate(${selector(name, where)}[${range}])` as PromQl;
}

/** The number of a histogram's observations per second. */
export function happens(name: HistogramName, where = "", range = usualRange): PromQl {
  return `rate(${selector(`${name}_count`, where)}[${range}])` as PromQl;
}

/** The increase of a counter over a time such as `1h`. */
export function rise(name: CounterName, range: string, where = ""): PromQl {
  return `increase(${selector(name, where)}[${range}])` as PromQl;
}

/** The quantile of a histogram, in seconds, one for each combination of `by`. */
export function quantile(
  share: number,
  name: HistogramName,
  by: readonly string[] = [],
  where = "",
): PromQl {
  const buckets = `rate(${selector(`${name}_bucket`, where)}[${usualRange}])`;
  return `histogram_quantile(${share}, sum by (${["le", ...by].join(", ")}) (${buckets}))` as PromQl;
}

/** The sum, over everything or for each combination of labels. */
export function sum(expression: PromQl, ...by: readonly string[]): PromQl {
  return over("sum", expression, by);
}

/** The maximum, over everything or for each combination of labels. */
export function max(expression: PromQl, ...by: readonly string[]): PromQl {
  return over("max", expression, by);
}

/** The minimum, over everything or for each combination of labels. */
export function min(expression: PromQl, ...by: readonly string[]): PromQl {
  return over("min", expression, by);
}

/** 1 for each node that Prometheus could read, 0 for each that it could not. */
export const up = selector("up", 'job="holdfast"');

/** 1 for each firing alert, without the watchdog, which always fires. */
export const firing =
  'ALERTS{alertstate="firing",alertname=~"Holdfast.*",alertname!="HoldfastWatchdog"}' as PromQl;

/** The share of good events over five minutes, of both regions together, as `slo.yaml` records it. */
export function good(objective: ObjectiveId): PromQl {
  return `1 - slo:sli_error:ratio_rate5m{sloth_id="${slothId(objective)}"}` as PromQl;
}

/** How many times faster than planned each error budget is spent. */
export const burnRate = 'slo:current_burn_rate:ratio{sloth_service="holdfast"}' as PromQl;

/** The share that is left of each error budget. */
export const budgetLeft =
  'slo:period_error_budget_remaining:ratio{sloth_service="holdfast"}' as PromQl;

function selector(name: string, where: string): PromQl {
  return `${name}{${where === "" ? scope : `${where},${scope}`}}` as PromQl;
}

function over(how: string, expression: PromQl, by: readonly string[]): PromQl {
  return `${how}${by.length === 0 ? "" : ` by (${by.join(", ")}) `}(${expression})` as PromQl;
}
