import { isPublicKey, signs } from "./signature.ts";
import { approverName, authenticatorParts, decoded, encoded, type SignatureLine } from "./text.ts";

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

/** What concerns one instance: its own part of a policy may ask for more approvals of this. */
export const instanceActions: readonly ApprovalAction[] = [
  "destroy-key",
  "delete-instance",
  "allow-destroy",
  "shred",
  "open-keys",
  "move-root",
  "admit-client",
  "restore-instance",
];

/** A key that a policy names. */
export interface Approver {
  readonly name: string;
  /** Ed25519 public key, base64url, or that of an authenticator: see `authenticatorParts`. */
  readonly key: string;
}

/** Who must approve what. */
export interface PolicyPart {
  /** M: how many approvers must sign. 0 = no approvals are needed (after a reset). */
  readonly approvals: number;
  readonly approvers: readonly Approver[];
  readonly breakGlass: readonly Approver[];
  readonly actions: readonly ApprovalAction[];
}

/** What one instance asks for, in addition to what the system asks for: so it never asks for less. */
export interface InstancePart extends PolicyPart {
  /** Its identifier. */
  readonly instance: string;
}

/** The approval policy of a system, one version of it. Its own part is about all instances. */
export interface ApprovalPolicy extends PolicyPart {
  /** A UUID: no other system has it, so no approval of another system counts here. */
  readonly system: string;
  /** From 1. */
  readonly version: number;
  /** SHA-256 of the version before; undefined in the first. */
  readonly previous: string | undefined;
  /** One of an instance at most. */
  readonly instances: readonly InstancePart[];
}

const head = "holdfast-approval-policy-1";
const approversMax = 32;
const breakGlassMax = 4;
const instancesMax = 64;
/** The longest text of a policy, in characters. */
export const policyTextMax = 65_536;
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const digestForm = /^[0-9a-f]{64}$/;
const numberForm = /^(0|[1-9]\d{0,8})$/;

/** The text that is signed: the same for the same policy. */
export function policyText(policy: ApprovalPolicy): string {
  const instances = policy.instances.toSorted((one, other) =>
    one.instance < other.instance ? -1 : 1,
  );
  const lines = [
    head,
    `system ${policy.system}`,
    `version ${policy.version}`,
    `previous ${policy.previous ?? "-"}`,
    ...partLines(policy),
    ...instances.flatMap((part) =>
      partLines(part).map((line) => `instance ${part.instance} ${line}`),
    ),
  ];
  return `${lines.join("\n")}\n`;
}

function partLines({ approvals, approvers, breakGlass, actions }: PolicyPart): readonly string[] {
  const byName = (keys: readonly Approver[]) =>
    keys.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  return [
    `approvals ${approvals}`,
    ...byName(approvers).map(({ name, key }) => `approver ${encoded(name)} ${key}`),
    ...byName(breakGlass).map(({ name, key }) => `break-glass ${encoded(name)} ${key}`),
    ...actions.toSorted().map((action) => `action ${action}`),
  ];
}

/** Reads the text of a policy; a text says what is wrong with it. */
export function parsePolicy(text: string): ApprovalPolicy | string {
  if (text.length > policyTextMax) return `a policy has at most ${policyTextMax} characters`;
  const [first, ...lines] = text.split("\n");
  if (first !== head) return `not a policy: its first line is not ${head}`;
  const ofInstances = Map.groupBy(after("instance", lines), (line) => line.split(" ")[0] ?? "");
  const [previous = ""] = after("previous", lines);
  const policy: ApprovalPolicy = {
    system: after("system", lines)[0] ?? "",
    version: numberOf(after("version", lines)[0]),
    previous: previous === "-" ? undefined : previous,
    ...partIn(lines),
    instances: [...ofInstances].map(([instance, own]) => ({
      instance,
      ...partIn(after(instance, own)),
    })),
  };
  const fault = policyFault(policy);
  if (fault !== undefined) return fault;
  return policyText(policy) === text
    ? policy
    : "not a policy as `holdfast approval draft` writes it";
}

/** What follows a word, in the lines that begin with it. */
function after(word: string, lines: readonly string[]): readonly string[] {
  return lines.flatMap((line) =>
    line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : [],
  );
}

function partIn(lines: readonly string[]): PolicyPart {
  const keys = (word: string) =>
    after(word, lines).map((value): Approver => {
      const [name = "", key = ""] = value.split(" ");
      return { name: decoded(name) ?? "", key };
    });
  return {
    approvals: numberOf(after("approvals", lines)[0]),
    approvers: keys("approver"),
    breakGlass: keys("break-glass"),
    actions: after("action", lines) as readonly ApprovalAction[],
  };
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
  if (policy.approvals === 0) return resetFault(policy);
  return partFault(policy) ?? instancesFault(policy) ?? namesFault(policy);
}

