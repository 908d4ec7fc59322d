import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { MatrixReport } from "../alerts/matrix.ts";
import { code, madeFrom, table } from "./markdown.ts";

const file = join(import.meta.dirname, "../../deploy/prometheus/alerts.yaml");
/** The output file of `npm run alerts -- --json`. */
const results = join(import.meta.dirname, "../alerts/results.json");

interface Rule {
  readonly alert: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string };
}

/** The reference of the alerts. */
export function alerts(): string {
  const { groups } = parse(readFileSync(file, "utf8")) as {
    readonly groups: readonly { readonly rules: readonly Rule[] }[];
  };
  const rows = groups.flatMap(({ rules }) =>
    rules.map(({ alert, labels, for: after = "at once", annotations }) => [
      `[${alert}](runbook.md#${alert.toLowerCase()})`,
      labels.severity,
      after,
      code(annotations.summary),
    ]),
  );
  return [
    "# Alerts",
    "",
    madeFrom("`deploy/prometheus/alerts.yaml` and `test/alerts/results.json`"),
    "",
    "`deploy/prometheus` has the files for Prometheus and Alertmanager: `prometheus.yml` scrapes the nodes of both regions as one job, `alerts.yaml` has the rules, `alertmanager.yml` says where alerts go and which silences which. For the Prometheus Operator see [Kubernetes](../deploy/kubernetes/README.md). What to do at each alert is in the [runbook](runbook.md).",
    "",
    "One cause raises one alert: if a region is down, you get one alert for the region, and none for its nodes, its leader or the other region's view of it. Alertmanager waits 30 s (`group_wait`) before it sends an alert, so that it knows the cause before it would send the consequences. Each alert fires once its condition has held for the time below, and is sent 30 s later. A scrape and an evaluation add up to 15 s each. The alerts that silence HoldfastNoLeader keep firing for a minute (`keep_firing_for`, from Prometheus 2.42 on), so that a scrape that fails does not send what they silence.",
    "",
    "The first alert for a certificate comes 45 days before it expires; vCenter and vSAN warn 30 days before.",
    "",
    table(["alert", "severity", "after", "summary"], rows),
    "",
    ...measured(JSON.parse(readFileSync(results, "utf8")) as MatrixReport),
  ].join("\n");
}

/** What the times of a run were divided by, in words. */
function timesOf(factor: number): string {
  return factor === 1 ? "the shipped times" : `times ${factor} times shorter than shipped`;
}

/** Which faults raised which alerts. */
function measured({ factor, healthyMinutes, healthy, outcomes }: MatrixReport): readonly string[] {
  const rows = outcomes.map(({ text, factor: own, came }) => [
    own === undefined ? text : `${text} (${timesOf(own)})`,
    came.map(({ alert, about }) => `${alert} ${about}`.trim()).join(", ") || "none",
    came.map(({ seconds }) => `${seconds}`).join(", "),
  ]);
  const shipped = outcomes.filter((one) => (one.factor ?? factor) === 1).length;
  const scale =
    factor === 1
      ? `with ${timesOf(factor)}`
      : `with ${timesOf(factor)} (those of the rules and of Alertmanager), where a row does not say otherwise, so the seconds below are few. ${shipped === 0 ? "No row was" : `${shipped} of the ${rows.length} rows were`} made with the shipped times: \`npm run alerts -- --scale 1\` makes all of them so, and takes hours; \`promtool\` tests the shipped times of each rule`;
  return [
    "## What each fault raises",
    "",
    `\`npm run alerts\` causes each of these faults in two regions of real processes under load, with a Prometheus that scrapes every second and an Alertmanager with the shipped files. It records which alerts arrive at a receiver: these and no others. The table was made ${scale}. ${healthyMinutes === 0 ? "" : `Before the faults, ${healthy.length === 0 ? "no alert" : `${healthy.length} alerts`} arrived in ${healthyMinutes} minutes in which the regions were healthy and under load.`}`.trimEnd(),
    "",
    table(["fault", "alerts that arrive, and where", "after (s)"], rows),
    "",
  ];
}
