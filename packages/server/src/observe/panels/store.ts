import { type Dashboard, yesIsGood } from "./panel-row.ts";
import { gauge, happens, max, min, promql, quantile, rate, sum } from "./promql.ts";

/** Redis as the nodes see it. */
export const store: Dashboard = {
  id: "store",
  title: "Store",
  says: "Redis as the nodes see it: whether it takes changes, how long it takes, and how much room is left.",
  variables: ["region", "node"],
  groups: [
    {
      title: "Can it be used?",
      panels: [
        {
          title: "Store lease",
          says: "Nodes by what their store lets them do: full is usual, read only means that a replica is missing, none that Redis does not answer.",
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
          says: "Each second, by the new state; a lease that comes and goes is a slow disk, a slow replica, or a Redis that is restarted.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_store_lease_changes_total"), "state"), legend: "{{state}}" },
          ],
        },
        {
          title: "Barriers that came back short",
          says: "Barriers each second that did not reach every copy: a replica is missing or slow, and clients are told that nothing is sure.",
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
          says: "Locks asked for each second; contended ones are clients at the same key, unavailable ones are lock masters that are gone.",
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
          says: "Fsync of the primary and its replicas, as changes wait for it; beyond 100 ms look at the disks.",
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
          says: "Changes for each fsync; it rises with load, and then durable changes cost less each.",
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
          says: "Time of a command or script at Redis; all slow is Redis or its machine, one slow is that script.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.99, "holdfast_store_seconds", ["command"]), legend: "{{command}}" },
          ],
        },
        {
          title: "Commands",
          says: "Commands and scripts each second at Redis.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(happens("holdfast_store_seconds"), "command"), legend: "{{command}}" },
          ],
        },
        {
          title: "Changes begun again",
          says: "Changes each second that found the record changed by another node; many mean clients that fight over the same keys.",
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
          says: "Share of reads of something so new that its barrier was not back; high values mean slow disks.",
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
          says: "At 100% Redis takes no changes, and no key can be made; raise `maxmemory` in time.",
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
          says: "Memory that Redis uses, about 1.5 KB a key with vCenter's attributes.",
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
          says: "Whether Redis could write its append-only file when it last tried; no means a full or broken disk, and no change is taken.",
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
          says: "Lock masters of the leader's election that are gone; with half of them gone no leader can be elected.",
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
          says: "Disk that Redis' file takes; writing it anew needs as much again, so keep twice this free.",
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
