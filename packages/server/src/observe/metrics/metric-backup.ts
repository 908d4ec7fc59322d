import type { ReadMetric } from "./metric-row.ts";

/** Metrics of stored data: objects by state, and backups. */
export const keepingMetrics = [
  {
    type: "gauge",
    name: "holdfast_objects",
    help: "Objects by State, of the instances that have any, as the region's store counts them. At the leader only.",
    labels: ["kmip_instance", "state"],
    read: ({ objects }) => objects?.() ?? [],
  },
  {
    type: "gauge",
    name: "holdfast_objects_by_age",
    help: "Objects that are not destroyed, by the months since the month of their Initial Date (UTC): below1month, below3months, below12months, below24months or older; each is counted once. At the leader only.",
    labels: ["kmip_instance", "age"],
    read: ({ objectAges }) => objectAges?.() ?? [],
  },
  {
    type: "gauge",
    name: "holdfast_backup_last_success_timestamp_seconds",
    help: "When the last complete scheduled backup began; absent if there never was one.",
    labels: ["backup_region"],
    read: ({ backups }) =>
      (backups?.() ?? []).flatMap(({ region, lastMs }) =>
        lastMs === undefined ? [] : [[region, lastMs / 1000]],
      ),
  },
  {
    type: "gauge",
    name: "holdfast_backup_ok",
    help: "1 while a region's last scheduled backup is complete, 0 after one that failed; absent if there never was one.",
    labels: ["backup_region"],
    read: ({ backups }) => (backups?.() ?? []).map(({ region, ok }) => [region, ok ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_backup_interval_seconds",
    help: "Time from one scheduled backup to the next, as configured on this node; absent if none are scheduled.",
    labels: ["backup_region"],
    read: ({ backupEveryMs, build: { region } }) =>
      backupEveryMs === undefined ? [] : [[region, backupEveryMs / 1000]],
  },
] as const satisfies readonly ReadMetric[];
