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
          says: "Whether each root of trust worked when a node last used it; no starts the grace time of its instances.",
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
          says: "The highest number that any node reports: open is usual, grace returns to open or ends in closed, and with closed and shredded clients get no key.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: max(gauge("holdfast_instance_keys"), "state"), legend: "{{state}}" }],
        },
        {
          title: "Grace that is left",
          says: "Time until the first instance's keys close because its root of trust is unreachable; at 0 its machines cannot start.",
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
          says: "Instances whose keys are closed or shredded on some node; their clients get no key from that node.",
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
          says: "Key-encryption keys not yet under the current version of their root key; after a rotation the number falls to 0 by itself.",
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
          says: "Key-encryption keys under the current version of their root key, one or more per instance.",
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
          says: "Keys per second that a root of trust unwrapped or failed to unwrap; failures for longer than a moment are bad.",
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
          says: "Calls per second by action and HTTP status; 0 means no response, 401 and 403 mean missing permissions, 429 means a quota.",
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
          says: "Time of a call to a key manager, by root of trust; if calls take seconds, nodes start slowly and the grace time is near.",
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
          says: "Changes per second by the new state and the failure behind it; somebody caused denied and disabled, the network causes unavailable.",
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
