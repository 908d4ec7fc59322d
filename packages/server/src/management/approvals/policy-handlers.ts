import {
  type Approver,
  type Call,
  type Contract,
  type Handlers,
  ManagementError,
  type PolicyPart,
  parsePolicy,
  printSignature,
  signersOf,
  unadmitted,
} from "@holdfast/admin";
import { markedIdentifier } from "@holdfast/engine";
import { lastSigned, nameOf } from "../../approvals/parts.ts";
import {
  breakGlassSigned,
  cancellers,
  cancellersByPart,
  delayedCount,
  followFault,
  isSigned,
  newerFault,
  type PolicyVersion,
  standingOf,
  unreadFault,
  unsignedParts,
} from "../../approvals/policies.ts";
import { signaturesIn } from "../../approvals/requests.ts";
import { managementEvents } from "../../audit/management-event.ts";
import { type ApprovalHandlersDeps, standing } from "./request-handlers.ts";

type Names = "readApprovalPolicy" | "changeApprovalPolicy" | "stopApprovalPolicy";
type CallOf<Name extends Names> = Call<Contract[Name]>;

/** The approval policy. */
export function policyHandlers(deps: ApprovalHandlersDeps): Pick<Handlers, Names> {
  return {
    readApprovalPolicy: async () => policies(deps),
    changeApprovalPolicy: (call) => change(deps, call),
    stopApprovalPolicy: (call) => stop(deps, call),
  };
}

/** Changes of one version that may wait, those that were cancelled included. */
const delayedMax = 20;

function refuse(why: string): never {
  throw new ManagementError("approvalRefused", why);
}

/** Throws if this node cannot tell which policy is in force. */
function requireRead(unread: string | undefined): void {
  if (unread !== undefined) throw new ManagementError("storeUnavailable", unread);
}

function policies(deps: ApprovalHandlersDeps) {
  // A damaged one does not keep approvers from what they need to cancel a change.
  requireRead(newerFault(deps.view, `node ${deps.node}`));
  const { last, inForce, waiting } = standing(deps);
  const state = inForce === undefined ? "reset" : "in-force";
  const now = last === undefined ? [] : [policyAnswer(deps, last, state)];
  return {
    items: [...now, ...waiting.map((version) => policyAnswer(deps, version, "waiting"))],
    ...(last === undefined ? {} : { text: last.text }),
  };
}

async function change(deps: ApprovalHandlersDeps, call: CallOf<"changeApprovalPolicy">) {
  const { view, records, wallMs, policyMs, newId, observe } = deps;
  await view.refresh();
  requireRead(unreadFault(view, `node ${deps.node}`));
  const { inForce } = standing(deps);
  if (inForce === undefined) {
    return refuse("no policy is in force: the first one is set at a node (holdfast approval init)");
  }
  const { text } = call.body;
  const policy = parsePolicy(text);
  if (typeof policy === "string") return refuse(policy);
  const fault = followFault(policy, inForce);
  if (fault !== undefined) return refuse(fault);
  const lines = signaturesIn(call.body.signatures);
  const signed = isSigned(text, inForce.policy, lines);
  const breakGlass = !signed && breakGlassSigned(text, inForce.policy, lines);
  const waits = unsignedParts(policy, inForce.policy, lines).length > 0;
  if (!signed && !breakGlass) {
    const { approvers, approvals } = inForce.policy;
    const count = signersOf(text, approvers, lines).length;
    return refuse(`${count} of ${approvals} approvers of the policy in force have signed this one`);
  }
  const [missing] = unadmitted(policy, inForce.policy, lines);
  if (missing !== undefined) {
    return refuse(
      `the new key of ${missing.name} must sign the policy too: it proves that they have it`,
    );
  }
  // Each is kept for ever, and a thief with a break-glass key must not fill the store.
  if (waits && delayedCount(view.all("ApprovalPolicy"), inForce, policyMs()) >= delayedMax) {
    return refuse(
      `${delayedMax} changes of this version wait, or were cancelled: only what all its approvers signed changes it now`,
    );
  }
  const id = markedIdentifier("ApprovalPolicy", newId());
  const nowMs = wallMs();
  const values = {
    text,
    signatures: lines.map(printSignature).join("\n"),
    createdMs: nowMs,
    createdBy: call.principal.name,
  };
  const detail = { version: policy.version, delayed: waits ? "yes" : "no" };
  const events = managementEvents(call, call.audit, { id }, { timeMs: nowMs, detail });
  const claims = waits ? [] : ([["version", String(policy.version)]] as const);
  await records.create("ApprovalPolicy", { ...values, claims }, events, {
    id,
    agreed: true,
    taken: () => new ManagementError("conflict", "another change of the policy was faster"),
  });
  const about = { request: id, detail: `version ${policy.version}` };
  observe({ type: "approval", step: "policy", breakGlass, ...about });
  const now = standing(deps);
  const made = [...now.waiting, ...(now.inForce ? [now.inForce] : [])].find((one) => one.id === id);
  if (made === undefined)
    throw new ManagementError("conflict", "another change of the policy was faster");
  return policyAnswer(deps, made, waits ? "waiting" : "in-force");
}

