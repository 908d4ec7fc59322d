import { kekGivings, peerRefusals } from "@holdfast/engine";
import { auditMetrics } from "./metric-audit.ts";
import {
  booleans,
  combinations,
  counter,
  type EventMetric,
  fromStart,
  lastSaid,
  type NodeReadings,
  seconds,
} from "./metric-row.ts";

const pushResults = ["shared", "alone"] as const;
const agreed = ["agreed", "refused", "unknown"] as const;

/** The other regions that this node's configuration names. */
function peersOf(node: NodeReadings): readonly string[] {
  return node.peers().map(({ region }) => region);
}

/** Metrics that events of the two regions and of the leader change. */
export const regionMetrics = [
  fromStart(
    counter(
      "holdfast_serving_changes_total",
      "serving",
      "Switches of the store that clients are served from, by the new store and whether it accepts changes.",
      ["from", "writes"],
      ({ from, writes }) => [from, String(writes)],
    ),
    () => combinations(["local", "remote", "none"], booleans),
  ),
  fromStart(
    counter(
      "holdfast_peer_changes_total",
      "peer",
      "Changes of the known state of the other region: up, down or retired.",
      ["peer_region", "state"],
      ({ region, state }) => [region, state],
    ),
    (node) => combinations(peersOf(node), ["up", "down", "retired"]),
  ),
  fromStart(
    counter(
      "holdfast_pushed_records_total",
      "push",
      "Changed records acknowledged to clients, by whether the other region had acknowledged them too (shared) or only this one (alone). Those acknowledged alone are lost if this region's store is lost for good before the other region has caught up.",
      ["peer_region", "result"],
      ({ region, result }) => [region, result],
      ({ records }) => records,
    ),
    (node) => combinations(peersOf(node), pushResults),
  ),
  fromStart(
    seconds(
      "holdfast_push_seconds",
      "push",
      "Time that a change waited for the other region's acknowledgement.",
      ({ durationMs }) => durationMs,
      ["peer_region", "result"],
      ({ region, result }) => [region, result],
    ),
    (node) => combinations(peersOf(node), pushResults),
  ),
  lastSaid(
    "holdfast_alone_timestamp_seconds",
    "push",
    "When a change was last acknowledged by this region alone, seconds since the epoch.",
    ({ result }, nowMs) => (result === "alone" ? nowMs() / 1000 : undefined),
    ["peer_region"],
    ({ region }) => [region],
  ),
  fromStart(
    counter(
      "holdfast_joins_total",
      "join",
      "Copies received from the other region, by what this region did with them.",
      ["peer_region", "result"],
      ({ region, result }) => [region, result],
    ),
    (node) =>
      combinations(peersOf(node), [
        "written",
        "same",
        "reserved",
        "quarantined",
        "refused",
        "unproven",
        "unreadable",
      ]),
  ),
  fromStart(
    counter(
      "holdfast_clock_ahead_total",
      "clockAhead",
      "Timestamps of the other region that were ahead of this node's clock.",
      ["peer_region"],
      ({ region }) => [region],
    ),
    (node) => combinations(peersOf(node)),
  ),
  lastSaid(
    "holdfast_clock_ahead_seconds",
    "clockAhead",
    "How far the last such timestamp was ahead.",
    ({ ms }) => ms / 1000,
    ["peer_region"],
    ({ region }) => [region],
  ),
  lastSaid(
    "holdfast_clock_offset_seconds",
    "clockOffset",
    "How far this node's clock is ahead of the store's or another region's, as last reported; negative if it is behind. Beyond 60 s this node decides no date of an object. Absent while no other clock is known.",
    ({ aheadMs }) => aheadMs / 1000,
    ["of"],
    ({ of }) => [of],
  ),
  fromStart(
    counter(
      "holdfast_agreements_total",
      "agreement",
      "Operations that all regions must agree on (Destroy): agreed, refused, or with an outcome that is still unknown.",
      ["result"],
      ({ result }) => [result],
    ),
    () => combinations(agreed),
  ),
  fromStart(
    seconds(
      "holdfast_agreement_seconds",
      "agreement",
      "Time of such an operation.",
      ({ durationMs }) => durationMs,
      ["result"],
      ({ result }) => [result],
    ),
    () => combinations(agreed),
  ),
  fromStart(
    counter(
      "holdfast_leader_changes_total",
      "leader",
      "Changes of this node's part in the region's leadership.",
      ["state"],
      ({ state }) => [state],
    ),
    () => combinations(["leader", "follower", "standing"]),
  ),
  {
    ...lastSaid(
      "holdfast_leader_epoch",
      "leader",
      "The leader's epoch; it increases with each new leader. Shown by the leader.",
      ({ state, epoch }) => (state === "leader" ? epoch : undefined),
    ),
    ofLeader: true,
  },
  seconds(
    "holdfast_duty_seconds",
    "duty",
    "Time of one run of a leader's duty.",
    ({ durationMs }) => durationMs,
    ["duty", "ok"],
    ({ duty, ok }) => [duty, String(ok)],
  ),
  counter(
    "holdfast_duty_done_total",
    "duty",
    "Work that a leader's duty has done: records joined, reservations resolved, dates written.",
    ["duty"],
    ({ duty }) => [duty],
    ({ done }) => done,
  ),
  {
    ...lastSaid(
      "holdfast_replication_lag_changes",
      "behind",
      "Changes of the other region that this region's leader had not processed when it last asked: that region's position minus the cursor. Most of them were pushed. Shown by the leader.",
      ({ changes }) => changes,
      ["peer_region"],
      ({ region }) => [region],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_unproven_records",
      "unprovenLeft",
      "Records of the other region whose change this one does not take, since nothing proves that it was approved as the policy asks. Shown by the leader.",
      ({ records }) => records,
      ["peer_region"],
      ({ region }) => [region],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_restorable_keys",
      "restorable",
      "Keys that were destroyed with a delay and can still be restored; counted up to 50,000. Those whose delay is over and that a region cannot agree on count too. Shown by the leader.",
      ({ keys }) => keys,
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_duplicate_names",
      "duplicateNames",
      "Names that two live objects of an instance share, because both regions assigned them while they could not reach each other; Locate returns the newer first. Shown by the leader.",
      ({ names }) => names,
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_duty_left",
      "duty",
      "Work that a leader's duty still has to do, as far as it knows. Shown by the leader.",
      ({ left }) => left,
      ["duty"],
      ({ duty }) => [duty],
    ),
    ofLeader: true,
  },
  {
    ...lastSaid(
      "holdfast_duty_success_timestamp_seconds",
      "duty",
      "When a leader's duty last succeeded, seconds since the epoch. Shown by the leader.",
      ({ ok }, nowMs) => (ok ? nowMs() / 1000 : undefined),
      ["duty"],
      ({ duty }) => [duty],
    ),
    ofLeader: true,
  },
  fromStart(
    counter(
      "holdfast_peer_refusals_total",
      "peerRefused",
      "Callers refused at the peer port: strangers, whose certificate or protocol is not a peer's; nodes that have a peer certificate and do not prove their region's key (`unproven`, also where this node called them); callers whose handshake did not complete, for example when the connection is lost; and floods. The log names them.",
      ["reason"],
      ({ kind }) => [kind],
    ),
    () => combinations(peerRefusals),
  ),
  fromStart(
    counter(
      "holdfast_keks_given_total",
      "kekGiven",
      "Requests of the other region for a key-encryption key: given because that region never had a wrap of it (`missing`), or by an order of this region (`ordered`); `refused` by these rules; or `failed`, since a store or a root of trust was out of reach.",
      ["result"],
      ({ result }) => [result],
    ),
    () => combinations(kekGivings),
  ),
  ...auditMetrics,
] as const satisfies readonly EventMetric[];
