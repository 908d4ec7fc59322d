import { type ApprovalPolicy, type Contract, ManagementError, policyText } from "@holdfast/admin";
import { markedIdentifier, systemInstance } from "@holdfast/engine";
import { JoinRules } from "../approvals/join-rules.ts";
import type { KekChecks } from "../approvals/kek-rule.ts";
import { systemIds as ids } from "../base/system.ts";
import { TestAccess, type TestNode } from "./access.ts";
import { approversNamed, policyWith, signedBy, type TestApprover } from "./approvals.ts";
import type { MemoryRegion } from "./memory-regions.ts";

/** The message of a refusal. */
export const refusal = (work: Promise<unknown>) =>
  work.then(
    () => "not refused",
    (error: unknown) => (error instanceof ManagementError ? error.message : String(error)),
  );

/** What a region takes from the other one, once its store was level. It declares these instances; every wrap opens. */
export function rulesOf(
  { name: region, view, own }: Pick<MemoryRegion, "name" | "view" | "own">,
  declared: readonly string[] = [],
  {
    isFilled = async () => true,
    prove = async () => "opens",
    wallMs = Date.now,
  }: {
    readonly isFilled?: () => Promise<boolean>;
    readonly prove?: KekChecks["prove"];
    readonly wallMs?: () => number;
  } = {},
): JoinRules {
  return new JoinRules({
    ...{ region, view, policyMs: Date.now, wallMs },
    isFilled,
    declared: (id) => (declared.includes(id) ? {} : undefined),
    checks: {
      sameSecret: async () => false,
      isEmpty: async () => true,
      prove,
      stored: async (wanted) => {
        const found = await own.read(systemInstance, wanted);
        const { replicationId: store } = await own.position();
        return { store, records: found.flatMap((each) => each?.object ?? []) };
      },
    },
  });
}

/** Two regions with a policy of two of three approvers and a break-glass key. */
export class ApprovalWorld extends TestAccess {
  readonly approvers = approversNamed("alice", "bob", "carol") as readonly [
    TestApprover,
    TestApprover,
    TestApprover,
  ];
  readonly safe = approversNamed("safe")[0] as TestApprover;
  policy = policyWith(this.approvers, { breakGlass: [this.safe] });

  /** Writes a version of the policy, as a command at a node or another region does. */
  async write(text: string, signatures: string, createdMs = Date.now()): Promise<string> {
    const id = markedIdentifier("ApprovalPolicy", ids.uuid());
    const values = { text, signatures, createdMs, createdBy: "somebody" };
    await this.a.region.records.create("ApprovalPolicy", values, [], { id });
    await this.see();
    return id;
  }

  /**
   * Puts the policy in force, as of a time, with changes of it and their signers; each region takes from the other only
   * what it allows.
   */
  async begin(
    createdMs = Date.now() - 1000,
    changes: Partial<ApprovalPolicy> = {},
    signers: readonly TestApprover[] = [],
  ): Promise<void> {
    this.policy = { ...this.policy, ...changes };
    const text = policyText(this.policy);
    const signatures = signedBy(text, [...this.approvers, this.safe, ...signers]);
    await this.write(text, signatures, createdMs);
    for (const { region } of this.nodes) region.mayJoin = rulesOf(region).mayJoin;
  }

  /** Calls something guarded; answers the request that was made. */
  async asked(name: keyof Contract, given: object, caller = {}, node = this.a): Promise<string> {
    const error: unknown = await node.call(name, given, caller).catch((thrown: unknown) => thrown);
    if (!(error instanceof ManagementError) || error.code !== "approvalNeeded") throw error;
    await this.see();
    return String(error.extra["request"]);
  }

  /** The document of a request. */
  async document(approval: string, node: TestNode = this.a): Promise<string> {
    return (await node.call("readApproval", { params: { approval } })).document;
  }

  /** Has approvers sign a request; the first two of the system unless given. */
  async sign(
    approval: string,
    signers: readonly TestApprover[] = this.approvers.slice(0, 2),
    reason?: string,
  ): Promise<void> {
    const document = await this.document(approval);
    const text = document.slice(0, document.indexOf("\n\n") + 1);
    const signatures = signedBy(text, signers, reason);
    await this.a.call("signApproval", { params: { approval }, body: { signatures } });
    await this.see();
  }
}
