import { handshakeFaults } from "../../access/handshake-fault.ts";
import { refusals } from "../../access/trust.ts";
import { endings } from "../events.ts";
import { accessMetrics } from "./metric-access.ts";
import { adminMetrics } from "./metric-admin.ts";
import { keepingMetrics } from "./metric-backup.ts";
import { instanceMetrics } from "./metric-instances.ts";
import { regionMetrics } from "./metric-regions.ts";
import { rootEventMetrics, rootReadMetrics } from "./metric-roots.ts";
import {
  booleans,
  combinations,
  counter,
  type EventMetric,
  fromStart,
  none,
  type ReadMetric,
  seconds,
} from "./metric-row.ts";
import { storeMetrics } from "./metric-store.ts";

const states = ["full", "readOnly", "none"] as const;

const sources = ["local", "remote", "none"] as const;

const moved = [
  counter(
    "holdfast_requests_total",
    "operation",
    "KMIP operations answered, one per batch item.",
    ["operation", "version", "result"],
    ({ operation, version, result }) => [operation, version, result],
  ),
  seconds(
    "holdfast_operation_seconds",
    "operation",
    "Time of one KMIP operation in the engine.",
    ({ durationMs }) => durationMs,
    ["operation"],
    ({ operation }) => [operation],
  ),
  seconds(
    "holdfast_request_seconds",
    "request",
    "Time from a request's last byte to its response, for a whole message.",
    ({ durationMs }) => durationMs,
  ),
  counter(
    "holdfast_request_bytes_total",
    "request",
    "Bytes of requests.",
    none,
    undefined,
    ({ requestBytes }) => requestBytes,
  ),
  counter(
    "holdfast_response_bytes_total",
    "request",
    "Bytes of responses.",
    none,
    undefined,
    ({ responseBytes }) => responseBytes,
  ),
  counter(
    "holdfast_request_failures_total",
    "requestFailed",
    "Requests that got no response because of a fault of the node. Each is worth a bug report.",
  ),
  fromStart(
    counter(
      "holdfast_handshakes_total",
      "handshake",
      "TLS handshakes completed, by whether the client was accepted and, if not, why.",
      ["outcome", "resumed", "protocol"],
      ({ outcome, resumed, protocol }) => [outcome, String(resumed), protocol],
    ),
    () => combinations(["accepted", ...refusals], booleans, ["TLSv1.2", "TLSv1.3"]),
  ),
  fromStart(
    seconds(
      "holdfast_handshake_seconds",
      "handshake",
      "Time from a TCP connection to the end of its TLS handshake.",
      ({ durationMs }) => durationMs,
      ["resumed"],
      ({ resumed }) => [String(resumed)],
    ),
    () => combinations(booleans),
  ),
  fromStart(
    counter(
      "holdfast_handshake_failures_total",
      "handshakeFailed",
      "TLS handshakes that did not complete, by causes that an administrator can fix; `other` is scans, timeouts and the like.",
      ["reason"],
      ({ fault }) => [fault ?? "other"],
    ),
    () => combinations([...handshakeFaults, "other"]),
  ),
  counter(
    "holdfast_connections_dropped_total",
    "connectionDropped",
    "Connections closed although their client was accepted: `kmip.connectionsMax`, or half of it for one instance, was reached, and all of them were busy.",
  ),
  fromStart(
    counter(
      "holdfast_connections_ended_total",
      "connectionEnded",
      "KMIP connections that ended, by reason.",
      ["reason"],
      ({ ending }) => [ending],
    ),
    () => combinations(endings),
  ),
  seconds(
    "holdfast_store_seconds",
    "storeCommand",
    "Time of one command or script at the store.",
    ({ durationMs }) => durationMs,
    ["command"],
    ({ command }) => [command],
  ),
  fromStart(
    seconds(
      "holdfast_barrier_seconds",
      "barrier",
      "Time until a batch of changes was durable (WAITAOF).",
      ({ durationMs }) => durationMs,
      ["full"],
      ({ full }) => [String(full)],
    ),
    () => combinations(booleans),
  ),
  counter(
    "holdfast_barrier_changes_total",
    "barrier",
    "Changes that shared a barrier; divided by the number of barriers, the size of a batch.",
    none,
    undefined,
    ({ batch }) => batch,
  ),
  fromStart(
    counter(
      "holdfast_store_lease_changes_total",
      "lease",
      "Changes of the store lease, by its new state.",
      ["state"],
      ({ state }) => [state],
    ),
    () => combinations(states),
  ),
  fromStart(
    counter(
      "holdfast_locks_total",
      "lock",
      "Locks requested: acquired, given up after waiting (contended), or not obtainable (unavailable).",
      ["result"],
      ({ result }) => [result],
    ),
    () => combinations(["acquired", "contended", "unavailable"]),
  ),
  counter(
    "holdfast_cas_conflicts_total",
    "casConflict",
    "Changes that were retried because another change had modified the record.",
    ["operation"],
    ({ operation }) => [operation],
  ),
  fromStart(
    counter(
      "holdfast_covered_reads_total",
      "coveredRead",
      "Reads, by whether they had to wait until the data was durable.",
      ["waited"],
      ({ waited }) => [String(waited)],
    ),
    () => combinations(booleans),
  ),
  fromStart(
    seconds(
      "holdfast_unwrap_seconds",
      "unwrap",
      "Time of one unwrap at the root of trust.",
      ({ durationMs }) => durationMs,
      ["ok"],
      ({ ok }) => [String(ok)],
    ),
    () => combinations(booleans),
  ),
  seconds(
    "holdfast_root_call_seconds",
    "rootCall",
    "Time of one call to a key manager or to IAM (`token`), each retry counted separately; status 0: no response.",
    ({ durationMs }) => durationMs,
    ["root", "action", "status"],
    ({ root, action, status }) => [root, action, String(status)],
  ),
  counter("holdfast_warnings_total", "warning", "Warnings; the log has their text."),
  fromStart(
    counter(
      "holdfast_certificate_reloads_total",
      "certificate",
      "Certificate files read again, by purpose and whether they are in use now.",
      ["purpose", "loaded"],
      ({ purpose, loaded }) => [purpose, String(loaded)],
    ),
    () => combinations(["kmip", "peer", "admin"], booleans),
  ),
  counter(
    "holdfast_password_refusals_total",
    "passwordRefused",
    "User names and passwords that an instance does not know.",
  ),
  fromStart(
    counter(
      "holdfast_listener_changes_total",
      "listener",
      "How often the KMIP listener opened or closed.",
      ["open"],
      ({ open }) => [String(open)],
    ),
    () => combinations(booleans),
  ),
  ...regionMetrics,
  ...adminMetrics,
  ...rootEventMetrics,
] as const satisfies readonly EventMetric[];

