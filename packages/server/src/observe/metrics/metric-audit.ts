import { counter, type EventMetric, lastSaid, none, seconds } from "./metric-row.ts";

/** Metrics that events of the audit trail change. */
export const auditMetrics = [
  counter(
    "holdfast_audit_shipped_total",
    "auditSink",
    "Audit entries delivered to a sink; each at least once, so a change of leader may count some twice.",
    ["sink"],
    ({ sink }) => [sink],
    ({ entries }) => entries,
  ),
  seconds(
    "holdfast_audit_ship_seconds",
    "auditSink",
    "Time of one try to deliver audit entries to a sink.",
    ({ durationMs }) => durationMs,
    ["sink", "ok"],
    ({ sink, ok }) => [sink, String(ok)],
  ),
  {
    ...lastSaid(
      "holdfast_audit_sink_ok",
      "auditSink",
      "1 while the last try to deliver audit entries to a sink succeeded. Shown by the leader.",
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
      "Chained audit entries that a sink does not have yet. Shown by the leader.",
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
      "Age of the oldest audit entry that a sink does not have yet. Shown by the leader.",
      ({ lagMs }) => lagMs / 1000,
      ["sink"],
      ({ sink }) => [sink],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_audit_witness_ok",
      "auditWitness",
      "1 while the last try to have a witness cosign the audit log succeeded. Shown by the leader.",
      ({ ok }) => (ok ? 1 : 0),
      ["witness"],
      ({ witness }) => [witness],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_audit_witness_behind",
      "auditWitness",
      "Leaves of the audit log that a witness has not cosigned yet. Shown by the leader.",
      ({ behind }) => behind,
      ["witness"],
      ({ witness }) => [witness],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_audit_witness_lag_seconds",
      "auditWitness",
      "How long a witness has not cosigned the whole audit log. Shown by the leader.",
      ({ lagMs }) => lagMs / 1000,
      ["witness"],
      ({ witness }) => [witness],
    ),
    ofLeader: true,
  },
  counter(
    "holdfast_audit_lost_total",
    "auditLost",
    "Audit entries that the store dropped at its size limit before they were chained or shipped.",
    none,
    undefined,
    ({ entries }) => entries,
  ),
  counter(
    "holdfast_audit_faults_total",
    "auditFault",
    "Places where the audit trail does not match its chain. Each is worth an alarm.",
  ),
] as const satisfies readonly EventMetric[];
