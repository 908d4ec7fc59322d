import {
  type ApprovalPolicy,
  type Approver,
  cancelText,
  canonicalJson,
  digestOf,
  type InstancePart,
  type PolicyPart,
  parsePolicy,
  policyText,
  readSignatures,
  type SignatureLine,
  signersOf,
  unadmitted,
} from "@holdfast/admin";
import type { SystemRecord } from "@holdfast/engine";
import type { SystemView } from "../records/system-view.ts";

/** A genuine version of the approval policy. */
export interface PolicyVersion {
  readonly id: string;
  readonly policy: ApprovalPolicy;
  readonly text: string;
  /** SHA-256 of the text, hex. */
  readonly digest: string;
  /** Of a change that waits and that no region's leader has seen: the earliest possible time. */
  readonly effectiveMs: number;
  /** It waits 72 hours, since not all of its approvers signed it: a break-glass key did, or it is a reset. */
  readonly delayed: boolean;
}

/** The policy as it is now. */
export interface Standing {
  /** The last version in effect, a reset included; undefined before the first. */
  readonly last: PolicyVersion | undefined;
  /** The same, if it needs approvals. */
  readonly inForce: PolicyVersion | undefined;
  /** Changes that take effect later unless they are cancelled. */
  readonly waiting: readonly PolicyVersion[];
  /** All that took effect, the first one first. */
  readonly versions: readonly PolicyVersion[];
}

type PolicyRecord = SystemRecord<"ApprovalPolicy">;

/** How long a change waits that the approvers did not sign, from when the first region's leader saw it. */
const delayMs = 72 * 3_600_000;

/** When it is, and where: a region believes only its own leader that it has waited. */
export interface StandingAt {
  readonly nowMs: number;
  /** Unless given, the first region's leader counts: enough to show the policy, or to begin a wait. */
  readonly region?: string;
}

/**
 * The policy by its records: each version is believed only if the version before allows it. Where several follow the
 * same version, which only regions that were cut apart can make, the first in time counts, in every region.
 */
export function standingOf(records: readonly PolicyRecord[], at: number | StandingAt): Standing {
  const when = typeof at === "number" ? { nowMs: at } : at;
  const versions: PolicyVersion[] = [];
  for (;;) {
    const last = versions.at(-1);
    const { next, waiting } = following(records, last, when);
    if (next === undefined) {
      const inForce = last !== undefined && last.policy.approvals > 0 ? last : undefined;
      return { last, inForce, waiting, versions };
    }
    versions.push(next);
  }
}

function following(
  records: readonly PolicyRecord[],
  last: PolicyVersion | undefined,
  at: StandingAt,
): { readonly next: PolicyVersion | undefined; readonly waiting: readonly PolicyVersion[] } {
  const candidates = records
    .flatMap((record) => {
      const version = successor(record, last, at);
      return version === undefined ? [] : [{ record, version }];
    })
    .toSorted((one, other) => order(one.version, other.version));
  /** Who has cancelled alone a change of this version: that counts once. */
  const spent = new Set<string>();
  const standing = candidates
    .filter(({ record, version }) => !version.delayed || !isCancelled(record, last, spent))
    .map(({ version }) => version);
  return {
    next: standing.find(({ delayed, effectiveMs }) => !delayed || effectiveMs <= at.nowMs),
    waiting: standing.filter(({ delayed, effectiveMs }) => delayed && effectiveMs > at.nowMs),
  };
}

function order(one: PolicyVersion, other: PolicyVersion): number {
  return one.effectiveMs - other.effectiveMs || (one.id < other.id ? -1 : 1);
}

/** How many changes that wait follow a version, resets left out and those that were cancelled included. */
export function delayedCount(
  records: readonly PolicyRecord[],
  last: PolicyVersion,
  nowMs: number,
): number {
  const found = records.map((record) => successor(record, last, { nowMs }));
  return found.filter((version) => version?.delayed && version.policy.approvals > 0).length;
}

