import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  VizLegendOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  MappingType,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TableBuilder } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeBuilder } from "@grafana/grafana-foundation-sdk/timeseries";
import { type Dashboard, dashboards, type Level, type Panel, type Unit } from "@holdfast/server";

const source = { type: "prometheus", uid: `\${datasource}` };
const heights = { stat: 5, time: 8, table: 8 } as const;
const columns = 24;

const units: Readonly<Record<Unit, string>> = {
  count: "short",
  perSecond: "reqps",
  seconds: "s",
  days: "d",
  bytes: "bytes",
  bytesPerSecond: "Bps",
  share: "percentunit",
  yes: "bool_yes_no",
  none: "none",
};

/** Colours that differ in brightness, for people who cannot tell red from green. */
const colours: Readonly<Record<Level, string>> = {
  good: "#1a9e77",
  warn: "#e6a000",
  bad: "#c22d4e",
};

/** The source of a variable's choices. */
const choices = {
  region: { label: "Region", query: "label_values(holdfast_build_info, region)" },
  node: { label: "Node", query: `label_values(holdfast_build_info{region=~"$region"}, node)` },
  kmip_instance: {
    label: "KMIP instance",
    query: "label_values(holdfast_objects, kmip_instance)",
  },
} as const;

/** Every file of `deploy/grafana/dashboards`, by its path. */
export const grafanaFiles: Readonly<Record<string, () => string>> = Object.fromEntries(
  dashboards.map((dashboard) => [
    `deploy/grafana/dashboards/${dashboard.id}.json`,
    () => `${JSON.stringify(grafana(dashboard), undefined, 2)}\n`,
  ]),
);

/** A dashboard as Grafana reads it. */
function grafana({ id, title, says, variables, groups }: Dashboard): unknown {
  const builder = new DashboardBuilder(`Holdfast: ${title}`)
    .uid(`holdfast-${id}`)
    .description(says)
    .tags(["holdfast"])
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .timezone("browser")
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(
      new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    );
  for (const name of ["region", "node", "kmip_instance"] as const) {
    // Expressions always name region and node; without a choice, they match all of them.
    const shown = variables.includes(name);
    if (!shown && name === "kmip_instance") continue;
    builder.withVariable(variable(name, shown));
  }
  let y = 0;
  let next = 1;
  for (const group of groups) {
    builder.withRow(new RowBuilder(group.title).id(next++).gridPos({ x: 0, y, w: columns, h: 1 }));
    y += 1;
    let x = 0;
    let height = 0;
    for (const panel of group.panels) {
      if (x + panel.width > columns) {
        x = 0;
        y += height;
        height = 0;
      }
      const h = heights[panel.kind];
      builder.withPanel(builderOf(panel).id(next++).gridPos({ x, y, w: panel.width, h }));
      x += panel.width;
      height = Math.max(height, h);
    }
    y += height;
  }
  return builder.build();
}

function variable(name: keyof typeof choices, shown: boolean): QueryVariableBuilder {
  const { label, query } = choices[name];
  const builder = new QueryVariableBuilder(name)
    .label(label)
    .query(query)
    .datasource(source)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ text: "All", value: "$__all" });
  return shown ? builder : builder.hide(2);
}

function builderOf(panel: Panel): StatBuilder | TableBuilder | TimeBuilder {
  const { title, says, unit, levels, quiet } = panel;
  const builder = kindOf(panel)
    .title(title)
    .description(quiet === undefined ? says : `${says} Empty: ${quiet}.`)
    .datasource(source)
    .unit(units[unit]);
  if (quiet !== undefined) builder.noValue(quiet);
  if (unit === "share") builder.min(0);
  if (levels !== undefined) {
    const steps = levels.map(([level, from]) => ({ value: from ?? null, color: colours[level] }));
    builder.thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps));
  }
  if (unit === "yes") builder.mappings([yesAndNo]);
  for (const [at, { expr, legend }] of panel.queries.entries()) {
    const target = new DataqueryBuilder()
      .expr(expr)
      .refId(String.fromCharCode("A".charCodeAt(0) + at))
      .legendFormat(legend === "" ? title : legend);
    builder.withTarget(
      panel.kind === "table" ? target.instant().format(PromQueryFormat.Table) : target.range(),
    );
  }
  return builder;
}

const yesAndNo = {
  type: MappingType.ValueToText,
  options: { "1": { text: "yes" }, "0": { text: "no" } },
} as const;

function kindOf({
  kind,
  unit,
  columns: shown = [],
}: Panel): StatBuilder | TableBuilder | TimeBuilder {
  switch (kind) {
    case "stat":
      return new StatBuilder()
        .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false))
        .graphMode(BigValueGraphMode.None)
        .colorMode(BigValueColorMode.Value);
    case "table": {
      const order = [...shown, "Value"].map((name, at) => [name, at]);
      return new TableBuilder().withTransformation({
        id: "organize",
        options: {
          excludeByName: { Time: true, ...(unit === "none" ? { Value: true } : {}) },
          indexByName: Object.fromEntries(order),
          renameByName: { Value: "value" },
        },
      });
    }
    case "time":
      return new TimeBuilder()
        .lineWidth(2)
        .fillOpacity(0)
        .axisSoftMin(0)
        .legend(
          new VizLegendOptionsBuilder()
            .displayMode(LegendDisplayMode.List)
            .placement(LegendPlacement.Bottom)
            .showLegend(true),
        );
  }
}
