import { type Dashboard, noneIsGood, noneIsUsual } from "./panel-row.ts";
import { gauge, happens, max, min, quantile, rate, sum } from "./promql.ts";

const reasons = "a local root of trust makes no calls";

/** The roots of trust, and the keys that they open. */
export const rootsOfTrust: Dashboard = {
  id: "roots",
  title: "Roots of trust",
  says: "Whether the roots of trust can be used, and which instances' keys are open.",
  variables: ["region", "node"],
  groups: [
    {
      title: "State",
      panels: [
        {
          title: "Roots of trust",
          says: "Whether each root of trust did its work when a node last asked; no starts the grace period of its instances.",
          unit: "yes",
          kind: "table",
          width: 12,
          queries: [
            {
              expr: min(gauge("holdfast_root_ok"), "region", "node", "kind", "root"),
              legend: "",
            },
          ],
          columns: ["region", "node", "kind", "root"],
          levels: [["bad"], ["good", 1]],
        },
        {
          title: "Instances by what becomes of their keys",
          says: "Most that any node reports: open is usual, grace ends by itself or closes, closed and shredded give clients no key.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: max(gauge("holdfast_instance_keys"), "state"), legend: "{{state}}" }],
        },
        {
          title: "Grace that is left",
          says: "Time until the first instance's keys close because its root of trust is out of reach; at 0 its machines cannot start.",
          unit: "seconds",
          kind: "stat",
          width: 6,
          queries: [
            { expr: min(gauge("holdfast_root_grace_left_seconds"), "node"), legend: "{{node}}" },
          ],
          levels: [["bad"], ["warn", 2700], ["good", 7200]],
          quiet: "every root of trust can be reached",
        },
        {
          title: "Instances without keys",
          says: "Instances whose keys are closed or shredded at some node; their clients get no key there.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: sum(
                max(gauge("holdfast_instance_keys", 'state=~"closed|shredded"'), "region", "state"),
                "region",
              ),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsGood,
        },
        {
          title: "Wraps under an old root key",
          says: "Key-encryption keys not yet under the present version of their root key; after a rotation it falls to 0 by itself.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_keks", 'under="stale"'), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: noneIsUsual,
        },
        {
          title: "Wraps under the present root key",
          says: "Key-encryption keys that are where they should be, one or more an instance.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_keks", 'under="current"'), "region"),
              legend: "region {{region}}",
            },
          ],
        },
      ],
    },
    {
      title: "Calls",
      panels: [
        {
          title: "Unwraps",
          says: "Keys opened at a root of trust each second, by whether it worked; failed ones for longer than a moment are bad.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(happens("holdfast_unwrap_seconds", 'ok="true"')), legend: "done" },
            { expr: sum(happens("holdfast_unwrap_seconds", 'ok="false"')), legend: "failed" },
          ],
        },
        {
          title: "Unwrap duration, slowest of a hundred",
          says: "Time of an unwrap; an HSM over the network takes up to a second, a file less than a millisecond.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.99, "holdfast_unwrap_seconds", ["node"]), legend: "{{node}}" },
          ],
          quiet: "no key was opened",
        },
        {
          title: "Calls to key managers",
          says: "Calls each second by what was asked and the HTTP status; 0 means no answer, 401 and 403 are missing permissions, 429 is a quota.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(happens("holdfast_root_call_seconds"), "action", "status"),
              legend: "{{action}} {{status}}",
            },
          ],
          quiet: reasons,
        },
        {
          title: "Call duration, slowest of a hundred",
          says: "Time of a call to a key manager, by root of trust; seconds mean that nodes start slowly and grace is near.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.99, "holdfast_root_call_seconds", ["root"]), legend: "{{root}}" },
          ],
          quiet: reasons,
        },
        {
          title: "Changes of instances' keys",
          says: "Each second, by the new state and the failure behind it; denied and disabled are somebody's doing, unavailable is the network.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_instance_keys_changes_total"), "state"),
              legend: "{{state}}",
            },
          ],
        },
      ],
    },
  ],
};