const scraped = [
  ...keepingMetrics,
  ...instanceMetrics,
  ...rootReadMetrics,
  {
    type: "gauge",
    name: "holdfast_connections",
    help: "KMIP connections open now.",
    labels: none,
    read: ({ endpoint }) => [[endpoint()?.connectionCount ?? 0]],
  },
  {
    type: "gauge",
    name: "holdfast_handshakes_in_progress",
    help: "TLS handshakes in progress now.",
    labels: none,
    read: ({ endpoint }) => [[endpoint()?.handshakeCount ?? 0]],
  },
  {
    type: "gauge",
    name: "holdfast_in_flight_bytes",
    help: "Memory taken by large requests and unsent answers, bounded by `kmip.inFlightBytesMax`.",
    labels: none,
    read: ({ endpoint }) => [[endpoint()?.heldBytes ?? 0]],
  },
  {
    type: "gauge",
    name: "holdfast_listener_open",
    help: "1 while the KMIP listener accepts connections.",
    labels: none,
    read: ({ endpoint }) => [[endpoint()?.listening === true ? 1 : 0]],
  },
  {
    type: "gauge",
    name: "holdfast_serving",
    help: "1 while a health service answers SERVING.",
    labels: ["service"],
    read: ({ health }) =>
      Object.entries(health().services).map(([service, serving]) => [service, serving ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_store_lease",
    help: "1 for the state that the store lease is in: full (reads and changes), readOnly or none.",
    labels: ["state"],
    read: ({ health }) => states.map((state) => [state, health().lease === state ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_serving_source",
    help: "1 for the store that clients are served from now: the region's own (local), the other region's (remote), or none.",
    labels: ["from"],
    read: ({ health }) => sources.map((from) => [from, health().serving.from === from ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_part_ok",
    help: "1 while a part worked when it was last checked; `/readyz?verbose` shows the details.",
    labels: ["part"],
    read: ({ health }) => Object.entries(health().parts).map(([part, ok]) => [part, ok ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_peer_up",
    help: "1 while the other region can be reached: pushes wait for it. Absent while it is retired.",
    labels: ["peer_region"],
    read: ({ peers }) =>
      peers()
        .filter(({ state }) => state !== "retired")
        .map(({ region, state }) => [region, state === "up" ? 1 : 0]),
  },
  {
    type: "gauge",
    name: "holdfast_region_stores",
    help: "How many different stores the nodes of a region use, as far as this node has heard of them: more than 1 if two nodes have used different ones for 10 s. Absent while no store of the region is known.",
    labels: ["store_region"],
    read: ({ regionStores }) => regionStores?.() ?? [],
  },
  {
    type: "gauge",
    name: "holdfast_leader",
    help: "1 while this node leads its region; the sum over a region's nodes should be 1. Absent in a region with Sentinels but without configured lock masters.",
    labels: none,
    read: ({ leads }) => {
      const leader = leads();
      return leader === undefined ? [] : [[leader ? 1 : 0]];
    },
  },
  ...storeMetrics,
  {
    type: "gauge",
    name: "holdfast_quarantined_records",
    help: "Records in quarantine in the own store because they cannot be decoded, or differ in data that cannot change. Each is worth a check.",
    labels: none,
    read: ({ quarantined }) => {
      const count = quarantined();
      return count === undefined ? [] : [[count]];
    },
  },
  {
    type: "gauge",
    name: "holdfast_root_of_trust_ok",
    help: "1 while every root of trust that this node has open worked when it was last used.",
    labels: none,
    read: ({ health }) => [[health().rootOfTrust ? 1 : 0]],
  },
  {
    type: "gauge",
    name: "holdfast_certificate_not_after_seconds",
    help: "When a certificate expires, seconds since the epoch: the server's, the peers', the instances', and those that Redis, Sentinels and lock masters show; if there are more than 1,000, those that expire first.",
    labels: ["kind", "owner", "subject", "fingerprint"],
    read: ({ certificates }) =>
      certificates().map(({ kind, owner, subject, fingerprint, notAfterMs }) => [
        ...[kind, owner, subject, fingerprint],
        Math.floor(notAfterMs / 1000),
      ]),
  },
  {
    type: "gauge",
    name: "holdfast_certificates",
    help: "Certificates by kind and by how soon they expire: valid, in45days, in7days, in1day, expired, notYetValid.",
    labels: ["kind", "expiry"],
    read: ({ certificateCounts }) => certificateCounts?.() ?? [],
  },
  ...accessMetrics,
  {
    type: "gauge",
    name: "holdfast_build_info",
    help: "Always 1.",
    labels: ["version", "region", "node"],
    read: ({ build }) => [[build.version, build.region, build.node, 1]],
  },
] as const satisfies readonly ReadMetric[];

/** Every metric that events change: a row says which event, which labels and by how much. */
export const eventMetrics: readonly EventMetric[] = moved;

/** Every metric whose value is read at each scrape. */
export const readMetrics: readonly ReadMetric[] = scraped;

/** Metrics of the process that come from prom-client and that operators of Holdfast use. */
export const processMetrics = [
  [
    "nodejs_eventloop_lag_p50_seconds",
    "Half of the samples, 20 a second since the last scrape, found the event loop later than this.",
  ],
  [
    "nodejs_eventloop_lag_p99_seconds",
    "One sample in a hundred found the event loop later than this.",
  ],
  [
    "nodejs_eventloop_lag_max_seconds",
    "The longest delay of the event loop since the last scrape.",
  ],
  ["process_cpu_seconds_total", "CPU time used."],
  ["process_resident_memory_bytes", "Memory held."],
  ["nodejs_heap_size_used_bytes", "Memory that JavaScript objects use."],
  ["nodejs_external_memory_bytes", "Memory of buffers outside that heap."],
  ["process_open_fds", "File descriptors open."],
  ["process_max_fds", "File descriptors that the system allows."],
  ["process_start_time_seconds", "When the process started."],
] as const satisfies readonly (readonly [name: string, help: string])[];

type Row = (typeof moved)[number] | (typeof scraped)[number];
type ProcessName = (typeof processMetrics)[number][0];
type NameOf<Kind> = Extract<Row, { readonly type: Kind }>["name"];

/** Names of metrics that only increase. */
export type CounterName = NameOf<"counter"> | Extract<ProcessName, `${string}_total`>;
/** Names of metrics that increase and decrease. */
export type GaugeName = NameOf<"gauge"> | Exclude<ProcessName, `${string}_total`>;
/** Names of histograms, without `_bucket`. */
export type HistogramName = NameOf<"histogram">;
