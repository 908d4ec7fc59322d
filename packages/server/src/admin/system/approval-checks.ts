import { approvalActions, type InstancePart, type PolicyPart, partsOf } from "@holdfast/admin";
import { lastSigned } from "../../approvals/parts.ts";
import { newerFault, type PolicyVersion, standingOf } from "../../approvals/policies.ts";
import { breakGlassCounts } from "../../approvals/requests.ts";
import { type Check, failed, ok, type SystemSources, warning } from "./sources.ts";

const name = "approvals";
const page = "docs/approvals.md";
/** A key that signed nothing for so long may be lost, and nobody knows. */
const drillMs = 180 * 86_400_000;

/** Checks the approval policy: whether it can be met, now and if a key is lost. */
export function approvalChecks({
  view,
  clocks,
  config,
}: Pick<SystemSources, "view" | "clocks" | "config">): Check[] {
  const nowMs = clocks.earliestMs();
  if (view.unreadPolicies.size > 0) {
    return [
      failed(
        name,
        "a record of the approval policy cannot be read: nothing that may need approvals is done",
        `${page}: A damaged policy`,
      ),
    ];
  }
  const newer = newerFault(view, `node ${config.node}`);
  if (newer !== undefined) return [failed(name, newer, `${page}: A policy of a newer version`)];
  const { inForce, waiting } = standingOf(view.all("ApprovalPolicy"), nowMs);
  const urgent = waiting.map(({ id, digest, effectiveMs, policy }) =>
    warning(
      name,
      `${policy.approvals === 0 ? "a reset" : "a change"} of the policy takes effect at ${new Date(effectiveMs).toISOString()}, without its approvers`,
      `if nobody ordered it: holdfast approval sign --cancel ${digest} --change ${id}, then holdfast approval stop ${id}`,
    ),
  );
  const [[, signed] = ["signed", 0]] = breakGlassCounts(view, nowMs);
  if (signed > 0) {
    const says = `${signed} requests were signed by a break-glass key within a day`;
    urgent.push(warning(name, says, "look at them: holdfast approval list --wide"));
  }
  if (inForce === undefined) {
    const says = "no approval policy is set: one token with the roles that a change needs makes it";
    return [...urgent, ok(name, says)];
  }
  const signedLast = lastSigned(view.all("ApprovalRequest"));
  const found = [
    ...urgent,
    ...partsOf(inForce.policy).flatMap((part) => keyChecks(part, inForce, signedLast, nowMs)),
  ];
  if (found.length > 0) return found;
  const { policy } = inForce;
  const left = approvalActions.filter((action) => !policy.actions.includes(action));
  const not = left.length === 0 ? "" : `; not asked for: ${left.join(", ")}`;
  const { length: more } = policy.instances;
  const added = more === 0 ? "" : `; ${more} instances ask for more`;
  const says = `${policy.approvals} of ${policy.approvers.length} approvers must sign${not}${added}`;
  return [ok(name, says)];
}

function keyChecks(
  part: PolicyPart | InstancePart,
  { effectiveMs }: PolicyVersion,
  last: ReadonlyMap<string, number>,
  nowMs: number,
): Check[] {
  const { approvals, approvers, breakGlass } = part;
  const found: Check[] = [];
  const of = "instance" in part ? `instance ${part.instance}: ` : "";
  if (approvers.length === approvals) {
    const says = `${of}all ${approvals} approvers must sign: if one key is lost, nothing can be approved`;
    found.push(warning(name, says, `add an approver: ${page}, Change the policy`));
  }
  if (breakGlass.length === 0) {
    const helps = of === "" ? "a reset" : "a change that the approvers of the system sign";
    const says = `${of}there is no break-glass key: if too many keys are lost, only ${helps} helps, which takes 72 hours`;
    found.push(warning(name, says, `add one: ${page}, Change the policy`));
  }
  // Each key signed its own admission.
  const silent = approvers.filter(({ key }) => nowMs - (last.get(key) ?? effectiveMs) > drillMs);
  if (silent.length > 0) {
    const names = silent.map((one) => one.name).join(", ");
    const says = `${of}nobody knows whether these approvers still have their keys: ${names} signed nothing for 180 days`;
    found.push(warning(name, says, `do the drill: ${page}, The drill`));
  }
  return found;
}
