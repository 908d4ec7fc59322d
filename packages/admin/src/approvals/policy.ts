import { decoded, encoded, isPublicKey, type SignatureLine, signs } from "./signature.ts";

/** What a policy may ask approvals for; routes name their action, and so do commands at a node. */
export const approvalActions = [
  "destroy-key",
  "delete-instance",
  "allow-destroy",
  "shred",
  "open-keys",
  "move-root",
  "give-role",
  "admit-client",
  "retire-region",
  "adopt-root",
  "restore-instance",
  "accept-store",
] as const;
/** One of `approvalActions`. */
export type ApprovalAction = (typeof approvalActions)[number];

/** A key that a policy names. */
export interface Approver {
  readonly name: string;
  /** Ed25519 public key, base64url. */
  readonly key: string;
}

/** The approval policy of a system, one version of it. */
export interface ApprovalPolicy {
  /** A UUID: no other system has it, so no approval of another system counts here. */
  readonly system: string;
  /** From 1. */
  readonly version: number;
  /** SHA-256 of the version before; undefined in the first. */
  readonly previous: string | undefined;
  /** M: how many approvers must sign. 0 = no approvals are needed (after a reset). */
  readonly approvals: number;
  readonly approvers: readonly Approver[];
  readonly breakGlass: readonly Approver[];
  readonly actions: readonly ApprovalAction[];
}

const head = "holdfast-approval-policy-1";
const approversMax = 32;
const breakGlassMax = 4;
const textMax = 16_384;
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const digestForm = /^[0-9a-f]{64}$/;
const numberForm = /^(0|[1-9]\d{0,8})$/;
/** A name of an approver, in files and messages. */
export const approverName = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** The text that is signed: the same for the same policy. */
export function policyText(policy: ApprovalPolicy): string {
  const byName = (keys: readonly Approver[]) =>
    keys.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const lines = [
    head,
    `system ${policy.system}`,
    `version ${policy.version}`,
    `previous ${policy.previous ?? "-"}`,
    `approvals ${policy.approvals}`,
    ...byName(policy.approvers).map(({ name, key }) => `approver ${encoded(name)} ${key}`),
    ...byName(policy.breakGlass).map(({ name, key }) => `break-glass ${encoded(name)} ${key}`),
    ...policy.actions.toSorted().map((action) => `action ${action}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Reads the text of a policy; a text says what is wrong with it. */
export function parsePolicy(text: string): ApprovalPolicy | string {
  if (text.length > textMax) return `a policy has at most ${textMax} characters`;
  const [first, ...lines] = text.split("\n");
  if (first !== head) return `not a policy: its first line is not ${head}`;
  const values = (word: string) =>
    lines.flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []));
  const keys = (word: string) =>
    values(word).map((value): Approver => {
      const [name = "", key = ""] = value.split(" ");
      return { name: decoded(name) ?? "", key };
    });
  const [previous = ""] = values("previous");
  const policy: ApprovalPolicy = {
    system: values("system")[0] ?? "",
    version: numberOf(values("version")[0]),
    previous: previous === "-" ? undefined : previous,
    approvals: numberOf(values("approvals")[0]),
    approvers: keys("approver"),
    breakGlass: keys("break-glass"),
    actions: values("action") as ApprovalAction[],
  };
  const fault = policyFault(policy);
  if (fault !== undefined) return fault;
  return policyText(policy) === text
    ? policy
    : "not a policy as `holdfast approval draft` writes it";
}

function numberOf(text: string | undefined): number {
  return text !== undefined && numberForm.test(text) ? Number(text) : -1;
}

/** What is wrong with a policy by itself. */
export function policyFault(policy: ApprovalPolicy): string | undefined {
  const { system, version, previous } = policy;
  if (!uuidForm.test(system)) return "system: must be a UUID";
  if (version < 1) return "version: must be a number from 1";
  if (version === 1 ? previous !== undefined : !digestForm.test(previous ?? "")) {
    return "previous: must be - in version 1, and later the SHA-256 of the version before";
  }
  return keysFault(policy) ?? actionsFault(policy) ?? numberFault(policy);
}

function keysFault({ approvers, breakGlass }: ApprovalPolicy): string | undefined {
  const keys = [...approvers, ...breakGlass];
  const wrong = keys.find(({ name, key }) => !approverName.test(name) || !isPublicKey(key));
  if (wrong !== undefined) return `${wrong.name || "a key"}: must be a name and a public key`;
  if (new Set(keys.map(({ name }) => name)).size < keys.length) return "two keys have one name";
  if (new Set(keys.map(({ key }) => key)).size < keys.length) {
    return "one key is named twice: each approver needs a key of their own";
  }
  if (approvers.length > approversMax) return `more than ${approversMax} approvers`;
  return breakGlass.length > breakGlassMax
    ? `more than ${breakGlassMax} break-glass keys`
    : undefined;
}

function actionsFault({ actions }: ApprovalPolicy): string | undefined {
  const known: readonly string[] = approvalActions;
  const unknown = actions.find((action) => !known.includes(action));
  if (unknown !== undefined) {
    return `action ${unknown}: unknown; there are ${approvalActions.join(", ")}`;
  }
  return new Set(actions).size < actions.length ? "an action is named twice" : undefined;
}

function numberFault(policy: ApprovalPolicy): string | undefined {
  const { version, approvals, approvers, breakGlass, actions } = policy;
  if (approvals === 0) {
    const isEmpty = approvers.length + breakGlass.length + actions.length === 0;
    return isEmpty && version > 1
      ? undefined
      : "approvals 0 is for a reset: it names no key and no action";
  }
  if (approvals < 2) return "approvals: at least 2 must sign";
  if (approvals > approvers.length) {
    return `approvals: ${approvals} must sign, and there are ${approvers.length} approvers`;
  }
  return actions.length === 0 ? "actions: name one at least" : undefined;
}

/** Who of these signed a text, each once. */
export function signersOf(
  text: string,
  keys: readonly Approver[],
  lines: readonly SignatureLine[],
): readonly Approver[] {
  const known = keys.filter(({ key }) => lines.some((line) => line.key === key));
  return known.filter(({ key }) => lines.some((line) => line.key === key && signs(text, line)));
}

/** Who of the keys that a policy adds has not signed it: each new key must sign its own admission. */
export function unadmitted(
  policy: ApprovalPolicy,
  before: ApprovalPolicy | undefined,
  lines: readonly SignatureLine[],
): readonly Approver[] {
  const old = [...(before?.approvers ?? []), ...(before?.breakGlass ?? [])];
  const added = [...policy.approvers, ...policy.breakGlass].filter(
    ({ key }) => !old.some((one) => one.key === key),
  );
  const signed = signersOf(policyText(policy), added, lines);
  return added.filter((one) => !signed.includes(one));
}