function resetFault({ version, approvers, breakGlass, actions, instances }: ApprovalPolicy) {
  const isEmpty = [approvers, breakGlass, actions, instances].every(({ length }) => length === 0);
  return isEmpty && version > 1
    ? undefined
    : "approvals 0 is for a reset: it names no key, no action and no instance";
}

function partFault(part: PolicyPart): string | undefined {
  return keysFault(part) ?? actionsFault(part) ?? numberFault(part);
}

function instancesFault({ instances }: ApprovalPolicy): string | undefined {
  if (instances.length > instancesMax) return `more than ${instancesMax} instances`;
  for (const part of instances) {
    const { instance, actions } = part;
    if (!uuidForm.test(instance)) return `instance ${instance}: must be its identifier, a UUID`;
    const other = actions.find((action) => !instanceActions.includes(action));
    const fault =
      other === undefined
        ? partFault(part)
        : `action ${other} does not concern one instance; these do: ${instanceActions.join(", ")}`;
    if (fault !== undefined) return `instance ${instance}: ${fault}`;
  }
  return undefined;
}

/** In all parts, a name is of one key, and a key has one name and is of one kind. */
function namesFault(policy: ApprovalPolicy): string | undefined {
  const named = partsOf(policy).flatMap(({ approvers, breakGlass }) => [
    ...approvers.map(({ name, key }) => ({ name, key, is: `approver ${name}` })),
    ...breakGlass.map(({ name, key }) => ({ name, key, is: `break-glass ${name}` })),
  ]);
  const byKey = new Map(named.map((one) => [materialOf(one.key), one.is]));
  const byName = new Map(named.map((one) => [one.name, one.key]));
  const wrong = named.find(
    ({ name, key, is }) => byKey.get(materialOf(key)) !== is || byName.get(name) !== key,
  );
  return (
    wrong &&
    `${wrong.name}: in all parts, a name must be of one key, and a key of one kind; give a new key a new name`
  );
}

/** The key itself: an authenticator's key for two relying parties is one key. */
function materialOf(key: string): string {
  return authenticatorParts(key)?.key ?? key;
}

function keysFault({ approvers, breakGlass }: PolicyPart): string | undefined {
  const keys = [...approvers, ...breakGlass];
  const wrong = keys.find(({ name, key }) => !approverName.test(name) || !isPublicKey(key));
  if (wrong !== undefined) return `${wrong.name || "a key"}: must be a name and a public key`;
  if (new Set(keys.map(({ name }) => name)).size < keys.length) return "two keys have one name";
  if (new Set(keys.map(({ key }) => materialOf(key))).size < keys.length) {
    return "one key is named twice: each approver needs a key of their own";
  }
  if (approvers.length > approversMax) return `more than ${approversMax} approvers`;
  return breakGlass.length > breakGlassMax
    ? `more than ${breakGlassMax} break-glass keys`
    : undefined;
}

function actionsFault({ actions }: PolicyPart): string | undefined {
  const known: readonly string[] = approvalActions;
  const unknown = actions.find((action) => !known.includes(action));
  if (unknown !== undefined) {
    return `action ${unknown}: unknown; there are ${approvalActions.join(", ")}`;
  }
  return new Set(actions).size < actions.length ? "an action is named twice" : undefined;
}

function numberFault({ approvals, approvers, actions }: PolicyPart): string | undefined {
  if (approvals < 2) return "approvals: at least 2 must sign";
  if (approvals > approvers.length) {
    return `approvals: ${approvals} must sign, and there are ${approvers.length} approvers`;
  }
  return actions.length === 0 ? "actions: name one at least" : undefined;
}

/** The parts of a policy, the system's first. */
export function partsOf(policy: ApprovalPolicy): readonly (PolicyPart | InstancePart)[] {
  return [policy, ...policy.instances];
}

/** The parts that ask for approvals of an action. A target begins with the instance that it concerns, if any. */
export function partsAsking(
  policy: ApprovalPolicy,
  action: ApprovalAction,
  target = "",
): readonly (PolicyPart | InstancePart)[] {
  const [instance] = target.split("/");
  const own = policy.instances.filter((part) => part.instance === instance);
  return [policy, ...own].filter(({ actions }) => actions.includes(action));
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
  const old = new Set(before === undefined ? [] : keysOf(before).map(({ key }) => key));
  const added = keysOf(policy).filter(({ key }) => !old.has(key));
  const signed = signersOf(policyText(policy), added, lines);
  return added.filter((one) => !signed.includes(one));
}

/** All keys that a policy names, each once. */
function keysOf(policy: ApprovalPolicy): readonly Approver[] {
  const all = partsOf(policy).flatMap(({ approvers, breakGlass }) => [...approvers, ...breakGlass]);
  return [...new Map(all.map((one) => [one.key, one])).values()];
}
