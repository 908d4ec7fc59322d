import type { ReadMetric } from "./metric-row.ts";

/** Metrics of instances, read at each scrape. */
export const instanceMetrics = [
  {
    type: "gauge",
    name: "holdfast_instances",
    help: "Instances by their status, without deleted ones. One that stays Configuring waits for a root of trust; one that stays Removing waits for the other region.",
    labels: ["status"],
    read: ({ instances }) => [...(instances?.() ?? [])],
  },
] as const satisfies readonly ReadMetric[];
