import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { grafanaFiles } from "../dashboards/grafana.ts";
import { sloPage } from "../dashboards/slo-page.ts";
import { sloRules } from "../dashboards/slo-rules.ts";
import { alerts } from "./alerts.ts";
import { api, openApiJson } from "./api.ts";
import { commandLine } from "./cli.ts";
import { configuration } from "./configuration.ts";
import { kmipSupport } from "./kmip-support.ts";
import { licences } from "./licences.ts";
import { metrics } from "./metrics.ts";
import { mutants } from "./mutants.ts";
import { prometheusRule } from "./prometheus-rule.ts";

const root = join(import.meta.dirname, "..", "..");

/** Every document and deployed file that `npm run docs` makes from tables in the code, by path. */
export const documents: Readonly<Record<string, () => string | Promise<string>>> = {
  "docs/alerts.md": alerts,
  "docs/api.md": api,
  "docs/cli.md": commandLine,
  "docs/configuration.md": configuration,
  "docs/kmip-support.md": kmipSupport,
  "docs/licences.md": licences,
  "docs/metrics.md": metrics,
  "docs/mutants.md": mutants,
  "docs/openapi.json": openApiJson,
  "docs/slo.md": sloPage,
  "deploy/prometheus/slo.yaml": sloRules,
  // It comes after the rules that it is made from.
  "deploy/kubernetes/components/prometheus-operator/rules.yaml": prometheusRule,
  ...grafanaFiles,
};

if (import.meta.main) {
  for (const [path, make] of Object.entries(documents)) {
    writeFileSync(join(root, path), await make());
  }
}
