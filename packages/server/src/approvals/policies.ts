import {
  type ApprovalPolicy,
  type Approver,
  cancelText,
  digestOf,
  parsePolicy,
  readSignatures,
  type SignatureLine,
  signersOf,
  unadmitted,
} from "@holdfast/admin";
import type { SystemRecord } from "@holdfast/engine";

/** A genuine version of the approval policy. */
export interface PolicyVersion {
  readonly id: string;
  readonly policy: ApprovalPolicy;
  readonly text: string;
  /** SHA-256 of the text, hex. */
  readonly digest: string;
  /** Of a change that waits and that no region's leader has seen: the earliest possible time. */
  readonly effectiveMs: number;
  /** It waits 72 hours, since its approvers did not sign it: a break-glass key did, or it is a reset. */
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

/** A record as the version that follows `last`; undefined if `last` does not allow it. */
function successor(
  record: PolicyRecord,
  last: PolicyVersion | undefined,
  at: StandingAt,
): PolicyVersion | undefined {
  const { id, text, createdMs, seen } = record;
  const policy = parsePolicy(text);
  const lines = readSignatures(record.signatures);
  if (typeof policy === "string") return undefined;
  const given = typeof lines === "string" ? [] : lines;
  if (followFault(policy, last) !== undefined) return undefined;
  if (unadmitted(policy, last?.policy, given).length > 0) return undefined;
  const waits = last !== undefined && !isSigned(text, last.policy, given);
  const isAllowed = !waits || breakGlassSigned(text, last.policy, given) || policy.approvals === 0;
  if (!isAllowed) return undefined;
  // The time that its author names proves nothing: leaders note when they saw it, and only while their clocks agree.
  const effectiveMs = waits ? waitedMs(seen, at) : createdMs;
  return { id, policy, text, digest: digestOf(text), effectiveMs, delayed: waits };
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

/** Whether as many approvers of a policy signed as it says; after a reset, nobody needs to. */
export function isSigned(
  text: string,
  { approvers, approvals }: ApprovalPolicy,
  lines: readonly SignatureLine[],
): boolean {
  return signersOf(text, approvers, lines).length >= approvals;
}

/** The break-glass keys that signed, each with its reason. */
export function breakGlassSigned(
  text: string,
  { breakGlass }: ApprovalPolicy,
  lines: readonly SignatureLine[],
): boolean {
  const reasoned = lines.filter(({ reason }) => reason !== undefined);
  return signersOf(text, breakGlass, reasoned).length > 0;
}

function isCancelled(
  { id, text, cancelled }: PolicyRecord,
  last: PolicyVersion | undefined,
  spent: Set<string>,
): boolean {
  const signers = cancellers(id, text, cancelled ?? "", last);
  if (last === undefined || signers.length === 0) return false;
  if (signers.length >= last.policy.approvals) return true;
  const first = signers.find(({ key }) => !spent.has(key));
  if (first === undefined) return false;
  spent.add(first.key);
  return true;
}

/** The approvers in force who signed that a change that waits is cancelled. */
export function cancellers(
  id: string,
  text: string,
  signatures: string,
  last: PolicyVersion | undefined,
): readonly Approver[] {
  const lines = readSignatures(signatures);
  if (last === undefined || typeof lines === "string") return [];
  return signersOf(cancelText(digestOf(text), id), last.policy.approvers, lines);
}
