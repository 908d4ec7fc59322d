import type { StoreUsage } from "@holdfast/redis";
import { none, type ReadMetric } from "./metric-row.ts";

/** A gauge of the own store's Redis. */
function ofStore<const Name extends string>(
  name: Name,
  help: string,
  value: (usage: StoreUsage) => number | undefined,
): ReadMetric & { readonly name: Name } {
  return {
    type: "gauge",
    name,
    help,
    labels: none,
    read: ({ store }) => {
      const usage = store?.();
      const known = usage && value(usage);
      return known === undefined ? [] : [[known]];
    },
  };
}

/** Metrics that Redis servers report about themselves; read every 10 s. */
export const storeMetrics = [
  ofStore(
    "holdfast_store_memory_used_bytes",
    "Memory that the own store's Redis uses, read every 10 s. Absent while it does not answer.",
    ({ usedBytes }) => usedBytes,
  ),
  ofStore(
    "holdfast_store_memory_max_bytes",
    "The own store's `maxmemory`: at this limit Redis accepts no changes. Absent if none is set.",
    ({ maxBytes }) => (maxBytes === 0 ? undefined : maxBytes),
  ),
  ofStore(
    "holdfast_store_aof_bytes",
    "Disk space of the append-only file of the own store's Redis; a rewrite needs as much again. Absent while Redis does not answer.",
    ({ aofBytes }) => aofBytes,
  ),
  ofStore(
    "holdfast_store_disk_ok",
    "1 while the own store's Redis could write and rewrite its append-only file when it last tried. Absent while Redis does not answer. For how long a write takes see `holdfast_barrier_seconds`: Redis itself does not report it.",
    ({ diskOk }) => (diskOk ? 1 : 0),
  ),
  {
    type: "gauge",
    name: "holdfast_lock_masters",
    help: "Lock masters of the leader's election, by whether they answer (yes) or not (no), read every 10 s. Absent if none are configured.",
    labels: ["answers"],
    read: ({ lockMasters }) => {
      const look = lockMasters?.();
      if (look === undefined) return [];
      const { masters, answering } = look;
      return [
        ["yes", answering],
        ["no", masters - answering],
      ];
    },
  },
] as const satisfies readonly ReadMetric[];
