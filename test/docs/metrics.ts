import { eventMetrics, processMetrics, readMetrics } from "@holdfast/server";
import { code, madeFrom, table } from "./markdown.ts";

/** The reference of the metrics of `/metrics`. */
export function metrics(): string {
  const rows = [...eventMetrics, ...readMetrics].map(({ name, type, labels, help }) => [
    code(name),
    type,
    labels.map(code).join(", "),
    help,
  ]);
  return [
    "# Metrics",
    "",
    madeFrom(
      "the tables in `packages/server/src/observe/metrics/metric-table.ts` and `metric-regions.ts`",
    ),
    "",
    "`GET /metrics` on the listener `http.listen`, in Prometheus's text format. A node reuses a response for up to 250 ms; `Cache-Control: no-cache` requests a new one. Histograms are in seconds. Clients are never labels: the number of series would have no limit. The log names them.",
    "",
    "## Holdfast",
    "",
    table(["metric", "type", "labels", "meaning"], rows),
    "",
    "## The process",
    "",
    "The response also has prom-client's standard metrics of the process (`process_…`, `nodejs_…`). Look at these first:",
    "",
    table(
      ["metric", "meaning"],
      processMetrics.map(([name, help]) => [code(name), help]),
    ),
    "",
    "## Probes",
    "",
    "No probe waits for the store. Each answers with the last known state, which is refreshed in the background; a change counts once it has lasted `health.downAfterMs` or `health.upAfterMs`.",
    "",
    table(
      ["probe", "succeeds while"],
      [
        ["`GET /livez`", "the process runs"],
        [
          '`GET /readyz`, gRPC service `""`',
          "this node should get traffic: it can read from its own or the other region's store, it can use a root of trust (or its grace time is not over), its event loop has not been a second late for three seconds, and it is not draining. `/readyz?verbose` shows the state of each part, with the reason",
        ],
        ["gRPC service `holdfast.read`", "reads are answered"],
        ["gRPC service `holdfast.write`", "changes are accepted, by either region's store"],
        [
          "gRPC service `holdfast.peer`",
          "the other region can be reached; exists only if the configuration names one",
        ],
        [
          "gRPC service `holdfast.admin`",
          "the management API is open; exists only if the configuration has one",
        ],
      ],
    ),
    "",
    "Certificate files that cannot be used any more are reported (`/readyz?verbose`, `holdfast_part_ok`) and have no other effect: the node continues with the certificates that it has loaded.",
    "",
    "A node that can read from neither store also closes its KMIP listener until it can read again: vCenter tries its next server when a connection is refused.",
    "",
  ].join("\n");
}
