import { rootKind } from "@holdfast/root-of-trust/kinds";
import {
  combinations,
  counter,
  type EventMetric,
  fromStart,
  none,
  type ReadMetric,
} from "./metric-row.ts";

/** Metrics that events of roots of trust change. */
export const rootEventMetrics = [
  fromStart(
    counter(
      "holdfast_storage_key_put_back_total",
      "storageKeyPutBack",
      "Entries of storage keys that were missing or damaged in Redis, and that this node, as the leader, has put back. Somebody has changed Redis.",
      none,
      () => [],
    ),
    () => [[]],
  ),
  fromStart(
    counter(
      "holdfast_unproven_values_total",
      "unprovenValue",
      "Cursors, levels, required formats and positions of sinks in Redis that did not prove themselves to this node, and so do not count. Somebody has changed Redis.",
      none,
      () => [],
    ),
    () => [[]],
  ),
  fromStart(
    counter(
      "holdfast_older_records_total",
      "olderRecord",
      "Times that the store had an older state of a record than this node remembers, or had it no more; each record once a minute at most. Somebody has changed Redis, or put back a copy of its data.",
      none,
      () => [],
    ),
    () => [[]],
  ),
  fromStart(
    counter(
      "holdfast_instance_keys_changes_total",
      "instanceKeys",
      "Changes of what this node can do with an instance's keys, by the new state and the failure of the root of trust.",
      ["state", "failure"],
      ({ state, failure }) => [state, failure],
    ),
    () =>
      combinations(
        ["open", "grace", "closed", "shredded"],
        ["none", "unavailable", "denied", "disabled", "gone"],
      ),
  ),
] as const satisfies readonly EventMetric[];

/** Metrics of roots of trust, read at each scrape. */
export const rootReadMetrics = [
  {
    type: "gauge",
    name: "holdfast_root_ok",
    help: "1 while a root of trust that this node has open worked when it was last used.",
    labels: ["kind", "root"],
    read: ({ roots }) => [...(roots?.() ?? [])],
  },
  {
    type: "gauge",
    name: "holdfast_root_end_timestamp_seconds",
    help: "When the vendor ends the service that holds a root key which this node has open, seconds since the epoch. Absent for all others.",
    labels: ["kind", "root"],
    read: ({ roots }) =>
      (roots?.() ?? []).flatMap(([kind, root]) => {
        const ends = rootKind(kind)?.ends;
        return ends === undefined ? [] : [[kind, root, ends.endMs / 1000]];
      }),
  },
  {
    type: "gauge",
    name: "holdfast_instance_keys",
    help: "Instances by what this node can do with their keys: open; grace (the root of trust cannot be reached, open keys are used for a limited time); closed; shredded by an administrator.",
    labels: ["state"],
    read: ({ instanceKeys }) => [...(instanceKeys?.() ?? [])],
  },
  {
    type: "gauge",
    name: "holdfast_root_grace_left_seconds",
    help: "Time until the first instance's keys close because its root of trust cannot be reached. Absent while none will close.",
    labels: none,
    read: ({ graceLeft }) => {
      const left = graceLeft?.();
      return left === undefined ? [] : [[left]];
    },
  },
  {
    type: "gauge",
    name: "holdfast_keks",
    help: "This region's wraps of key-encryption keys and of its storage key, by whether they are under their root key's current version (current) or under an older version or another root key (stale).",
    labels: ["under"],
    read: ({ keks }) => [...(keks?.() ?? [])],
  },
  {
    type: "gauge",
    name: "holdfast_kek_seals",
    help: "The most seals under one key-encryption key that seals, in all regions together. `holdfast instance show` has the number of each; `holdfast instance rekey` begins a new key.",
    labels: none,
    read: ({ kekSeals }) => (kekSeals === undefined ? [] : [[kekSeals()]]),
  },
  {
    type: "gauge",
    name: "holdfast_rekey_left",
    help: "Records of this region that may still be sealed under an older key-encryption key: 0 while no rekey is under way.",
    labels: none,
    read: ({ rekeyLeft }) => (rekeyLeft === undefined ? [] : [[rekeyLeft()]]),
  },
  {
    type: "gauge",
    name: "holdfast_storage_key_left",
    help: "Records of this region's store that an older storage key has proven: 0 while no rotation of it is under way. Shown by the leader.",
    labels: none,
    read: ({ storageKeyLeft }) => {
      const left = storageKeyLeft?.();
      return left === undefined ? [] : [[left]];
    },
  },
] as const satisfies readonly ReadMetric[];
