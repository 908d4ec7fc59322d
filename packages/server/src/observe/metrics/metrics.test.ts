import { describe, expect, test } from "vitest";
import { unknownNode } from "../../testing/readings.ts";
import type { NodeEvent } from "../events.ts";
import {
  type CounterName,
  eventMetrics,
  type GaugeName,
  type HistogramName,
  processMetrics,
  readMetrics,
} from "./metric-table.ts";
import { Metrics } from "./metrics.ts";

const operation = {
  type: "operation",
  operation: "Get",
  version: "1.1",
  instance: "i",
  result: "Success",
  durationMs: 3,
  requestId: "r",
  fingerprint: "f",
} as const;
const handshake = {
  type: "handshake",
  outcome: "accepted",
  durationMs: 2,
  resumed: false,
  protocol: "TLSv1.3",
  remote: "",
  fingerprint: "",
  subject: "",
} as const;

async function linesAfter(...events: NodeEvent[]): Promise<string[]> {
  const metrics = new Metrics(Date.now);
  for (const event of events) metrics.observe(event);
  return (await metrics.print()).split("\n");
}

describe("metrics", () => {
  test.each<[NodeEvent, string[]]>([
    [
      operation,
      [
        'holdfast_requests_total{operation="Get",version="1.1",result="Success"} 1',
        'holdfast_operation_seconds_bucket{le="0.0025",operation="Get"} 0',
        'holdfast_operation_seconds_bucket{le="0.005",operation="Get"} 1',
        'holdfast_operation_seconds_bucket{le="+Inf",operation="Get"} 1',
        'holdfast_operation_seconds_sum{operation="Get"} 0.003',
        'holdfast_operation_seconds_count{operation="Get"} 1',
      ],
    ],
    [
      { type: "request", durationMs: 0.2, requestBytes: 176, responseBytes: 280 },
      [
        'holdfast_request_seconds_bucket{le="0.00025"} 1',
        "holdfast_request_bytes_total 176",
        "holdfast_response_bytes_total 280",
      ],
    ],
    [
      { type: "requestFailed", requestId: "r", cause: new Error("x") },
      ["holdfast_request_failures_total 1"],
    ],
    [
      handshake,
      [
        'holdfast_handshakes_total{outcome="accepted",resumed="false",protocol="TLSv1.3"} 1',
        'holdfast_handshake_seconds_count{resumed="false"} 1',
      ],
    ],
    [
      { type: "handshakeFailed", reason: "x", remote: "" },
      ['holdfast_handshake_failures_total{reason="other"} 1'],
    ],
    [
      { type: "handshakeFailed", reason: "x", remote: "", fault: "noCommonSuite" },
      ['holdfast_handshake_failures_total{reason="noCommonSuite"} 1'],
    ],
    [{ type: "connectionDropped" }, ["holdfast_connections_dropped_total 1"]],
    [
      { type: "connectionEnded", ending: "idle", detail: "", instance: "", fingerprint: "" },
      ['holdfast_connections_ended_total{reason="idle"} 1'],
    ],
    [
      { type: "storeCommand", command: "read", durationMs: 1 },
      ['holdfast_store_seconds_count{command="read"} 1'],
    ],
    [
      { type: "barrier", durationMs: 3, batch: 7, full: true },
      ['holdfast_barrier_seconds_count{full="true"} 1', "holdfast_barrier_changes_total 7"],
    ],
    [
      { type: "lease", state: "readOnly", reason: "" },
      ['holdfast_store_lease_changes_total{state="readOnly"} 1'],
    ],
    [{ type: "lock", result: "contended" }, ['holdfast_locks_total{result="contended"} 1']],
    [
      { type: "casConflict", operation: "Activate" },
      ['holdfast_cas_conflicts_total{operation="Activate"} 1'],
    ],
    [{ type: "coveredRead", waited: true }, ['holdfast_covered_reads_total{waited="true"} 1']],
    [{ type: "unwrap", durationMs: 1, ok: false }, ['holdfast_unwrap_seconds_count{ok="false"} 1']],
    [
      {
        type: "rootCall",
        root: "hpcs",
        action: "unwrap",
        status: 503,
        correlationId: "",
        attempt: 1,
        durationMs: 1,
      },
      ['holdfast_root_call_seconds_count{root="hpcs",action="unwrap",status="503"} 1'],
    ],
    [{ type: "warning", message: "w" }, ["holdfast_warnings_total 1"]],
    [
      { type: "certificate", purpose: "peer", loaded: false, detail: "" },
      ['holdfast_certificate_reloads_total{purpose="peer",loaded="false"} 1'],
    ],
    [
      { type: "push", region: "b", result: "alone", records: 3, durationMs: 500 },
      [
        'holdfast_pushed_records_total{peer_region="b",result="alone"} 3',
        'holdfast_push_seconds_sum{peer_region="b",result="alone"} 0.5',
      ],
    ],
    [
      { type: "join", region: "b", result: "quarantined" },
      ['holdfast_joins_total{peer_region="b",result="quarantined"} 1'],
    ],
    [
      { type: "clockAhead", region: "b", ms: 1500 },
      [
        'holdfast_clock_ahead_total{peer_region="b"} 1',
        'holdfast_clock_ahead_seconds{peer_region="b"} 1.5',
      ],
    ],
    [
      { type: "agreement", result: "refused", durationMs: 2 },
      ['holdfast_agreements_total{result="refused"} 1'],
    ],
    [
      { type: "serving", from: "remote", writes: true, reason: "" },
      ['holdfast_serving_changes_total{from="remote",writes="true"} 1'],
    ],
    [
      { type: "peer", region: "b", state: "down", reason: "" },
      ['holdfast_peer_changes_total{peer_region="b",state="down"} 1'],
    ],
    [
      { type: "leader", state: "leader", epoch: 7, reason: "" },
      ['holdfast_leader_changes_total{state="leader"} 1', "holdfast_leader_epoch 7"],
    ],
    [
      { type: "duty", duty: "catch-up", ok: true, durationMs: 3, done: 5, left: 2 },
      [
        'holdfast_duty_done_total{duty="catch-up"} 5',
        'holdfast_duty_left{duty="catch-up"} 2',
        'holdfast_duty_seconds_count{duty="catch-up",ok="true"} 1',
      ],
    ],
    [
      { type: "behind", region: "b", changes: 12 },
      ['holdfast_replication_lag_changes{peer_region="b"} 12'],
    ],
    [
      { type: "unprovenLeft", region: "b", records: 2 },
      ['holdfast_unproven_records{peer_region="b"} 2'],
    ],
    [{ type: "duplicateNames", names: 2 }, ["holdfast_duplicate_names 2"]],
    [{ type: "restorable", keys: 3 }, ["holdfast_restorable_keys 3"]],
    [
      { type: "peerRefused", address: "", reason: "x", kind: "flood" },
      ['holdfast_peer_refusals_total{reason="flood"} 1'],
    ],
    [
      { type: "listener", open: true, address: "" },
      ['holdfast_listener_changes_total{open="true"} 1'],
    ],
  ])("an event changes its metrics: %o", async (event, expected) => {
    const lines = await linesAfter(event);
    for (const line of expected) expect(lines).toContain(line);
  });

  test("a node that no longer leads shows no gauge of a leader", async () => {
    const duty = { type: "duty", duty: "dates", durationMs: 1, done: 0, left: 3 } as const;
    const leads: NodeEvent[] = [
      { type: "leader", state: "leader", epoch: 7, reason: "" },
      { ...duty, ok: true },
      { ...duty, ok: false, left: 4 },
    ];
    const beforeMs = Date.now();
    const leading = await linesAfter(...leads);
    expect(leading).toContain('holdfast_duty_left{duty="dates"} 4');
    expect(leading.some((line) => line.startsWith("holdfast_replication_lag"))).toBe(false);
    const success = leading.find((line) => line.startsWith("holdfast_duty_success_timestamp"));
    const successMs = Number(success?.split(" ")[1]) * 1000;
    expect(successMs).toBeGreaterThanOrEqual(beforeMs - 1000);
    expect(successMs).toBeLessThanOrEqual(Date.now() + 1000);
    const deposed = await linesAfter(...leads, {
      type: "leader",
      state: "follower",
      epoch: 7,
      reason: "",
    });
    const known = deposed.filter((line) =>
      /^holdfast_(leader_epoch|duty_(left|success))/.test(line),
    );
    expect(known).toEqual([]);
    expect(deposed).toContain('holdfast_duty_seconds_count{duty="dates",ok="false"} 1');
  });

  test("gauges are read when they are scraped", async () => {
    const metrics = new Metrics(Date.now);
    metrics.watch({
      build: { version: "1", region: "eu", node: "a" },
      endpoint: () => ({ connectionCount: 3, handshakeCount: 1, heldBytes: 9, listening: true }),
      health: () => ({
        services: { "": true, "holdfast.write": false },
        lease: "readOnly",
        serving: { from: "remote", writes: true },
        rootOfTrust: true,
        parts: { store: false, "peer b": true },
      }),
      peers: () => [
        { region: "b", state: "up" },
        { region: "c", state: "down" },
        { region: "d", state: "retired" },
      ],
      leads: () => false,
      quarantined: () => 2,
      certificates: () => [
        {
          kind: "server",
          owner: "kmip",
          subject: 'CN="a"',
          fingerprint: "ff",
          notBeforeMs: 0,
          notAfterMs: 1500,
        },
      ],
    });
    const lines = (await metrics.print()).split("\n");
    for (const line of [
      "holdfast_connections 3",
      "holdfast_handshakes_in_progress 1",
      "holdfast_in_flight_bytes 9",
      "holdfast_listener_open 1",
      'holdfast_serving{service=""} 1',
      'holdfast_serving{service="holdfast.write"} 0',
      'holdfast_store_lease{state="readOnly"} 1',
      'holdfast_store_lease{state="full"} 0',
      'holdfast_serving_source{from="remote"} 1',
      'holdfast_serving_source{from="local"} 0',
      'holdfast_part_ok{part="store"} 0',
      'holdfast_part_ok{part="peer b"} 1',
      'holdfast_peer_up{peer_region="b"} 1',
      'holdfast_peer_up{peer_region="c"} 0',
      "holdfast_leader 0",
      "holdfast_quarantined_records 2",
      "holdfast_root_of_trust_ok 1",
      'holdfast_certificate_not_after_seconds{kind="server",owner="kmip",subject="CN=\\"a\\"",fingerprint="ff"} 1',
      'holdfast_build_info{version="1",region="eu",node="a"} 1',
    ]) {
      expect(lines).toContain(line);
    }
    // An operator retired this region, so no alert must fire for it.
    expect(lines.some((line) => line.startsWith('holdfast_peer_up{peer_region="d"}'))).toBe(false);
  });

  test("series with known labels exist at 0 before their first event", async () => {
    const metrics = new Metrics(Date.now);
    metrics.watch({ ...unknownNode, peers: () => [{ region: "b", state: "up" }] });
    const before = await metrics.print();
    for (const line of [
      'holdfast_pushed_records_total{peer_region="b",result="alone"} 0',
      'holdfast_push_seconds_count{peer_region="b",result="alone"} 0',
      'holdfast_peer_refusals_total{reason="stranger"} 0',
      'holdfast_handshake_failures_total{reason="needsKmipBasic"} 0',
      'holdfast_admin_requests_total{operation="createInstance",status="500"} 0',
      'holdfast_leader_changes_total{state="leader"} 0',
      'holdfast_clock_ahead_total{peer_region="b"} 0',
      "holdfast_request_failures_total 0",
      "holdfast_audit_lost_total 0",
    ]) {
      expect(before.split("\n")).toContain(line);
    }
    metrics.observe({ type: "push", region: "b", result: "alone", records: 2, durationMs: 1 });
    expect(await metrics.print()).toContain(
      'holdfast_pushed_records_total{peer_region="b",result="alone"} 2\n',
    );
  });

  test("every metric in the tables is printed, and no other Holdfast metric", async () => {
    const text = (await linesAfter(operation)).join("\n");
    const named = [...eventMetrics, ...readMetrics].map(({ name }) => name);
    const printed = [...text.matchAll(/^# TYPE (holdfast_\w+) /gm)].map(([, name]) => name);
    expect(printed.toSorted()).toEqual(named.toSorted());
    for (const [name] of processMetrics) expect(text).toContain(`# TYPE ${name} `);
  });

  test("label values beyond the limit are counted as other", async () => {
    const events = Array.from({ length: 3000 }, (_, at) => ({
      ...operation,
      operation: `Op${at}`,
    }));
    const lines = await linesAfter(...events);
    const series = lines.filter((line) => line.startsWith("holdfast_requests_total{"));
    expect(series).toHaveLength(2001);
    expect(series.at(-1)).toBe(
      'holdfast_requests_total{operation="other",version="other",result="other"} 1000',
    );
  });
});

test("the names of metrics are types: an unknown name does not compile", () => {
  const counter: CounterName = "holdfast_requests_total";
  const gauge: GaugeName = "holdfast_leader";
  const histogram: HistogramName = "holdfast_request_seconds";
  // @ts-expect-error: no metric has this name.
  const wrong: CounterName = "holdfast_request_total";
  // @ts-expect-error: it is a counter.
  const other: GaugeName = "holdfast_requests_total";
  const names = [...eventMetrics, ...readMetrics].map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining([counter, gauge, histogram, other]));
  expect(names).not.toContain(wrong);
});

test("delays of the event loop are shown from the node's own samples, those since the last scrape", async () => {
  const metrics = new Metrics(Date.now);
  const lag = async () =>
    new Map(
      (await metrics.print())
        .split("\n")
        .filter((line) => line.startsWith("nodejs_eventloop_lag"))
        .map((line) => [line.split(" ")[0], Number(line.split(" ")[1])] as const),
    );
  for (let at = 0; at < 99; at++) metrics.late(10);
  metrics.late(500);
  const busy = await lag();
  expect(busy.get("nodejs_eventloop_lag_seconds")).toBe(0.5);
  expect(busy.get("nodejs_eventloop_lag_max_seconds")).toBeCloseTo(0.5, 2);
  expect(busy.get("nodejs_eventloop_lag_p50_seconds")).toBeCloseTo(0.01, 3);
  expect(busy.get("nodejs_eventloop_lag_p99_seconds")).toBeCloseTo(0.01, 3);
  expect([...(await lag()).values()]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
});