/** What a record says, and as what it may follow a version, by that one's digest. */
interface Reading {
  readonly policy: ApprovalPolicy | undefined;
  readonly digest: string;
  readonly signatures: readonly SignatureLine[];
  readonly follows: Map<string | undefined, "signed" | "waits" | "not">;
}

/** Each record is read and verified once, since all are looked at each second. One that changes is another object. */
const readings = new WeakMap<object, Reading>();

function readingOf(record: Pick<PolicyRecord, "text" | "signatures">): Reading {
  const known = readings.get(record);
  if (known !== undefined) return known;
  const policy = parsePolicy(record.text);
  const lines = readSignatures(record.signatures);
  const reading: Reading = {
    policy: typeof policy === "string" ? undefined : policy,
    digest: digestOf(record.text),
    signatures: typeof lines === "string" ? [] : lines,
    follows: new Map(),
  };
  readings.set(record, reading);
  return reading;
}

/**
 * Why a reader cannot tell what needs approvals: a version of the policy that it cannot read may ask for more than those
 * that it can. `reader` is who reads, such as "node a1". Undefined if it reads all of them.
 */
export function unreadFault(
  view: Pick<SystemView, "all" | "unreadPolicies">,
  reader: string,
): string | undefined {
  if (view.unreadPolicies.size > 0) {
    return "a record of the approval policy is damaged, or older than this node remembers, so nobody can tell what needs approvals: mend it (docs/approvals.md, A damaged policy)";
  }
  return newerFault(view, reader);
}

/** Whether a text begins as an approval policy, of any format. */
export function isPolicyText(text: string): boolean {
  return /^holdfast-approval-policy-\d{1,9}\n/.test(text);
}

/** The same about versions that are whole, and that a newer version of Holdfast has written. */
export function newerFault(view: Pick<SystemView, "all">, reader: string): string | undefined {
  const isRead = (one: PolicyRecord) =>
    readingOf(one).policy !== undefined || !isPolicyText(one.text);
  if (view.all("ApprovalPolicy").every(isRead)) return undefined;
  return `${reader} cannot read a version of the approval policy, which a newer version of Holdfast may have written, so it cannot tell what needs approvals: upgrade it, or use a node that was upgraded (docs/approvals.md)`;
}

/** A record as the version that follows `last`; undefined if `last` does not allow it. */
function successor(
  record: PolicyRecord,
  last: PolicyVersion | undefined,
  at: StandingAt,
): PolicyVersion | undefined {
  const { id, text, createdMs, seen } = record;
  const { policy, digest, signatures, follows } = readingOf(record);
  if (policy === undefined || followFault(policy, last) !== undefined) return undefined;
  const as = follows.get(last?.digest) ?? followsAs(policy, last?.policy, signatures);
  follows.set(last?.digest, as);
  if (as === "not") return undefined;
  // The time that its author names proves nothing: leaders note when they saw it, and only while their clocks agree.
  const effectiveMs = as === "waits" ? waitedMs(seen, at) : createdMs;
  return { id, policy, text, digest, effectiveMs, delayed: as === "waits" };
}

function followsAs(
  policy: ApprovalPolicy,
  last: ApprovalPolicy | undefined,
  lines: readonly SignatureLine[],
): "signed" | "waits" | "not" {
  if (unadmitted(policy, last, lines).length > 0) return "not";
  if (last === undefined || unsignedParts(policy, last, lines).length === 0) return "signed";
  return mayWait(policy, last, lines) ? "waits" : "not";
}

/**
 * When a change that waits takes effect. Where a region must believe it, its own leader has waited: another region's word
 * ends no wait. Once it has, the first one that saw it counts, so that all regions have the same history.
 */
function waitedMs(seen: PolicyRecord["seen"], { nowMs, region }: StandingAt): number {
  const all = Object.values<number | undefined>(seen).map((ms) => ms ?? nowMs);
  const firstMs = Math.min(nowMs, ...all) + delayMs;
  if (region === undefined) return firstMs;
  const ownMs = Math.min(nowMs, seen[region] ?? nowMs) + delayMs;
  return ownMs <= nowMs ? firstMs : ownMs;
}

