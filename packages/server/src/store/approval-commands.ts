import { userInfo } from "node:os";
import { parsePolicy, policyText, unadmitted } from "@holdfast/admin";
import { markedIdentifier, type SystemRecord } from "@holdfast/engine";
import { type LocalPlace, localRecords, localStanding } from "../approvals/local-approvals.ts";
import { followFault, type Standing, unreadFault } from "../approvals/policies.ts";
import { signaturesIn } from "../approvals/requests.ts";
import { OperatorError, reasonOf } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { ActEvidence } from "./operator-evidence.ts";
import { atRegions, presentRegions } from "./region-commands.ts";

type Local = ReturnType<typeof localRecords>;

/** Puts the first policy in force, or the first one after a reset: at a node, so that no token alone can do it. */
export async function initPolicy(
  configFile: string,
  machine: Machine,
  { text, signatures }: { readonly text: string; readonly signatures: string },
): Promise<string> {
  const policy = parsePolicy(text);
  if (typeof policy === "string") throw new OperatorError(`--file: ${policy}`);
  return await atPolicies(configFile, machine, true, async (place, local, { last, inForce }) => {
    if (inForce?.text === text) return inEffect(policy.version, policy.approvals);
    if (inForce !== undefined) {
      throw new OperatorError(
        `version ${inForce.policy.version} of the approval policy is in force: its approvers change it (holdfast approval change)`,
        "conflicting",
      );
    }
    const fault = followFault(policy, last);
    if (fault !== undefined) throw new OperatorError(`--file: ${fault}`);
    if (policy.approvals === 0) throw new OperatorError("--file: a policy needs approvers");
    const lines = linesIn(signatures);
    const [missing] = unadmitted(policy, undefined, lines);
    if (missing !== undefined) {
      throw new OperatorError(
        `--signatures: the key of ${missing.name} has not signed this policy: each key signs its own admission (holdfast approval sign)`,
      );
    }
    const detail = { version: policy.version };
    const values = {
      text,
      signatures: signatures.trim(),
      claims: [["version", String(policy.version)]],
    } as const;
    // Two regions that are cut apart must not begin with two policies.
    await write(place, local, "approval.policy", detail, values, true);
    return inEffect(policy.version, policy.approvals);
  });
}

/** Has the policy end in 72 hours, unless an approver cancels that. */
export async function resetPolicy(configFile: string, machine: Machine): Promise<string> {
  return await atPolicies(
    configFile,
    machine,
    false,
    async (place, local, { inForce, waiting }) => {
      if (inForce === undefined) throw new OperatorError("no approval policy is in force");
      const reset = waiting.find(({ policy }) => policy.approvals === 0);
      const at = (ms: number) => new Date(ms).toISOString();
      if (reset !== undefined) {
        throw new OperatorError(
          `a reset waits already: it takes effect at ${at(reset.effectiveMs)}`,
          "conflicting",
        );
      }
      const { system, version } = inForce.policy;
      const text = policyText({
        system,
        version: version + 1,
        previous: inForce.digest,
        approvals: 0,
        approvers: [],
        breakGlass: [],
        actions: [],
        instances: [],
      });
      const { id } = await write(
        place,
        local,
        "approval.reset",
        { version: version + 1 },
        {
          text,
          signatures: "",
          claims: [],
        },
      );
      return `the approval policy ends 72 hours after a node of a region has seen this, unless an approver cancels that: holdfast approval stop ${id}`;
    },
  );
}

function inEffect(version: number, approvals: number): string {
  return `version ${version} of the approval policy is in force in every region: ${approvals} approvers must sign`;
}

function linesIn(signatures: string) {
  try {
    return signaturesIn(signatures);
  } catch (error) {
    throw new OperatorError(`--signatures: ${reasonOf(error)}`);
  }
}

async function write(
  place: LocalPlace,
  { records }: Local,
  action: "approval.policy" | "approval.reset",
  detail: Readonly<Record<string, number>>,
  values: Pick<SystemRecord<"ApprovalPolicy">, "text" | "signatures"> & {
    readonly claims: readonly (readonly ["version", string])[];
  },
  agreed = false,
) {
  const { machine } = place;
  const id = markedIdentifier("ApprovalPolicy", machine.ids.uuid());
  const evidence = new ActEvidence({ action, target: id, detail }, machine);
  const made = { createdMs: machine.clock.wallMs(), createdBy: `operator ${userInfo().username}` };
  const { record } = await records
    .create("ApprovalPolicy", { ...values, ...made }, evidence.committed(), { id, agreed })
    .catch((error: unknown) => {
      throw new OperatorError(reasonOf(error), "conflicting");
    });
  return record;
}

async function atPolicies(
  configFile: string,
  machine: Machine,
  agree: boolean,
  work: (place: LocalPlace, local: Local, standing: Standing) => Promise<string>,
): Promise<string> {
  const { node, region } = loadConfig(configFile);
  return await atRegions(configFile, machine, async (opened) => {
    const { own } = opened;
    const peers = agree ? await presentRegions(opened, "must agree to the policy") : [];
    const place = { own, region, node, machine, peers };
    const local = localRecords(place);
    await using view = local.view;
    await view.refresh();
    const unread = unreadFault(view, `node ${node}`);
    if (unread !== undefined) throw new OperatorError(unread, "again");
    return await work(place, local, localStanding(place, view));
  });
}
