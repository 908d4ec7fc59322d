import { counter, type EventMetric, lastSaid, none, seconds } from "./metric-row.ts";

/** What events of the audit trail move. */
export const auditMetrics = [
  counter(
    "holdfast_audit_shipped_total",
    "auditSink",
    "Audit entries that a sink was given; each at least once, so a change of leader may count some twice.",
    ["sink"],
    ({ sink }) => [sink],
    ({ entries }) => entries,
  ),
  seconds(
    "holdfast_audit_ship_seconds",
    "auditSink",
    "Time of one try to give a sink what it has not.",
    ({ durationMs }) => durationMs,
    ["sink", "ok"],
    ({ sink, ok }) => [sink, String(ok)],
  ),
  {
    ...lastSaid(
      "holdfast_audit_sink_ok",
      "auditSink",
      "1 while the last try to give a sink audit entries succeeded. Shown by the leader.",
      ({ ok }) => (ok ? 1 : 0),
      ["sink"],
      ({ sink }) => [sink],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_audit_sink_behind",
      "auditSink",
      "Chained audit entries that a sink has not. Shown by the leader.",
      ({ behind }) => behind,
      ["sink"],
      ({ sink }) => [sink],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_audit_sink_lag_seconds",
      "auditSink",
      "Age of the oldest audit entry that a sink has not. Shown by the leader.",
      ({ lagMs }) => lagMs / 1000,
      ["sink"],
      ({ sink }) => [sink],
    ),
    ofLeader: true,
  },
  counter(
    "holdfast_audit_lost_total",
    "auditLost",
    "Audit entries that the store gave up at its bound before they were chained or shipped.",
    none,
    undefined,
    ({ entries }) => entries,
  ),
  counter(
    "holdfast_audit_faults_total",
    "auditFault",
    "Places where the audit trail is not what its chain says. Any is worth an alarm.",
  ),
] as const satisfies readonly EventMetric[];
