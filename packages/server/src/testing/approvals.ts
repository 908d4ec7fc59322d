import { createPrivateKey, type KeyObject, randomUUID } from "node:crypto";
import {
  type ApprovalPolicy,
  type Approver,
  approvalActions,
  digestOf,
  newApproverKey,
  policyText,
  signatureLine,
} from "@holdfast/admin";

/** An approver with their private key. */
export interface TestApprover extends Approver {
  readonly privateKey: KeyObject;
}

/** New approvers with these names. */
export function approversNamed(...names: readonly string[]): readonly TestApprover[] {
  return names.map((name) => {
    const { pem, publicKey: key } = newApproverKey(undefined);
    return { name, key, privateKey: createPrivateKey(pem) };
  });
}

/** A policy that asks for all that can be asked for, with the keys' public parts. */
export function policyWith(
  approvers: readonly Approver[],
  more: Partial<ApprovalPolicy> = {},
): ApprovalPolicy {
  const publicOf = ({ name, key }: Approver) => ({ name, key });
  return {
    system: randomUUID(),
    version: 1,
    previous: undefined,
    approvals: 2,
    actions: approvalActions,
    instances: [],
    ...more,
    approvers: approvers.map(publicOf),
    breakGlass: (more.breakGlass ?? []).map(publicOf),
  };
}

/** The policy that follows another. */
export function policyAfter(
  before: ApprovalPolicy,
  changes: Partial<ApprovalPolicy>,
): ApprovalPolicy {
  const version = before.version + 1;
  return policyWith(changes.approvers ?? before.approvers, {
    ...before,
    ...changes,
    version,
    previous: digestOf(policyText(before)),
  });
}

/** The text of a policy in a form that a newer version of Holdfast may write, and this one cannot read. */
export function newerText(policy: ApprovalPolicy): string {
  return policyText(policy).replace("policy-1", "policy-2");
}

/** The lines of signatures of a text by these keys. */
export function signedBy(text: string, keys: readonly TestApprover[], reason?: string): string {
  return keys.map(({ privateKey }) => signatureLine(text, privateKey, reason)).join("\n");
}
