import { type Dashboard, noneIsGood, noneIsUsual } from "./panel-row.ts";
import { gauge, max, min, promql, quantile, rate, sum } from "./promql.ts";

/** The state of each region as seen by the other. */
export const regions: Dashboard = {
  id: "regions",
  title: "Regions",
  says: "Whether the regions reach each other, and what one region has that the other lacks.",
  variables: ["region", "node"],
  groups: [
    {
      title: "State",
      panels: [
        {
          title: "Sees the other region",
          says: "Whether each node can reach the other region; if not, it acknowledges changes alone after a short wait.",
          unit: "yes",
          kind: "time",
          width: 12,
          queries: [
            { expr: min(gauge("holdfast_peer_up"), "node", "peer_region"), legend: "{{node}}" },
          ],
        },
        {
          title: "Store that nodes serve from",
          says: "Nodes by the store that they read: own is usual, other means that a region's own store is down, and none means that the node refuses clients.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(gauge("holdfast_serving_source", 'from="local"')), legend: "own" },
            { expr: sum(gauge("holdfast_serving_source", 'from="remote"')), legend: "other" },
            { expr: sum(gauge("holdfast_serving_source", 'from="none"')), legend: "none" },
          ],
        },
        {
          title: "Leaders",
          says: "Nodes that lead, by region; any number but one for longer than an election is bad.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(gauge("holdfast_leader"), "region"), legend: "region {{region}}" }],
        },
        {
          title: "Elections",
          says: "Changes per second of each node's role in its region's leadership; more than a few per hour mean an unstable lock master or network.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_leader_changes_total"), "node"), legend: "{{node}}" },
          ],
        },
      ],
    },
    {
      title: "Lag",
      panels: [
        {
          title: "Changes behind",
          says: "Changes of the other region that the leader had not processed; it must return to near zero within seconds, or catch-up is stuck; while the regions are disconnected it keeps its last value.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: max(gauge("holdfast_replication_lag_changes"), "region"),
              legend: "region {{region}}",
            },
          ],
        },
        {
          title: "Seconds since the other region was heard",
          says: "Time since a node of this region could last reach the other one, within six hours; what that region has changed since then is missing here.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`time() - max_over_time(timestamp(${max(gauge("holdfast_peer_up"), "region")} == 1)[6h:15s])`,
              legend: "region {{region}}",
            },
          ],
          levels: [["good"], ["warn", 60], ["bad", 600]],
        },
        {
          title: "Changes acknowledged",
          says: "Changes per second acknowledged to clients: by both regions, or by one alone, which are lost with that region's store.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_pushed_records_total", 'result="shared"')),
              legend: "both regions",
            },
            {
              expr: sum(rate("holdfast_pushed_records_total", 'result="alone"')),
              legend: "one alone",
            },
          ],
        },
        {
          title: "Wait for the other region, slowest of a hundred",
          says: "Time that a change waits for the other region: the network round trip and the other store's disk.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: quantile(0.99, "holdfast_push_seconds", ["region"]),
              legend: "region {{region}}",
            },
          ],
          quiet: "no change was made",
        },
        {
          title: "Last change acknowledged alone",
          says: "Time since a change was last acknowledged by one region only; a short time means that the regions were disconnected just now.",
          unit: "seconds",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: promql`time() - ${max(gauge("holdfast_alone_timestamp_seconds"), "region")}`,
              legend: "region {{region}}",
            },
          ],
          levels: [["bad"], ["warn", 300], ["good", 3600]],
          quiet: "never since the nodes started",
        },
        {
          title: "Left to catch up",
          says: "Records that a leader still has to compare or copy after the regions were disconnected; the number must fall.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_duty_left", 'duty=~"catch-up|resync"'), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsUsual,
        },
        {
          title: "Copies of the other region, by what became of them",
          says: "Copies per second; written and same are usual, quarantined and unreadable mean damaged records.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(rate("holdfast_joins_total"), "result"), legend: "{{result}}" }],
        },
      ],
    },
    {
      title: "Agreement",
      panels: [
        {
          title: "Open reservations",
          says: "Operations such as Destroy that wait for an outcome; one that waits for minutes means that the other region cannot be reached.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_duty_left", 'duty="reservations"'), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsUsual,
        },
        {
          title: "Records in quarantine",
          says: "Records in quarantine because they are damaged or in conflict; any is bad, and the log names them as `quarantined`.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_quarantined_records"), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsGood,
        },
        {
          title: "Changes not taken",
          says: "Records of the other region whose change this one does not take, since nothing proves that it was approved; the log names them.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_unproven_records"), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsGood,
        },
        {
          title: "Names given twice",
          says: "Names that both regions assigned while disconnected; Locate returns the newer first; rename one of each pair.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            { expr: max(gauge("holdfast_duplicate_names"), "region"), legend: "region {{region}}" },
          ],
          levels: noneIsUsual,
        },
        {
          title: "Refused at the peer port",
          says: "Callers per second that are not a peer of this region; strangers should not be able to reach this port.",
          unit: "perSecond",
          kind: "stat",
          width: 6,
          queries: [{ expr: sum(rate("holdfast_peer_refusals_total")), legend: "" }],
        },
        {
          title: "Agreements",
          says: "Operations per second that all regions must agree on; refused ones are usual, unknown ones wait for the leader.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_agreements_total"), "result"), legend: "{{result}}" },
          ],
        },
        {
          title: "Clocks",
          says: "How far a node's clock is ahead of the store's or the other region's; beyond 60 s it decides no date of a key.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: max(gauge("holdfast_clock_offset_seconds"), "node", "of"),
              legend: "{{node}} ahead of {{of}}",
            },
          ],
        },
      ],
    },
  ],
};
