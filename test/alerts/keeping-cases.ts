import {
  beforeS,
  counted,
  critical,
  faultS,
  known,
  of,
  type RuleCase,
  slows,
  target,
  turns,
  warning,
} from "./rule-case.ts";

const dayS = 86_400;
const crl = { authority: "CN=VMCA", source: "vmca.crl" };
/** What the alert of this list says. */
const late = {
  labels: { ...warning, ...target, ...crl },
  summary: "Node a1 has no revocation list of CN=VMCA in time, or cannot read it: vmca.crl",
};

/** Cases for roots of trust, for backups, audit and certificates, and for access. */
export const keepingCases: readonly RuleCase[] = [
  {
    alert: "HoldfastRootOfTrust",
    input: { [of("holdfast_root_ok", { kind: "hpcs", root: "hpcs of eu-de" })]: turns(1, 0) },
    trueAt: faultS,
    after: 30,
    labels: { ...warning, region: "a", kind: "hpcs", root: "hpcs of eu-de" },
    summary: "Region a cannot use root of trust hpcs of eu-de",
  },
  {
    alert: "HoldfastRootSlow",
    input: slows("holdfast_root_call_seconds", { root: "hpcs", action: "unwrap", status: "200" }, [
      "1",
      "2.5",
    ]),
    trueAt: beforeS + 3 * 15,
    after: 120,
    labels: { ...warning, region: "a", root: "hpcs" },
    summary: "The hpcs key manager of region a takes 2.227s for a call",
  },
  {
    alert: "HoldfastGraceEnds",
    input: { [of("holdfast_root_grace_left_seconds")]: "3600-15x200" },
    trueAt: 915,
    after: 0,
    labels: { ...critical, region: "a" },
    summary: "Region a stops using open keys in 44m 45s: it cannot reach a key manager",
  },
  {
    alert: "HoldfastKeysClosed",
    input: { [of("holdfast_instance_keys", { state: "closed" })]: turns(0, 3) },
    trueAt: faultS,
    after: 30,
    labels: { ...critical, region: "a" },
    summary:
      "Region a cannot open the keys of 3 instances; their roots of trust refuse, or have been unreachable for too long",
  },
  {
    alert: "HoldfastInstanceShredded",
    input: { [of("holdfast_instance_keys", { state: "shredded" })]: turns(0, 1) },
    trueAt: faultS,
    after: 0,
    labels: { ...critical, region: "a" },
    summary:
      "Region a: 1 instances are shredded; their clients get no key until a manager revalidates them",
  },
  {
    alert: "HoldfastKeksStale",
    input: { [of("holdfast_keks", { under: "stale" })]: turns(0, 4) },
    trueAt: faultS,
    after: 900,
    labels: { ...warning, region: "a" },
    summary:
      "4 key-encryption keys and storage keys of region a are still wrapped under an old version of the root key, or under another root key",
  },
  {
    alert: "HoldfastKekSeals",
    input: { [of("holdfast_kek_seals")]: turns(2_147_483_648, 2_147_483_649) },
    trueAt: faultS,
    after: 0,
    labels: warning,
    summary:
      "A key-encryption key has sealed 2.147483649e+09 times: rekey its instance before it comes to 2^32",
  },
  rootEnd("HoldfastRootEnds", 180, warning, "179d 23h 59m 45s"),
  rootEnd("HoldfastRootEndsSoon", 45, critical, "44d 23h 59m 45s; then every key under it is lost"),
  {
    alert: "HoldfastInstanceStuck",
    input: {
      [of("holdfast_instances", { status: "Removing" })]: turns(0, 1),
      [of("holdfast_instances", { status: "Installed" })]: turns(5, 5),
    },
    trueAt: faultS,
    after: 600,
    labels: { ...warning, status: "Removing" },
    summary: "1 instances have been Removing for ten minutes",
  },
  certificate("HoldfastCertificateEnds", 45, warning, "44d 23h 59m 45s"),
  certificate(
    "HoldfastCertificateEndsSoon",
    7,
    critical,
    "6d 23h 59m 45s; then connections that need it fail",
  ),
  certificate("HoldfastCertificateEnds", 45, warning, "44d 23h 59m 45s", {
    kind: "redis",
    owner: "10.20.0.21:6379",
  }),
  {
    alert: "HoldfastBackupOld",
    name: "the last good backup is two intervals old",
    input: {
      [of("holdfast_backup_last_success_timestamp_seconds", { backup_region: "a" })]: "300x200",
      [of("holdfast_backup_interval_seconds", { backup_region: "a" })]: "600x200",
    },
    trueAt: 300 + 2 * 600 + 15,
    after: 900,
    labels: { ...warning, backup_region: "a" },
    summary: "Region a has had no successful backup for two intervals",
  },
  {
    alert: "HoldfastBackupOld",
    name: "there never was a good backup",
    input: { [of("holdfast_backup_interval_seconds", { backup_region: "a" })]: "_x21 600x200" },
    trueAt: faultS,
    after: 900,
    labels: { ...warning, backup_region: "a" },
    summary: "Region a has had no successful backup for two intervals",
  },
  {
    alert: "HoldfastBackupFails",
    input: { [of("holdfast_backup_ok", { backup_region: "a" })]: turns(1, 0) },
    trueAt: faultS,
    after: 60,
    labels: { ...warning, backup_region: "a" },
    summary: "The last scheduled backup of region a failed",
  },
  {
    alert: "HoldfastAuditSinkOut",
    name: "it refuses",
    input: { [of("holdfast_audit_sink_ok", { sink: "webhook" })]: turns(1, 0) },
    trueAt: faultS,
    after: 120,
    labels: { ...warning, region: "a", sink: "webhook" },
    summary: "Audit events of region a do not reach sink webhook; they wait in the store",
  },
  {
    alert: "HoldfastAuditSinkOut",
    name: "the sink is too slow",
    input: {
      [of("holdfast_audit_sink_ok", { sink: "webhook" })]: known,
      [of("holdfast_audit_sink_lag_seconds", { sink: "webhook" })]: turns(300, 301),
    },
    trueAt: faultS,
    after: 120,
    labels: { ...warning, region: "a", sink: "webhook" },
    summary: "Audit events of region a do not reach sink webhook; they wait in the store",
  },
  {
    alert: "HoldfastAuditNotWitnessed",
    name: "it refuses",
    input: { [of("holdfast_audit_witness_ok", { witness: "w1" })]: turns(1, 0) },
    trueAt: faultS,
    after: 120,
    labels: { ...warning, region: "a", witness: "w1" },
    summary: "Witness w1 does not cosign the audit log of region a",
  },
  {
    alert: "HoldfastAuditNotWitnessed",
    name: "it is late",
    input: {
      [of("holdfast_audit_witness_ok", { witness: "w1" })]: known,
      [of("holdfast_audit_witness_lag_seconds", { witness: "w1" })]: turns(60, 61),
    },
    trueAt: faultS,
    after: 120,
    labels: { ...warning, region: "a", witness: "w1" },
    summary: "Witness w1 does not cosign the audit log of region a",
  },
  {
    alert: "HoldfastAuditLost",
    input: { [of("holdfast_audit_lost_total")]: counted },
    trueAt: faultS,
    after: 0,
    labels: { ...critical, ...target },
    summary: "Audit entries were discarded before they were chained or shipped (a1)",
  },
  {
    alert: "HoldfastAuditFault",
    input: { [of("holdfast_audit_faults_total")]: counted },
    trueAt: faultS,
    after: 0,
    labels: { ...critical, ...target },
    summary:
      "The audit trail does not match its chain: somebody changed it, or the store is damaged (a1)",
  },
  {
    alert: "HoldfastStrangersAtAdminApi",
    input: {
      [of("holdfast_admin_denied_total", { reason: "missing" })]: "0x20 20x5 21x200",
      [of("holdfast_admin_denied_total", { reason: "role" })]: "0x220",
    },
    trueAt: faultS + 6 * 15,
    after: 0,
    labels: { ...warning, region: "a", instance: "a1" },
    summary: "The management API of a1 denied more than twenty requests in five minutes",
  },
  {
    alert: "HoldfastPasswordsGuessed",
    input: { [of("holdfast_password_refusals_total")]: "0x20 20x5 21x200" },
    trueAt: faultS + 6 * 15,
    after: 0,
    labels: { ...warning, ...target },
    summary: "Node a1 refused more than twenty user names or passwords in five minutes",
  },
  {
    alert: "HoldfastManyDenials",
    input: { [of("holdfast_denials")]: "5x45 15x5 16x200" },
    trueAt: 780,
    after: 0,
    labels: warning,
    summary: "More than ten client certificates were put on the deny list within ten minutes (11)",
  },
  {
    alert: "HoldfastUnproven",
    input: { [of("holdfast_unproven_records", { peer_region: "b" })]: turns(0, 2) },
    trueAt: faultS,
    after: 300,
    labels: { ...critical, region: "a", peer_region: "b" },
    summary: "Region a does not take 2 changes of region b: nothing proves that they were approved",
  },
  {
    alert: "HoldfastBreakGlass",
    input: {
      [of("holdfast_break_glass", { kind: "signed" })]: turns(0, 1),
      [of("holdfast_break_glass", { kind: "policy" })]: "0x240",
    },
    trueAt: faultS,
    after: 0,
    labels: { severity: "critical", kind: "signed" },
    summary:
      "A way around the approvers was taken (signed): a break-glass key, or a reset of the approval policy",
  },
  {
    alert: "HoldfastRevocationList",
    name: "it cannot be read",
    input: { [of("holdfast_crl_ok", crl)]: turns(1, 0) },
    trueAt: faultS,
    after: 120,
    ...late,
  },
  {
    alert: "HoldfastRevocationList",
    name: "it has ended",
    input: {
      [of("holdfast_crl_ok", crl)]: known,
      [of("holdfast_crl_next_update_seconds", crl)]: "600x200",
    },
    trueAt: 615,
    after: 120,
    ...late,
  },
  {
    alert: "HoldfastAdminApiFails",
    input: {
      [of("holdfast_admin_requests_total", { operation: "createToken", status: "500" })]: counted,
    },
    trueAt: faultS,
    after: 0,
    labels: { ...warning, region: "a", instance: "a1", operation: "createToken" },
    summary: "Node a1 answered createToken with an internal error",
  },
  {
    alert: "HoldfastAdminApiFails",
    name: "the first fault creates the series",
    input: {
      [of("up")]: known,
      [of("holdfast_admin_requests_total", { operation: "createToken", status: "500" })]:
        "_x21 1x200",
    },
    trueAt: faultS,
    after: 0,
    labels: { ...warning, region: "a", instance: "a1", operation: "createToken" },
    summary: "Node a1 answered createToken with an internal error",
  },
];

