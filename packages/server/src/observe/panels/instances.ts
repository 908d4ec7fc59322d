import type { GaugeName } from "../metrics/metric-table.ts";
import { type Dashboard, noneIsUsual } from "./panel-row.ts";
import { gauge, max, min, promql, sum } from "./promql.ts";

/** Objects of the chosen instances by a label, as counted by one region's store. */
const keysBy = (metric: GaugeName, label: string) =>
  sum(max(gauge(metric, 'kmip_instance=~"$kmip_instance"'), "kmip_instance", label), label);

/** Instances of clients, their keys and certificates. */
export const instances: Dashboard = {
  id: "instances",
  title: "Instances",
  says: "What each KMIP instance stores, and which certificates expire next.",
  variables: ["region", "kmip_instance"],
  groups: [
    {
      title: "Instances and keys",
      panels: [
        {
          title: "Instances that are not installed",
          says: "Configuring waits for a root of trust, Removing waits for the other region; after ten minutes either is stuck.",
          unit: "count",
          kind: "stat",
          width: 8,
          queries: [
            {
              expr: max(gauge("holdfast_instances", 'status=~"Configuring|Removing"'), "status"),
              legend: "{{status}}",
            },
          ],
          levels: noneIsUsual,
        },
        {
          title: "Instances in use",
          says: "Instances that clients can use; fewer than yesterday means that somebody deleted one.",
          unit: "count",
          kind: "stat",
          width: 8,
          queries: [{ expr: max(gauge("holdfast_instances", 'status="Installed"')), legend: "" }],
        },
        {
          title: "Keys",
          says: "Objects of the chosen instances that are not destroyed, as counted by one region's store.",
          unit: "count",
          kind: "stat",
          width: 8,
          queries: [
            {
              expr: sum(
                max(
                  gauge("holdfast_objects", 'kmip_instance=~"$kmip_instance",state!~"Destroyed.*"'),
                  "kmip_instance",
                  "state",
                ),
              ),
              legend: "",
            },
          ],
        },
        {
          title: "Keys by state",
          says: "Objects by KMIP State; growing numbers of Compromised and Deactivated objects mean rekeyed machines, or a mistake.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: keysBy("holdfast_objects", "state"),
              legend: "{{state}}",
            },
          ],
        },
        {
          title: "Keys by age",
          says: "Objects that are not destroyed, by the months since their creation; a growing number of old ones means that nobody rotates them.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: keysBy("holdfast_objects_by_age", "age"),
              legend: "{{age}}",
            },
          ],
        },
        {
          title: "Keys that can be restored",
          says: "Destroyed keys whose delay is not over; a sudden rise means that somebody destroys keys: restore them while there is time.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("holdfast_restorable_keys"), "region"), legend: "region {{region}}" },
          ],
        },
        {
          title: "Active keys by instance",
          says: "Keys in use by instance; a sudden fall means that keys were destroyed or deactivated.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: max(
                gauge("holdfast_objects", 'kmip_instance=~"$kmip_instance",state="Active"'),
                "kmip_instance",
              ),
              legend: "{{kmip_instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "Certificates",
      panels: [
        {
          title: "Certificates, the first to end on top",
          says: "Days until each certificate expires, those of Redis servers too; renew it below 45, at 0 connections that need it fail.",
          unit: "days",
          kind: "table",
          width: 12,
          queries: [
            {
              expr: promql`sort((${min(gauge("holdfast_certificate_not_after_seconds"), "kind", "owner", "subject")} - time()) / 86400)`,
              legend: "",
            },
          ],
          columns: ["kind", "owner", "subject"],
          levels: [["bad"], ["warn", 7], ["good", 45]],
        },
        {
          title: "Certificates by how near their end is",
          says: "Certificates that nodes know, by the time left; everything except valid needs action.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(max(gauge("holdfast_certificates"), "kind", "expiry"), "expiry"),
              legend: "{{expiry}}",
            },
          ],
        },
      ],
    },
  ],
};
