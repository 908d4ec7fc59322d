import { type Dashboard, yesIsGood } from "./panel-row.ts";
import { gauge, happens, max, min, promql, quantile, rate, sum } from "./promql.ts";

/** Redis as seen by the nodes. */
export const store: Dashboard = {
  id: "store",
  title: "Store",
  says: "Redis as seen by the nodes: whether it accepts changes, how long it takes, and how much room is left.",
  variables: ["region", "node"],
  groups: [
    {
      title: "Can it be used?",
      panels: [
        {
          title: "Store lease",
          says: "Nodes by what their store allows: full is usual, read only means that a replica is missing, none means that Redis does not answer.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(gauge("holdfast_store_lease", 'state="full"')), legend: "full" },
            { expr: sum(gauge("holdfast_store_lease", 'state="readOnly"')), legend: "read only" },
            { expr: sum(gauge("holdfast_store_lease", 'state="none"')), legend: "none" },
          ],
        },
        {
          title: "Changes of the lease",
          says: "Changes per second by the new state; an unstable lease means a slow disk, a slow replica, or a Redis that is restarted.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_store_lease_changes_total"), "state"), legend: "{{state}}" },
          ],
        },
        {
          title: "Barriers that came back short",
          says: "Barriers per second that did not reach every copy: a replica is missing or slow, and clients get a failure although the change may survive.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(happens("holdfast_barrier_seconds", 'full="false"'), "region"),
              legend: "region {{region}}",
            },
          ],
          quiet: "every barrier reached every copy",
        },
        {
          title: "Locks",
          says: "Locks requested per second; contended means that clients use the same key, unavailable means that lock masters are down.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(rate("holdfast_locks_total"), "result"), legend: "{{result}}" }],
        },
      ],
    },
    {
      title: "How fast is it?",
      panels: [
        {
          title: "Barrier: time until a change is on disk",
          says: "Time that changes wait for the fsync of the primary and its replicas; beyond 100 ms check the disks.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: quantile(0.5, "holdfast_barrier_seconds", ["region"]),
              legend: "half, region {{region}}",
            },
            {
              expr: quantile(0.99, "holdfast_barrier_seconds", ["region"]),
              legend: "99 of 100, region {{region}}",
            },
          ],
        },
        {
          title: "Changes that share a barrier",
          says: "Changes per fsync; the number rises with load, and then each durable change costs less.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`${sum(rate("holdfast_barrier_changes_total"), "region")} / ${sum(happens("holdfast_barrier_seconds"), "region")}`,
              legend: "region {{region}}",
            },
          ],
        },
        {
          title: "Commands, slowest of a hundred",
          says: "Time of a command or script at Redis; if all are slow, the cause is Redis or its machine, if one is slow, it is that script.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.99, "holdfast_store_seconds", ["command"]), legend: "{{command}}" },
          ],
        },
        {
          title: "Commands",
          says: "Commands and scripts per second at Redis.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(happens("holdfast_store_seconds"), "command"), legend: "{{command}}" },
          ],
        },
        {
          title: "Changes begun again",
          says: "Changes per second that found the record modified by another node; many mean that clients change the same keys at the same time.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(rate("holdfast_cas_conflicts_total"), "operation"),
              legend: "{{operation}}",
            },
          ],
          quiet: "no change met another",
        },
        {
          title: "Reads that wait for the disk",
          says: "Share of reads of data so new that its barrier had not completed; high values mean slow disks.",
          unit: "share",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`${sum(rate("holdfast_covered_reads_total", 'waited="true"'), "region")} / ${sum(rate("holdfast_covered_reads_total"), "region")}`,
              legend: "region {{region}}",
            },
          ],
        },
      ],
    },
    {
      title: "How much room is left?",
      panels: [
        {
          title: "Redis memory, share of maxmemory",
          says: "At 100% Redis accepts no changes, and no key can be created; raise `maxmemory` in time.",
          unit: "share",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`${max(gauge("holdfast_store_memory_used_bytes"), "region")} / ${max(gauge("holdfast_store_memory_max_bytes"), "region")}`,
              legend: "region {{region}}",
            },
          ],
          levels: [["good"], ["warn", 0.75], ["bad", 0.9]],
        },
        {
          title: "Redis memory",
          says: "Memory that Redis uses, about 1.5 KB per key with vCenter's attributes.",
          unit: "bytes",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: max(gauge("holdfast_store_memory_used_bytes"), "region"),
              legend: "region {{region}}",
            },
          ],
        },
        {
          title: "Redis writes its disk",
          says: "Whether Redis could write its append-only file when it last tried; no means a full or broken disk, and Redis accepts no change.",
          unit: "yes",
          kind: "stat",
          width: 6,
          queries: [
            { expr: min(gauge("holdfast_store_disk_ok"), "region"), legend: "region {{region}}" },
          ],
          levels: yesIsGood,
        },
        {
          title: "Lock masters that do not answer",
          says: "Lock masters of the leader's election that do not answer; without more than half of them no leader can be elected.",
          unit: "count",
          kind: "stat",
          width: 6,
          queries: [
            {
              expr: max(gauge("holdfast_lock_masters", 'answers="no"'), "region"),
              legend: "region {{region}}",
            },
          ],
          levels: [["good"], ["bad", 1]],
        },
        {
          title: "Append-only file",
          says: "Disk space of Redis' append-only file; a rewrite needs as much again, so keep twice this much free.",
          unit: "bytes",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("holdfast_store_aof_bytes"), "region"), legend: "region {{region}}" },
          ],
        },
      ],
    },
  ],
};
