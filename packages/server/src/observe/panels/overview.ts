import { objectives } from "./objectives.ts";
import { type Dashboard, type Level, noneIsGood, type Panel, yesIsGood } from "./panel-row.ts";
import {
  budgetLeft,
  burnRate,
  firing,
  gauge,
  good,
  max,
  min,
  promql,
  quantile,
  rate,
  sum,
  up,
} from "./promql.ts";

const kept: readonly Panel[] = objectives.map(({ id, title, says, objective }) => ({
  title,
  says: `${says} The value covers the last five minutes; red means below the objective.`,
  unit: "share",
  kind: "stat",
  width: 6,
  queries: [{ expr: good(id), legend: "" }],
  levels: [["bad"], ["good", objective]] satisfies [[Level], [Level, number]],
  quiet: "no such request in five minutes",
}));

/** Is it healthy? */
export const overview: Dashboard = {
  id: "overview",
  title: "Overview",
  says: "Is Holdfast healthy? The first row shows what clients see, the second shows the parts of the service.",
  variables: ["region"],
  groups: [
    { title: "Do clients get their keys? (both regions)", panels: kept },
    {
      title: "Are all parts up?",
      panels: [
        {
          title: "Nodes that do not answer",
          says: "Nodes that Prometheus cannot read; each means that a node or its network is down.",
          unit: "count",
          kind: "stat",
          width: 4,
          queries: [{ expr: sum(promql`1 - ${up}`, "region"), legend: "region {{region}}" }],
          levels: noneIsGood,
        },
        {
          title: "Leaders",
          says: "Nodes that lead their region; any number but one for longer than an election is bad: dates, backups and catch-up wait.",
          unit: "count",
          kind: "stat",
          width: 4,
          queries: [
            {
              // A region without any node reports no leader, and must not vanish from this panel.
              expr: promql`${sum(gauge("holdfast_leader"), "region")} or (${sum(up, "region")} == 0)`,
              legend: "region {{region}}",
            },
          ],
          levels: [["bad"], ["good", 1], ["bad", 2]],
        },
        {
          title: "Nodes not on their own store",
          says: "Nodes that serve from the other region's store, or from none; each means that a region's own store is down.",
          unit: "count",
          kind: "stat",
          width: 4,
          queries: [
            {
              expr: sum(promql`1 - ${gauge("holdfast_serving_source", 'from="local"')}`, "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsGood,
        },
        {
          title: "Sees the other region",
          says: "Whether every node of a region reaches the other region; if not, changes are acknowledged by one region alone.",
          unit: "yes",
          kind: "stat",
          width: 4,
          queries: [
            { expr: min(gauge("holdfast_peer_up"), "region"), legend: "region {{region}}" },
          ],
          levels: yesIsGood,
        },
        {
          title: "First certificate ends",
          says: "Days until the first certificate of nodes, regions, clients or Redis servers expires; renew it below 45, before vSAN warns at 30.",
          unit: "days",
          kind: "stat",
          width: 4,
          queries: [
            {
              expr: promql`(${min(gauge("holdfast_certificate_not_after_seconds"))} - time()) / 86400`,
              legend: "",
            },
          ],
          levels: [["bad"], ["warn", 7], ["good", 45]],
        },
        {
          title: "Age of the last backup",
          says: "Age of each region's last good backup, in intervals of its schedule; two or more means that backups fail.",
          unit: "count",
          kind: "stat",
          width: 4,
          queries: [
            {
              expr: promql`(time() - ${max(gauge("holdfast_backup_last_success_timestamp_seconds"), "backup_region")}) / ${max(gauge("holdfast_backup_interval_seconds"), "backup_region")}`,
              legend: "region {{backup_region}}",
            },
          ],
          levels: [["good"], ["warn", 1.5], ["bad", 2]],
          quiet: "no scheduled backup yet",
        },
      ],
    },
    {
      title: "What is burning?",
      panels: [
        {
          title: "Alerts that fire",
          says: "Each has a section of the same name in docs/runbook.md or docs/slo.md: what users notice, how to confirm it, what to do.",
          unit: "none",
          kind: "table",
          width: 12,
          queries: [{ expr: max(firing, "alertname", "severity", "region", "node"), legend: "" }],
          columns: ["alertname", "severity", "region", "node"],
          quiet: "no alert fires",
        },
        {
          title: "Error budgets: how fast they burn",
          says: "At 1, a 30-day budget lasts 30 days; 6 for six hours or 14.4 for one hour pages somebody.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: burnRate, legend: "{{sloth_slo}}" }],
          levels: [["good"], ["warn", 1], ["bad", 14.4]],
          quiet: "no request in five minutes",
        },
      ],
    },
    {
      title: "Traffic",
      panels: [
        {
          title: "Requests",
          says: "KMIP operations answered per second; a sudden drop to zero while vCenter runs means an outage.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_requests_total"), "region"), legend: "region {{region}}" },
          ],
        },
        {
          title: "Slowest of a hundred",
          says: "99 of 100 are faster than this; Get beyond 50 ms and handshakes beyond 250 ms miss their objective.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: quantile(0.99, "holdfast_operation_seconds", [], 'operation="Get"'),
              legend: "Get",
            },
            {
              expr: quantile(0.99, "holdfast_operation_seconds", [], 'operation="Create"'),
              legend: "Create",
            },
            { expr: quantile(0.99, "holdfast_handshake_seconds"), legend: "handshake" },
          ],
        },
        {
          title: "Changes that only one region has",
          says: "Changes per second acknowledged by one region alone; they are lost if its store is lost before the other region catches up.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_pushed_records_total", 'result="alone"'), "region"),
              legend: "region {{region}}",
            },
          ],
          quiet: "every change is in both regions",
        },
        {
          title: "Error budgets: what is left",
          says: "The share of the 30-day error budget that is left; near 0 make no risky change, at 0 the objective is missed.",
          unit: "share",
          kind: "time",
          width: 12,
          queries: [{ expr: budgetLeft, legend: "{{sloth_slo}}" }],
          levels: [["bad"], ["warn", 0], ["good", 0.25]],
          quiet: "no request yet",
        },
      ],
    },
  ],
};
