import { type Dashboard, yesIsGood } from "./panel-row.ts";
import { gauge, happens, max, min, promql, quantile, rate, sum } from "./promql.ts";

/** The process of each node, and the work of its region's leader. */
export const node: Dashboard = {
  id: "node",
  title: "Node",
  says: "What each process does: whether it keeps up, what it uses, and the work of its region's leader.",
  variables: ["region", "node"],
  groups: [
    {
      title: "State",
      panels: [
        {
          title: "Parts that do not work",
          says: "Parts of a node that failed when last checked; `/readyz?verbose` of that node says why.",
          unit: "none",
          kind: "table",
          width: 12,
          queries: [{ expr: promql`${gauge("holdfast_part_ok")} == 0`, legend: "" }],
          columns: ["region", "node", "part"],
          quiet: "every part works",
        },
        {
          title: "Releases",
          says: "The version of each node; more than one version for longer than an upgrade means a forgotten node.",
          unit: "none",
          kind: "table",
          width: 12,
          queries: [
            { expr: max(gauge("holdfast_build_info"), "region", "node", "version"), legend: "" },
          ],
          columns: ["region", "node", "version"],
        },
        {
          title: "Takes clients",
          says: "Whether the KMIP listener is open; a node that can read from no store closes it, so that clients go elsewhere.",
          unit: "yes",
          kind: "stat",
          width: 12,
          queries: [{ expr: min(gauge("holdfast_listener_open"), "node"), legend: "{{node}}" }],
          levels: yesIsGood,
        },
        {
          title: "Running for",
          says: "Time since each process started; unexplained short times mean crashes.",
          unit: "seconds",
          kind: "stat",
          width: 12,
          queries: [
            {
              expr: promql`time() - ${max(gauge("process_start_time_seconds"), "node")}`,
              legend: "{{node}}",
            },
          ],
        },
      ],
    },
    {
      title: "Saturation",
      panels: [
        {
          title: "Event loop: latest turn of a hundred",
          says: "Delay of the event loop; clients notice more than 100 ms, and a second of delay for three seconds takes the node out of service.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("nodejs_eventloop_lag_p99_seconds"), "node"), legend: "{{node}}" },
          ],
        },
        {
          title: "Processor",
          says: "Processor cores used; one JavaScript thread does the work, so a node near 1 needs another node beside it.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(rate("process_cpu_seconds_total"), "node"), legend: "{{node}}" }],
        },
        {
          title: "Memory",
          says: "Memory that each process uses; a rise over days with the same load means a leak.",
          unit: "bytes",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("process_resident_memory_bytes"), "node"), legend: "{{node}}" },
          ],
        },
        {
          title: "JavaScript heap",
          says: "Memory of objects; it rises and falls with garbage collection, and its lower edge should stay level.",
          unit: "bytes",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("nodejs_heap_size_used_bytes"), "node"), legend: "{{node}}" },
          ],
        },
        {
          title: "Connections",
          says: "KMIP connections open at each node; at `kmip.connectionsMax` idle ones are closed, then new ones are dropped.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(gauge("holdfast_connections"), "node"), legend: "{{node}}" }],
        },
        {
          title: "Handshakes under way",
          says: "TLS handshakes in progress; many for seconds mean a flood, or clients with a bad connection.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(gauge("holdfast_handshakes_in_progress"), "node"), legend: "{{node}}" },
          ],
        },
        {
          title: "Requests and answers in memory",
          says: "Bytes of large requests, and of responses that clients have not read yet; at `kmip.inFlightBytesMax` the node reads no more requests.",
          unit: "bytes",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(gauge("holdfast_in_flight_bytes"), "node"), legend: "{{node}}" }],
        },
        {
          title: "File descriptors, share of the limit",
          says: "Open files and connections; at 100% the node accepts no connection, so raise LimitNOFILE before 80%.",
          unit: "share",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`${max(gauge("process_open_fds"), "node")} / ${max(gauge("process_max_fds"), "node")}`,
              legend: "{{node}}",
            },
          ],
          levels: [["good"], ["warn", 0.8], ["bad", 0.95]],
        },
        {
          title: "Traffic",
          says: "Bytes per second of KMIP requests and responses.",
          unit: "bytesPerSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_request_bytes_total")), legend: "requests" },
            { expr: sum(rate("holdfast_response_bytes_total")), legend: "answers" },
          ],
        },
        {
          title: "Warnings in the log",
          says: "Warnings per second; the log of that node has their text.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [{ expr: sum(rate("holdfast_warnings_total"), "node"), legend: "{{node}}" }],
        },
      ],
    },
    {
      title: "The leader's duties",
      panels: [
        {
          title: "Duration, slowest of a hundred",
          says: "Time of one run of each duty; a slow duty delays nothing but itself.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: quantile(0.99, "holdfast_duty_seconds", ["duty"]), legend: "{{duty}}" },
          ],
          quiet: "no duty ran",
        },
        {
          title: "Runs that failed",
          says: "Failed runs per second by duty; the log has the reason, and each is retried.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: sum(happens("holdfast_duty_seconds", 'ok="false"'), "duty"),
              legend: "{{duty}}",
            },
          ],
          quiet: "no duty failed",
        },
      ],
    },
    {
      title: "Management and audit",
      panels: [
        {
          title: "Management API",
          says: "Requests per second by HTTP status; 500 is a fault of the node, 401 and 403 are refused tokens.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_admin_requests_total"), "status"), legend: "{{status}}" },
          ],
        },
        {
          title: "Denied at the management API",
          says: "Requests per second whose token is missing, wrong or not allowed to do this; many mean somebody who guesses tokens.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_admin_denied_total"), "reason"), legend: "{{reason}}" },
          ],
          quiet: "no request was denied",
        },
        {
          title: "Audit entries not yet at their sink",
          says: "Age of the oldest entry that a sink does not have; it grows while the sink is down, and entries wait in the store.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            { expr: max(gauge("holdfast_audit_sink_lag_seconds"), "sink"), legend: "{{sink}}" },
          ],
          quiet: "no sink is configured",
        },
        {
          title: "Audit entries lost or altered",
          says: "Entries dropped at the store's size limit, and places where the trail does not match its chain; each is an incident.",
          unit: "perSecond",
          kind: "time",
          width: 12,
          queries: [
            { expr: sum(rate("holdfast_audit_lost_total")), legend: "lost" },
            { expr: sum(rate("holdfast_audit_faults_total")), legend: "altered" },
          ],
        },
        {
          title: "Audit log not yet cosigned",
          says: "How long a witness has not cosigned the newest step of the audit log; minutes mean that it is out, or disagrees.",
          unit: "seconds",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: max(gauge("holdfast_audit_witness_lag_seconds"), "witness"),
              legend: "{{witness}}",
            },
          ],
          quiet: "no witness is configured",
        },
        {
          title: "Denials in force",
          says: "Length of the deny list; a steep rise is an incident, or somebody who shuts out clients.",
          unit: "count",
          kind: "time",
          width: 12,
          queries: [{ expr: max(gauge("holdfast_denials")), legend: "denials" }],
        },
        {
          title: "Revocation lists end in",
          says: "Days until the list that a node has read ends; below zero, the node has no valid list of this authority.",
          unit: "days",
          kind: "time",
          width: 12,
          queries: [
            {
              expr: promql`(${min(gauge("holdfast_crl_next_update_seconds"), "authority")} - time()) / 86400`,
              legend: "{{authority}}",
            },
          ],
          quiet: "no revocation list is configured",
        },
      ],
    },
  ],
};
