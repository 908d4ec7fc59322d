import { z } from "zod";
import { policyTextMax } from "../approvals/policy.ts";
import { may, type Routes } from "./route.ts";
import { applied, page, pageOf, region, sha256, time, uuid } from "./shapes.ts";

/** A signature proves itself, so anybody who may change something may hand it in. */
const handIn = may.admit;

const approvalParam = z.object({ approval: uuid.describe("The identifier of the request.") });
const signatures = z
  .string()
  .min(1)
  .max(65_536)
  .describe(
    "Lines that `holdfast approval sign` or the web console wrote, one for each signature.",
  );

const signer = z.object({
  name: z.string(),
  at: time,
  breakGlass: z.boolean(),
  reason: z.string().optional().describe("Why a break-glass key signed."),
});

/** A request for approvals. */
const approval = z
  .object({
    id: uuid,
    state: z
      .enum(["open", "approved", "in-use", "used", "ended", "cancelled", "void"])
      .describe(
        "approved: it may be used. void: it was made under an earlier policy. ended: its time is over.",
      ),
    operation: z.string(),
    target: z.string(),
    askedBy: z.string(),
    askedAt: time,
    until: time,
    usableIn: z.array(region),
    needed: z
      .number()
      .int()
      .describe("How many approvers of the system must sign; one break-glass key is enough."),
    neededOfInstance: z
      .number()
      .int()
      .optional()
      .describe("How many approvers of the instance must sign too, if it asks for that."),
    signedBy: z.array(signer),
    usedAt: time.optional(),
    regions: applied,
  })
  .meta({ id: "Approval" });

const key = z.object({
  name: z.string(),
  key: z
    .string()
    .describe(
      "Ed25519 public key, base64url; of an authenticator, `webauthn:HOST:KEY` with SubjectPublicKeyInfo.",
    ),
  lastSignedAt: time.optional(),
});

/** Who must approve what. */
const part = {
  approvals: z.number().int().describe("How many approvers must sign; 0 = none (a reset)."),
  approvers: z.array(key),
  breakGlass: z.array(key),
  actions: z.array(z.string()),
};

/** A version of the policy. */
const policy = z.object({
  id: uuid,
  version: z.number().int(),
  digest: sha256,
  state: z
    .enum(["in-force", "reset", "waiting"])
    .describe("reset: nothing needs approvals until `holdfast approval init` begins again."),
  effectiveAt: time,
  ...part,
  instances: z
    .array(z.object({ instance: uuid, ...part }))
    .describe("What instances ask for, in addition to what the system asks for."),
});

