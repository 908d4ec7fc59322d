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
    "`GET /metrics` on the listener `http.listen`, in Prometheus's text format. Where many ask, they are printed four times a second; `Cache-Control: no-cache` has them printed for that request. Histograms are in seconds. Clients are never labels: their names would grow without bound, and the log has them.",
    "",
    "## Holdfast",
    "",
    table(["metric", "type", "labels", "tells"], rows),
    "",
    "## The process",
    "",
    "prom-client's own metrics of the process (`process_…`, `nodejs_…`) are there too. Those worth a look first:",
    "",
    table(
      ["metric", "tells"],
      processMetrics.map(([name, help]) => [code(name), help]),
    ),
    "",
    "## Probes",
    "",
    "None of them waits for the store: they tell what was known last, refreshed in the background, after it has lasted `health.downAfterMs` or `health.upAfterMs`.",
    "",
    table(
      ["probe", "good while"],
      [
        ["`GET /livez`", "the process answers at all"],
        [
          '`GET /readyz`, gRPC service `""`',
          "this node should get traffic: it can read from a store, its own or the other region's, has the root of trust (or is in its grace), keeps up with its work (no turn of its event loop a second late, for three seconds), and is not draining. `/readyz?verbose` says why, part by part",
        ],
        ["gRPC service `holdfast.read`", "reads are answered"],
        ["gRPC service `holdfast.write`", "changes are answered, by either region's store"],
        [
          "gRPC service `holdfast.peer`",
          "the other region can be asked; there only where the configuration names one",
        ],
        [
          "gRPC service `holdfast.admin`",
          "the management API is open; there only where the configuration has one",
        ],
      ],
    ),
    "",
    "Certificate files that can no longer be used are told (`/readyz?verbose`, `holdfast_part_ok`) and change nothing else: those in use stay in use.",
    "",
    "A node that cannot even read, from neither store, also closes its KMIP listener until it can: vCenter goes to its next server when a connection is refused.",
    "",
  ].join("\n");
}
