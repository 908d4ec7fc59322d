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

/** The reference of alerts. */
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
    "`deploy/prometheus` has what Prometheus and Alertmanager need: `prometheus.yml` scrapes the nodes of both regions as one job, `alerts.yaml` has the rules, `alertmanager.yml` says where alerts go and which silences which. For the Prometheus Operator see [Kubernetes](../deploy/kubernetes/README.md). What to do at each alert is in the [runbook](runbook.md).",
    "",
    "One cause raises one alert: a region that is gone, and not its nodes, its leader and the other region's view of it as well. So that a cause is known before its consequences are sent, Alertmanager waits 30 s (`group_wait`) before it sends. Each alert fires once its condition has held for the time below, and is sent 30 s later; a scrape and an evaluation, 15 s each, come on top.",
    "",
    "Certificates: the first alert comes 45 days before the end, since vCenter and vSAN themselves warn 30 days before.",
    "",
    table(["alert", "severity", "after", "says"], rows),
    "",
    ...measured(JSON.parse(readFileSync(results, "utf8")) as MatrixReport),
  ].join("\n");
}

/** Which faults raised which alerts. */
function measured({ factor, healthyMinutes, healthy, outcomes }: MatrixReport): readonly string[] {
  const rows = outcomes.map(({ text, factor: own, came }) => [
    own === undefined ? text : `${text} (times ${own} times shorter)`,
    came.map(({ alert, about }) => `${alert} ${about}`.trim()).join(", ") || "none",
    came.map(({ seconds }) => `${seconds}`).join(", "),
  ]);
  const scale =
    factor === 1
      ? "with the times as shipped"
      : `with every time of the rules and of Alertmanager ${factor} times shorter than shipped, which is why the seconds are few; \`promtool\` proves the shipped times`;
  return [
    "## What each fault raises",
    "",
    `\`npm run alerts\` makes each of these faults in two regions of real processes under load, with a Prometheus that looks every second and an Alertmanager with the shipped files, and notes which alerts arrive at a receiver: these and no others. The table was made ${scale}. ${healthyMinutes === 0 ? "" : `Before the faults, ${healthy.length === 0 ? "no alert" : `${healthy.length} alerts`} came in ${healthyMinutes} minutes of the healthy regions under load.`}`.trimEnd(),
    "",
    table(["fault", "alerts that arrive, and where", "after s"], rows),
    "",
  ];
}
