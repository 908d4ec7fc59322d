import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { code, madeFrom, table } from "./markdown.ts";

const file = join(import.meta.dirname, "../../deploy/prometheus/alerts.yaml");

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
    madeFrom("`deploy/prometheus/alerts.yaml`"),
    "",
    "`deploy/prometheus` has what Prometheus and Alertmanager need: `prometheus.yml` scrapes the nodes of both regions as one job, `alerts.yaml` has the rules, `alertmanager.yml` says where alerts go and which silences which. For the Prometheus Operator see [Kubernetes](../deploy/kubernetes/README.md). What to do at each alert is in the [runbook](runbook.md).",
    "",
    "One cause raises one alert: a region that is gone, and not its nodes, its leader and the other region's view of it as well. So that a cause is known before its consequences are sent, Alertmanager waits 30 s (`group_wait`) before it sends. Each alert fires once its condition has held for the time below, and is sent 30 s later; a scrape and an evaluation, 15 s each, come on top.",
    "",
    "Certificates: the first alert comes 45 days before the end, since vCenter and vSAN themselves warn 30 days before.",
    "",
    table(["alert", "severity", "after", "says"], rows),
    "",
  ].join("\n");
}