/** A root key that both nodes have open, in a service that ends in less than `days`. */
function rootEnd(
  alert: string,
  days: number,
  severity: Readonly<Record<string, string>>,
  left: string,
): RuleCase {
  const root = { kind: "hpcs", root: "hpcs of eu-de" };
  const name = "holdfast_root_end_timestamp_seconds";
  const end = `${days * dayS + beforeS}x200`;
  return {
    alert,
    input: { [of(name, root)]: end, [of(name, { ...root, instance: "a2" })]: end },
    trueAt: faultS,
    after: 0,
    labels: { ...severity, region: "a", ...root },
    summary: `Region a uses a root key in hpcs, which its vendor ends in ${left}`,
  };
}

/** A certificate that every node reports, which expires in less than `days`. */
function certificate(
  alert: string,
  days: number,
  severity: Readonly<Record<string, string>>,
  left: string,
  whose = { kind: "client", owner: "vcenter" },
): RuleCase {
  const labels = { ...whose, subject: "CN=vc", fingerprint: "ff" };
  const name = "holdfast_certificate_not_after_seconds";
  const end = `${days * dayS + beforeS}x200`;
  return {
    alert,
    name: whose.kind,
    input: { [of(name, labels)]: end, [of(name, { ...labels, instance: "a2" })]: end },
    trueAt: faultS,
    after: 0,
    labels: { ...severity, ...labels },
    summary: `Certificate CN=vc (${whose.kind} of ${whose.owner}) expires in ${left}`,
  };
}
