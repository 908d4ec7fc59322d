import { expect, test } from "vitest";
import { unknownNode } from "../../testing/readings.ts";
import type { NodeEvent } from "../events.ts";
import type { NodeReadings } from "./metric-row.ts";
import { eventMetrics, readMetrics } from "./metric-table.ts";
import { Metrics } from "./metrics.ts";

/** A node that shows every metric. */
const everything: Required<NodeReadings> = {
  ...unknownNode,
  health: () => ({ ...unknownNode.health(), services: { "": true }, parts: { store: true } }),
  peers: () => [{ region: "b", state: "up" }],
  alone: () => 0,
  regionStores: () => [["a", 1]],
  leads: () => false,
  quarantined: () => 0,
  store: () => ({ usedBytes: 0, maxBytes: 1, aofBytes: 0, diskOk: true }),
  lockMasters: () => ({ masters: 1, answering: 1 }),
  instances: () => [["Installed", 1]],
  objects: () => [["vcenter", "Active", 1]],
  objectAges: () => [["vcenter", "older", 1]],
  backups: () => [{ region: "a", lastMs: 1, ok: true }],
  backupEveryMs: 1,
  roots: () => [
    ["local", "root", 1],
    ["hpcs", "hpcs m/k", 1],
  ],
  instanceKeys: () => [["open", 1]],
  keyTroubles: () => [],
  graceLeft: () => 0,
  keks: () => [["current", 1]],
  kekSeals: () => 1,
  rekeyLeft: () => 0,
  storageKeyLeft: () => 0,
  certificates: () => [
    {
      kind: "server",
      owner: "kmip",
      subject: "CN=a",
      fingerprint: "ff",
      notBeforeMs: 0,
      notAfterMs: 1,
    },
  ],
  crls: () => [
    {
      authority: "CN=VMCA",
      required: false,
      source: "vmca.crl",
      crl: undefined,
      inTime: false,
      fault: "",
    },
  ],
  denials: () => 0,
  breakGlass: () => [["signed", 0]],
  certificateCounts: () => [["server", "valid", 1]],
};

const read = readMetrics.filter((row) => row.read(unknownNode).length === 0);
const said = eventMetrics.filter(({ type }) => type === "gauge");
const absentSays = /absent|at the leader only|shown by the leader/i;

const duty = { type: "duty", duty: "dates", ok: true, durationMs: 1, done: 0, left: 0 } as const;
const sink = { type: "auditSink", sink: "file", ok: true, entries: 0, behind: 0 } as const;

/** An event of each type that moves a gauge. */
const events: Readonly<Record<string, NodeEvent>> = {
  push: { type: "push", region: "b", result: "alone", records: 1, durationMs: 1 },
  clockOffset: { type: "clockOffset", of: "the store", aheadMs: 0 },
  clockAhead: { type: "clockAhead", region: "b", ms: 0 },
  leader: { type: "leader", state: "leader", epoch: 1, reason: "" },
  behind: { type: "behind", region: "b", changes: 0 },
  unprovenLeft: { type: "unprovenLeft", region: "b", records: 0 },
  restorable: { type: "restorable", keys: 0 },
  duplicateNames: { type: "duplicateNames", names: 0 },
  duty,
  auditWitness: {
    ...{ type: "auditWitness", witness: "w1", ok: true, size: 1, behind: 0 },
    ...{ durationMs: 1, lagMs: 0 },
  },
  auditSink: { ...sink, durationMs: 1, lagMs: 0 },
};

/** The lines of a metric's series in the Prometheus format. */
async function seriesOf(metrics: Metrics, name: string): Promise<readonly string[]> {
  const lines = (await metrics.print()).split("\n");
  expect(lines).toContain(`# TYPE ${name} gauge`);
  return lines.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
}

test("this file covers every metric that can be absent according to its help text", () => {
  const tried = new Set([...read, ...said].map(({ name }) => name));
  const told = [...readMetrics, ...eventMetrics].filter(({ help }) => absentSays.test(help));
  expect(told.map(({ name }) => name).filter((name) => !tried.has(name))).toEqual([]);
  expect(tried).toContain("holdfast_root_grace_left_seconds");
  expect(tried).toContain("holdfast_root_end_timestamp_seconds");
  expect(tried).toContain("holdfast_leader");
});

test.each(read)("$name is present only while its value is known", async (row) => {
  const metrics = new Metrics(Date.now);
  expect(await seriesOf(metrics, row.name)).toEqual([]);
  for (const known of [unknownNode, everything, unknownNode, everything, unknownNode]) {
    metrics.watch(known);
    const series = await seriesOf(metrics, row.name);
    expect(series.length > 0).toBe(known === everything);
  }
});

test.each(said)("$name is absent before its event", async (row) => {
  const metrics = new Metrics(Date.now);
  expect(await seriesOf(metrics, row.name)).toEqual([]);
  const event = events[row.on];
  if (event === undefined) throw new Error(`no event ${row.on} in this test's table`);
  metrics.observe(event);
  expect(await seriesOf(metrics, row.name)).not.toEqual([]);
  metrics.observe({ type: "leader", state: "follower", epoch: 1, reason: "" });
  expect((await seriesOf(metrics, row.name)).length > 0).toBe(row.ofLeader !== true);
});
