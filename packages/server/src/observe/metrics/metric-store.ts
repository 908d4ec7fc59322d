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

/** What Redis servers say of themselves when they are looked at, every 10 s. */
export const storeMetrics = [
  ofStore(
    "holdfast_store_memory_used_bytes",
    "Memory that the own store's Redis uses, looked at every 10 s. Not there while it does not answer.",
    ({ usedBytes }) => usedBytes,
  ),
  ofStore(
    "holdfast_store_memory_max_bytes",
    "The own store's `maxmemory`: at it Redis takes no changes. Not there where none is set.",
    ({ maxBytes }) => (maxBytes === 0 ? undefined : maxBytes),
  ),
  ofStore(
    "holdfast_store_aof_bytes",
    "Disk that the append-only file of the own store's Redis takes; writing it anew needs as much again. Not there while Redis does not answer.",
    ({ aofBytes }) => aofBytes,
  ),
  ofStore(
    "holdfast_store_disk_ok",
    "1 while the own store's Redis could write its append-only file, and write it anew, when it last tried. Not there while Redis does not answer. How long a write takes is `holdfast_barrier_seconds`: Redis itself does not tell.",
    ({ diskOk }) => (diskOk ? 1 : 0),
  ),
  {
    type: "gauge",
    name: "holdfast_lock_masters",
    help: "Lock masters of the leader's election, by whether they answer (yes) or not (no), looked at every 10 s. Not there where none are named.",
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