/** Approvals: M of N people sign the exact request with keys that the server does not hold. */
export const approvalRoutes = {
  listApprovals: {
    method: "GET",
    path: "/v1/approvals",
    summary: "List the requests for approvals, newest first.",
    tag: "Approvals",
    roles: may.read,
    scope: "system",
    query: page,
    answer: pageOf(approval),
    problems: [],
    command: {
      words: "approval list",
      list: {
        of: "requests for approvals",
        columns: [
          "ID=id",
          "STATE=state",
          "OPERATION=operation",
          "TARGET=target",
          "BY=askedBy",
          "NEEDED=needed",
          "OF-INSTANCE=neededOfInstance",
          "UNTIL=until",
        ],
        wide: ["SIGNED=signedBy", "REGIONS=regions"],
      },
    },
  },
  readApproval: {
    method: "GET",
    path: "/v1/approvals/{approval}",
    summary: "Show a request, with the document that approvers sign.",
    tag: "Approvals",
    roles: may.read,
    scope: "system",
    params: approvalParam,
    answer: approval.extend({
      document: z
        .string()
        .describe("The text that is signed, an empty line, and the call without its secrets."),
    }),
    problems: ["notFound"],
    command: {
      words: "approval show",
      output: [{ field: "document", option: "document-out" }],
      example: "holdfast approval show UUID --document-out request.txt",
    },
  },
  signApproval: {
    method: "POST",
    path: "/v1/approvals/{approval}/signatures",
    summary: "Hand in signatures of a request: who hands them in need not be who signed.",
    tag: "Approvals",
    roles: handIn,
    scope: "system",
    params: approvalParam,
    body: z.object({ signatures }).strict(),
    answer: approval,
    repeatable: true,
    problems: ["notFound", "approvalRefused", "conflict", "storeUnavailable"],
    audit: "approval.sign",
    command: {
      words: "approval submit",
      files: { signatures: "signatures" },
      example: "holdfast approval submit UUID --signatures alice.sig",
    },
  },
  cancelApproval: {
    method: "DELETE",
    path: "/v1/approvals/{approval}",
    summary:
      "Cancel a request for ever: it can no longer be used. An operator cancels only its own.",
    tag: "Approvals",
    roles: handIn,
    scope: "system",
    params: approvalParam,
    answer: z.object({ id: uuid, regions: applied }),
    problems: ["notFound", "conflict", "storeUnavailable"],
    audit: "approval.cancel",
    command: { words: "approval cancel" },
  },
  readApprovalPolicy: {
    method: "GET",
    path: "/v1/approval-policy",
    summary: "Show the approval policy in force, or its reset, and changes of it that wait.",
    tag: "Approvals",
    roles: may.read,
    scope: "system",
    answer: z.object({
      items: z.array(policy),
      text: z
        .string()
        .optional()
        .describe(
          "The text of the last version in effect, a reset too, for `holdfast approval draft --after`.",
        ),
    }),
    problems: ["storeUnavailable"],
    command: {
      words: "approval policy",
      list: {
        of: "policies",
        columns: [
          "VERSION=version",
          "STATE=state",
          "NEEDED=approvals",
          "APPROVERS=approvers",
          "ACTIONS=actions",
          "EFFECTIVE=effectiveAt",
        ],
        wide: ["ID=id", "DIGEST=digest", "BREAK-GLASS=breakGlass", "INSTANCES=instances"],
        wrap: "ACTIONS",
      },
      output: [{ field: "text", option: "text-out", onlyFile: true }],
    },
  },
  changeApprovalPolicy: {
    method: "POST",
    path: "/v1/approval-policy",
    summary:
      "Put the next version of the policy in force: signed by the approvers of the version before, by those of each instance whose part it changes, and by each new key. Signed by a break-glass key, or without such an instance's approvers, it waits 72 hours, and an approver can cancel it.",
    tag: "Approvals",
    roles: handIn,
    scope: "system",
    body: z
      .object({
        text: z
          .string()
          .min(1)
          .max(policyTextMax)
          .describe("The policy as `holdfast approval draft` writes it."),
        signatures,
      })
      .strict(),
    answer: policy,
    repeatable: true,
    problems: ["approvalRefused", "conflict", "peerUnreachable", "storeUnavailable"],
    audit: "approval.policy",
    command: {
      words: "approval change",
      files: { text: "file", signatures: "signatures" },
      example: "holdfast approval change --file policy.txt --signatures all.sig",
    },
  },
  stopApprovalPolicy: {
    method: "POST",
    path: "/v1/approval-policy/{policy}/cancel",
    summary:
      "Cancel a change of the policy that waits. One approver can do this once for each version in force; after that, as many must sign as the policy says.",
    tag: "Approvals",
    roles: handIn,
    scope: "system",
    params: z.object({ policy: uuid.describe("The identifier of the version that waits.") }),
    body: z.object({ signatures }).strict(),
    answer: z.object({ id: uuid, regions: applied }),
    repeatable: true,
    problems: ["notFound", "approvalRefused", "conflict", "storeUnavailable"],
    audit: "approval.stop",
    command: {
      words: "approval stop",
      files: { signatures: "signatures" },
      example: "holdfast approval stop UUID --signatures alice.sig",
    },
  },
} as const satisfies Routes;
