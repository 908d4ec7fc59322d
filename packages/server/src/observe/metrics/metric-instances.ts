import type { ReadMetric } from "./metric-row.ts";

/** What is read of instances. */
export const instanceMetrics = [
  {
    type: "gauge",
    name: "holdfast_instances",
    help: "Instances by their status, deleted ones left out. One that stays Configuring waits for a root of trust; one that stays Removing for the other region.",
    labels: ["status"],
    read: ({ instances }) => [...(instances?.() ?? [])],
  },
] as const satisfies readonly ReadMetric[];