async function stop(deps: ApprovalHandlersDeps, call: CallOf<"stopApprovalPolicy">) {
  const { view, records, wallMs, policyMs } = deps;
  await view.refresh();
  const { last, waiting } = standing(deps);
  const { policy: id } = call.params;
  const wanted = waiting.find((one) => one.id === id);
  if (wanted === undefined) {
    throw new ManagementError("notFound", "no change of the policy with this identifier waits");
  }
  const given = signaturesIn(call.body.signatures).map(printSignature);
  const all = view.all("ApprovalPolicy");
  const before = all.find((one) => one.id === id)?.cancelled ?? "";
  const cancelled = [...new Set([...before.split("\n").filter((line) => line !== ""), ...given])];
  const after = all.map((one) =>
    one.id === id ? { ...one, cancelled: cancelled.join("\n") } : one,
  );
  const signers = after.flatMap((one) => (one.id === id ? cancellers(one, last) : []));
  if (signers.length === 0) {
    return refuse(
      "no approver of the policy in force signed that it is cancelled: holdfast approval sign --cancel DIGEST --change ID",
    );
  }
  const then = standingOf(after, policyMs());
  const groups = after.flatMap((one) => (one.id === id ? cancellersByPart(one, last) : []));
  const signed = groups.filter((group) => group.signers.length > 0);
  const enough = signed.map(({ part }) => nameOf(part)).join(" or ");
  if (then.waiting.some((one) => one.id === id)) {
    return refuse(`this approver has cancelled a change before: now ${enough} must sign`);
  }
  const known = (one: PolicyVersion) => waiting.some((other) => other.id === one.id);
  if (then.last?.id !== last?.id || !then.waiting.every(known)) {
    return refuse(
      `this approver has cancelled a later change, which would wait again: now ${enough} must sign, or the approvers change the policy, which ends every change that waits`,
    );
  }
  const names = signers.map(({ name }) => name).join(" ");
  const detail = { timeMs: wallMs(), detail: { signers: names } };
  const events = managementEvents(call, call.audit, { id }, detail);
  const edit = () => ({ cancelled: cancelled.join("\n") });
  const { regions } = await records.change("ApprovalPolicy", id, edit, events);
  return { id, regions };
}

function policyAnswer(
  { view }: ApprovalHandlersDeps,
  { id, policy, digest, effectiveMs }: PolicyVersion,
  state: "in-force" | "reset" | "waiting",
) {
  const last = lastSigned(view.all("ApprovalRequest"));
  const shown = ({ name, key }: Approver) => {
    const atMs = last.get(key);
    return {
      name,
      key,
      ...(atMs === undefined ? {} : { lastSignedAt: new Date(atMs).toISOString() }),
    };
  };
  const partAnswer = ({ approvals, approvers, breakGlass, actions }: PolicyPart) => ({
    approvals,
    approvers: approvers.map(shown),
    breakGlass: breakGlass.map(shown),
    actions: [...actions],
  });
  return {
    id,
    version: policy.version,
    digest,
    state,
    effectiveAt: new Date(effectiveMs).toISOString(),
    ...partAnswer(policy),
    instances: policy.instances.map((part) => ({ instance: part.instance, ...partAnswer(part) })),
  };
}