/** Why a policy is not the next version; undefined if it is. */
export function followFault(
  policy: ApprovalPolicy,
  last: PolicyVersion | undefined,
): string | undefined {
  if (last === undefined) {
    return policy.version === 1 ? undefined : "there is no policy yet: draft version 1";
  }
  const { version, system } = last.policy;
  if (policy.version !== version + 1 || policy.previous !== last.digest) {
    return `the policy in effect is version ${version}, and this does not follow it: draft it again with --after`;
  }
  return policy.system === system ? undefined : "it is the policy of another system";
}

/** Whether as many approvers of a part of a policy signed a text as it says; after a reset, nobody needs to. */
export function isSigned(
  text: string,
  { approvers, approvals }: PolicyPart,
  lines: readonly SignatureLine[],
): boolean {
  return signersOf(text, approvers, lines).length >= approvals;
}

/**
 * The parts of the last version whose approvers have not signed the next one: the system's, and that of each instance
 * whose part the next one changes or ends.
 */
export function unsignedParts(
  policy: ApprovalPolicy,
  last: ApprovalPolicy,
  lines: readonly SignatureLine[],
): readonly (PolicyPart | InstancePart)[] {
  const text = policyText(policy);
  const kept = new Set(policy.instances.map(canonicalJson));
  const changed = last.instances.filter((part) => !kept.has(canonicalJson(part)));
  return [last, ...changed].filter((part) => !isSigned(text, part, lines));
}

/** Whether a version that not all sign takes effect later: most sign, a break-glass key does, or it is a reset. */
function mayWait(
  policy: ApprovalPolicy,
  last: ApprovalPolicy,
  lines: readonly SignatureLine[],
): boolean {
  const text = policyText(policy);
  return (
    isSigned(text, last, lines) || breakGlassSigned(text, last, lines) || policy.approvals === 0
  );
}

/** The break-glass keys that signed, each with its reason. */
export function breakGlassSigned(
  text: string,
  { breakGlass }: PolicyPart,
  lines: readonly SignatureLine[],
): boolean {
  const reasoned = lines.filter(({ reason }) => reason !== undefined);
  return signersOf(text, breakGlass, reasoned).length > 0;
}

function isCancelled(
  record: PolicyRecord,
  last: PolicyVersion | undefined,
  spent: Set<string>,
): boolean {
  const groups = cancellersByPart(record, last);
  const signers = cancellers(record, last);
  if (signers.length === 0) return false;
  if (groups.some((one) => one.signers.length >= one.part.approvals)) return true;
  const first = signers.find(({ key }) => !spent.has(key));
  if (first === undefined) return false;
  spent.add(first.key);
  return true;
}

/** What says who has cancelled a change that waits. */
type Cancelled = Pick<PolicyRecord, "id" | "text" | "signatures" | "cancelled">;

/** Those who may cancel a change that waits, and signed that it is cancelled. */
export function cancellers(
  record: Cancelled,
  last: PolicyVersion | undefined,
): readonly Approver[] {
  const all = cancellersByPart(record, last).flatMap(({ signers }) => signers);
  return [...new Map(all.map((one) => [one.key, one])).values()];
}

/**
 * The approvers of the system may cancel every change that waits. What they signed themselves waits for the approvers of
 * instances, who may cancel it too; they cannot cancel a reset, which is the way back if keys are lost.
 */
export function cancellersByPart(
  record: Cancelled,
  last: PolicyVersion | undefined,
): readonly { readonly part: PolicyPart | InstancePart; readonly signers: readonly Approver[] }[] {
  const { id, cancelled = "" } = record;
  const { policy, digest, signatures } = readingOf(record);
  const lines = readSignatures(cancelled);
  if (last === undefined || policy === undefined || typeof lines === "string") return [];
  const unsigned = unsignedParts(policy, last.policy, signatures);
  const isWayBack = policy.approvals === 0 || unsigned[0] === last.policy;
  const parts = isWayBack ? [last.policy] : [last.policy, ...unsigned];
  const cancel = cancelText(digest, id);
  return parts.map((part) => ({ part, signers: signersOf(cancel, part.approvers, lines) }));
}
