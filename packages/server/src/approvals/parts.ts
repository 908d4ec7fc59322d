import {
  type ApprovalAction,
  type ApprovalPolicy,
  contract,
  type InstancePart,
  type PolicyPart,
  parseRequest,
  partsAsking,
  type Route,
  readSignatures,
} from "@holdfast/admin";
import type { ApprovalSignature, SystemRecord } from "@holdfast/engine";

/** What commands at a node do. */
const localActions = {
  "region retire": "retire-region",
  "root adopt": "adopt-root",
  "root allow-adopt": "adopt-root",
  "backup restore": "restore-instance",
  "store accept": "accept-store",
} as const satisfies Readonly<Record<string, ApprovalAction>>;
/** A command at a node that may need approvals. */
export type LocalOperation = keyof typeof localActions;

/** The action of an operation, as policies name it. */
function actionOf(operation: string): ApprovalAction | undefined {
  const routes: Readonly<Record<string, Route>> = contract;
  const actions: Readonly<Record<string, ApprovalAction>> = localActions;
  if (Object.hasOwn(actions, operation)) return actions[operation];
  return Object.hasOwn(routes, operation) ? routes[operation]?.guarded?.action : undefined;
}

/** The parts of a policy that ask for approvals of an operation about a target. */
export function partsFor(policy: ApprovalPolicy | undefined, operation: string, target: string) {
  const action = actionOf(operation);
  return policy === undefined || action === undefined ? [] : partsAsking(policy, action, target);
}

/** The parts of a policy that ask for approvals of what a request allows. */
export function partsOfRequest({ text }: { readonly text: string }, policy: ApprovalPolicy) {
  const request = parseRequest(text);
  return request === undefined ? [] : partsFor(policy, request.operation, request.target);
}

/** How many must sign for a part of the policy. */
export function nameOf(part: PolicyPart | InstancePart): string {
  const of = "instance" in part ? ` of instance ${part.instance}` : "";
  return `${part.approvals} approvers${of}`;
}

/** Every signature of a request, and when it was handed in. */
export function signaturesOf({ signature }: Pick<SystemRecord<"ApprovalRequest">, "signature">) {
  return Object.values<ApprovalSignature | undefined>(signature).flatMap((each) => {
    const lines = each === undefined ? "" : readSignatures(each.line);
    if (each === undefined || typeof lines === "string") return [];
    return lines.map((line) => ({ ...line, atMs: each.atMs }));
  });
}

/** When each key last signed a request that is still kept. */
export function lastSigned(
  records: readonly SystemRecord<"ApprovalRequest">[],
): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (const { key, atMs } of records.flatMap(signaturesOf)) {
    last.set(key, Math.max(last.get(key) ?? 0, atMs));
  }
  return last;
}
