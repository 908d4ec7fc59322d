import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";

const folder = join(import.meta.dirname, "../../deploy/prometheus");

/** The rule files as one PrometheusRule, for the Prometheus Operator. */
export function prometheusRule(): string {
  const groups = ["alerts.yaml", "slo.yaml"].flatMap((file) => {
    const rules: { readonly groups: readonly unknown[] } = parse(
      readFileSync(join(folder, file), "utf8"),
    );
    return rules.groups;
  });
  const rule = {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "holdfast", labels: { role: "alert-rules" } },
    spec: { groups },
  };
  const made = "# Made from deploy/prometheus/alerts.yaml and slo.yaml by `npm run docs`.\n";
  return made + stringify(rule, { lineWidth: 0 });
}
