import {
  combinations,
  counter,
  type EventMetric,
  fromStart,
  none,
  type ReadMetric,
} from "./metric-row.ts";

/** What events of roots of trust move. */
export const rootEventMetrics = [
  fromStart(
    counter(
      "holdfast_instance_keys_changes_total",
      "instanceKeys",
      "What this node can do with an instance's keys changed: into which state, and for which failure of the root of trust.",
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

/** What is read of roots of trust. */
export const rootReadMetrics = [
  {
    type: "gauge",
    name: "holdfast_root_ok",
    help: "1 while a root of trust that this node has open did its work when it was last asked.",
    labels: ["kind", "root"],
    read: ({ roots }) => [...(roots?.() ?? [])],
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
    help: "Time until the first instance's keys close because its root of trust cannot be reached. Not there while none does.",
    labels: none,
    read: ({ graceLeft }) => {
      const left = graceLeft?.();
      return left === undefined ? [] : [[left]];
    },
  },
  {
    type: "gauge",
    name: "holdfast_keks",
    help: "This region's wraps of key-encryption keys, by whether they are under their root key's present version (current) or an older version or another root key (stale).",
    labels: ["under"],
    read: ({ keks }) => [...(keks?.() ?? [])],
  },
] as const satisfies readonly ReadMetric[];
