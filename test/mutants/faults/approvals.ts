import type { PlantedFault } from "../fault.ts";

const approvals = "packages/server/src/approvals";
const tests = [`${approvals}/approvals.test.ts`];
const promises = ["Where an approval policy is in force, a call that it names is carried out only"];
const rule = (file: string, name: string, find: string, replace: string, says: string) =>
  ({ name, kind: "access", file, find, replace, rule: says, promises, tests }) as const;
const requests = (...row: readonly [string, string, string, string]) =>
  rule(`${approvals}/requests.ts`, ...row);
const policies = (...row: readonly [string, string, string, string]) =>
  rule(`${approvals}/policies.ts`, ...row);

/** Faults in approvals. */
export const approvalFaults: readonly PlantedFault[] = [
  requests(
    "approved-by-one-too-few",
    "approversOf(record, version).length >= version.policy.approvals ||",
    "approversOf(record, version).length >= version.policy.approvals - 1 ||",
    "M approvers must sign",
  ),
  requests(
    "approval-used-twice",
    'if (use?.state === "done") {',
    'if (use?.state === "done" && nowMs < 0) {',
    "a request works once",
  ),
  requests(
    "approval-used-by-two-at-once",
    'if (use?.state === "begun" && nowMs - use.atMs < useMs) {',
    'if (use?.state === "begun" && nowMs < 0) {',
    "of two uses at once, one is carried out",
  ),
  requests(
    "approval-used-in-each-region",
    "{ agreed: usableIn.length > 1 },",
    "{ agreed: false },",
    "the use of a request of both regions is agreed",
  ),
  requests(
    "approval-of-another-call",
    "if (request.call !== digestOf(canonicalJson(call))) {",
    'if (request.call === "") {',
    "a request allows exactly the call that was signed",
  ),
  requests(
    "approval-of-another-token",
    "if (request.by !== by) return",
    'if (request.by === "") return',
    "only the token that asked uses a request",
  ),
  requests(
    "approval-in-another-region",
    "if (!request.regions.includes(region)) {",
    "if (request.regions.length === 0) {",
    "a request of one region is not used in the other",
  ),
  requests(
    "approval-without-end",
    "if (untilMs + (use === undefined ? 0 : continueMs) <= nowMs) {",
    "if (untilMs <= 0) {",
    "a request ends after a day",
  ),
  requests(
    "approval-of-an-earlier-policy",
    "if (request.policy.digest !== version.digest) {",
    'if (request.policy.digest === "") {',
    "a request is void under a later policy",
  ),
  requests(
    "break-glass-without-a-reason",
    "if (breakGlass !== undefined && line.reason === undefined) {",
    'if (breakGlass !== undefined && approver.name === "") {',
    "a break-glass key needs a reason",
  ),
  requests(
    "damaged-policy-opens",
    "if (view.unreadPolicies.size > 0) {",
    "if (view.unreadPolicies.size > 1_000) {",
    "a policy that cannot be read closes, and does not open",
  ),
  rule(
    `${approvals}/guarded-handlers.ts`,
    "secrets-in-requests",
    "secrets.has(name) ? notShown : withoutSecrets(value),",
    "withoutSecrets(value),",
    "a request has no secret",
  ),
  policies(
    "policy-changed-by-too-few",
    "return signersOf(text, approvers, lines).length >= approvals;",
    "return signersOf(text, approvers, lines).length >= 1;",
    "the approvers of the policy in force change it",
  ),
  policies(
    "new-key-without-its-owner",
    "if (unadmitted(policy, last?.policy, given).length > 0) return undefined;",
    "if (unadmitted(policy, last?.policy, given).length > 99) return undefined;",
    "each new key signs its own admission",
  ),
  policies(
    "reset-at-once",
    "const effectiveMs = waits ? createdMs + delayMs : createdMs;",
    "const effectiveMs = createdMs;",
    "a reset waits 72 hours",
  ),
  policies(
    "one-key-stops-every-reset",
    "spent.add(first.key);",
    "",
    "one approver cancels alone only once",
  ),
  rule(
    "packages/admin/src/approvals/policy.ts",
    "signature-of-any-key",
    "lines.some((line) => line.key === key && signs(text, line))",
    "lines.some((line) => signs(text, line))",
    "a signature counts for the key that made it",
  ),
];
