import type { PlantedFault } from "../fault.ts";

const approvals = "packages/server/src/approvals";
const tests = [`${approvals}/approvals.test.ts`];
const promises = ["Where an approval policy is in force, a call that it names is carried out only"];
const rule = (file: string, name: string, find: string, replace: string, says: string) =>
  ({ name, kind: "access", file, find, replace, rule: says, promises, tests }) as const;
const requests = (...row: readonly [string, string, string, string]) =>
  rule(`${approvals}/requests.ts`, ...row);
/** What a thief or a wrong clock would gain from the fault. */
const gain = (...row: Parameters<typeof rule>) =>
  ({ ...rule(...row), tests: [`${approvals}/attacks.test.ts`] }) as const;
const policies = (...row: readonly [string, string, string, string]) =>
  rule(`${approvals}/policies.ts`, ...row);

/** What one instance asks for, besides the system. */
const ofInstances = (...row: Parameters<typeof rule>) =>
  ({
    ...rule(...row),
    promises: ["What an instance asks approvals for is done only with those of its own approvers"],
    tests: [`${approvals}/instance-policy.test.ts`],
  }) as const;

/** What somebody could have an authenticator sign, or sign without one. */
const authenticators = (...row: readonly [string, string, string, string]) =>
  ({
    ...rule("packages/admin/src/approvals/authenticator.ts", ...row),
    tests: [`${approvals}/authenticators.test.ts`],
  }) as const;

/** What a compromised region could have the other one take. */
const joins = (
  file: string,
  ...[name, find, replace, says]: readonly [string, string, string, string]
) =>
  ({
    ...rule(`${approvals}/${file}`, name, find, replace, says),
    promises: ["Where an approval policy is in force, a region takes from the other one a change"],
    tests: [`${approvals}/join-rules.test.ts`],
  }) as const;

/** The same about the revocation of keys. */
const revocations = (...row: Parameters<typeof joins>) =>
  ({ ...joins(...row), tests: [`${approvals}/join-revocation.test.ts`] }) as const;

/** Faults in approvals. */
export const approvalFaults: readonly PlantedFault[] = [
  requests(
    "approved-by-one-too-few",
    "return isSigned(record.text, part, lines) ||",
    "return isSigned(record.text, { ...part, approvals: part.approvals - 1 }, lines) ||",
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
  policies(
    "damaged-policy-opens",
    "if (view.unreadPolicies.size > 0) {",
    "if (view.unreadPolicies.size > 1_000) {",
    "a policy that cannot be read closes, and does not open",
  ),
  policies(
    "newer-policy-opens",
    "readingOf(one).policy !== undefined || !isPolicyText(one.text);",
    'readingOf(one).digest !== "" || !isPolicyText(one.text);',
    "a policy of a newer version closes, and does not count as none",
  ),
  rule(
    `${approvals}/guarded-handlers.ts`,
    "secrets-in-requests",
    "if (first === undefined) return notShown;",
    "if (first === undefined) return value;",
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
    "if (unadmitted(policy, last, lines).length > 0) return",
    "if (unadmitted(policy, last, lines).length > 99) return",
    "each new key signs its own admission",
  ),
  policies(
    "reset-at-once",
    'const effectiveMs = as === "waits" ? waitedMs(seen, at) : createdMs;',
    "const effectiveMs = createdMs;",
    "a reset waits 72 hours",
  ),
  policies(
    "one-key-stops-every-reset",
    "spent.add(first.key);",
    "",
    "one approver cancels alone only once",
  ),
  gain(
    `${approvals}/policies.ts`,
    "reset-by-a-false-date",
    'const effectiveMs = as === "waits" ? waitedMs(seen, at) : createdMs;',
    'const effectiveMs = as === "waits" ? Math.min(createdMs + 72 * 3_600_000, waitedMs(seen, at)) : createdMs;',
    "the 72 hours begin when a leader sees the change",
  ),
  gain(
    "packages/admin/src/approvals/text.ts",
    "cancellation-of-another-change",
    "change: string): string {",
    'change: string): string {\n  change = "";',
    "a cancellation is of one change",
  ),
  gain(
    `${approvals}/approvals-duty.ts`,
    "reset-by-a-doubtful-clock",
    "if (doubt() !== undefined) return [];",
    "",
    "a leader whose clock differs from the others begins no wait",
  ),
  gain(
    `${approvals}/approvals-duty.ts`,
    "requests-kept-for-ever",
    "return createdMs < nowMs - keptMs && untilMs < nowMs;",
    "return createdMs < nowMs - keptMs && untilMs < 0;",
    "requests are deleted after a week",
  ),
  gain(
    "packages/server/src/management/approvals/policy-handlers.ts",
    "cancel-revives-a-change",
    "if (then.last?.id !== last?.id || !then.waiting.every(known)) {",
    "if (then.last?.id !== last?.id) {",
    "no cancellation revives another change",
  ),
  gain(
    "packages/server/src/management/approvals/policy-handlers.ts",
    "changes-by-break-glass-without-end",
    "const delayedMax = 20;",
    "const delayedMax = 2_000;",
    "a break-glass key signs few changes of one version",
  ),
  gain(
    `${approvals}/guarded-handlers.ts`,
    "instances-signed-by-name",
    "{ ...body, [field]: Object.keys(named).toSorted() }",
    "body",
    "approvers sign the identifiers of instances",
  ),
  gain(
    `${approvals}/guarded-handlers.ts`,
    "certificate-signed-by-name",
    "return { ...call, params: { ...params, certificate: id } };",
    'return { ...call, params: { ...params, certificate: id === "" ? id : certificate } };',
    "approvers sign the identifier of a certificate",
  ),
  gain(
    `${approvals}/requests.ts`,
    "operators-fill-all-places",
    "const alike = open.filter((record) => record.asker === asker).length;",
    "const alike = open.length;",
    "requests are counted by who asks",
  ),
  gain(
    `${approvals}/requests.ts`,
    "long-use-not-renewed",
    "const renewal = setInterval(() => void this.#mark(id, begun), renewMs);",
    "const renewal = setInterval(() => undefined, renewMs);",
    "the mark of a use is renewed while its work runs",
  ),
  {
    name: "revalidation-ends-any-shred",
    kind: "access",
    file: "packages/server/src/records/keys-order.ts",
    find: "opened[region]?.ends === order.id ?",
    replace: "(opened[region]?.atMs ?? 0) >= order.atMs ?",
    rule: "an order to open keys ends only the shred that it names",
    promises,
    tests: ["packages/server/src/roots/validate-roots.test.ts"],
  },
  gain(
    "packages/admin/src/approvals/signature.ts",
    "keys-of-small-order",
    "return y < prime && !smallOrder.has(y);",
    "return y < prime;",
    "no key of small order is an approver's",
  ),
  authenticators(
    "authenticator-without-its-user",
    "const userFlags = 0b101;",
    "const userFlags = 0b001;",
    "an authenticator verifies its user",
  ),
  authenticators(
    "authenticator-of-another-site",
    "return host !== undefined && isAtRelyingParty(host, relyingParty);",
    "return true;",
    "an authenticator signs for pages of its relying party",
  ),
  authenticators(
    "authenticator-signs-any-text",
    "if (!said.success || said.data.challenge !== challenge) return false;",
    "if (!said.success) return false;",
    "an authenticator's signature is of one text",
  ),
  authenticators(
    "authenticator-key-of-two-names",
    "const isPlain = spki.length === p256Bytes && spki[pointAt] === uncompressed;",
    "const isPlain = true;",
    "each authenticator's key has one name",
  ),
  rule(
    "packages/admin/src/approvals/policy.ts",
    "signature-of-any-key",
    "lines.some((line) => line.key === key && signs(text, line))",
    "lines.some((line) => signs(text, line))",
    "a signature counts for the key that made it",
  ),
  ofInstances(
    "packages/admin/src/approvals/policy.ts",
    "instance-asks-for-nothing",
    "const own = policy.instances.filter((part) => part.instance === instance);",
    'const own = policy.instances.filter(() => instance === "");',
    "what an instance asks for is asked for",
  ),
  ofInstances(
    "packages/admin/src/approvals/policy.ts",
    "instance-asks-instead-of-the-system",
    "return [policy, ...own].filter(",
    "return (own.length > 0 ? own : [policy]).filter(",
    "an instance never asks for less than the system",
  ),
  ofInstances(
    "packages/admin/src/approvals/policy.ts",
    "another-instance-is-asked",
    "policy.instances.filter((part) => part.instance === instance);",
    'policy.instances.filter((part) => part.instance !== "");',
    "an instance asks for nothing about another one",
  ),
  ofInstances(
    `${approvals}/requests.ts`,
    "approved-by-one-part",
    "parts.every((part) => isApprovedBy(record, part));",
    "parts.some((part) => isApprovedBy(record, part));",
    "the approvers of the system and of the instance must sign",
  ),
  ofInstances(
    `${approvals}/requests.ts`,
    "approved-by-nobody",
    "return parts.length > 0 && parts.every(",
    "return parts.every(",
    "no request counts under a version that does not ask for it",
  ),
  ofInstances(
    `${approvals}/policies.ts`,
    "instance-weakened-by-the-system-alone",
    "return [last, ...changed].filter(",
    "return [last].filter(",
    "the approvers of an instance sign a change of what it asks for",
  ),
  ofInstances(
    `${approvals}/policies.ts`,
    "instance-approvers-stop-break-glass",
    "policy.approvals === 0 || unsigned[0] === last.policy;",
    "unsigned.length === 0;",
    "the approvers of an instance do not stop the way back of the system",
  ),
  ofInstances(
    `${approvals}/policies.ts`,
    "instance-cannot-cancel",
    "[last.policy, ...unsigned];",
    "[last.policy];",
    "the approvers of an instance cancel a change that waits for them",
  ),
  {
    name: "agreed-change-refused-late",
    kind: "access",
    file: "packages/regions/src/store/peer-service.ts",
    find: "this.#requireAgreeing();\n    await this.#admitted(instance, changes);",
    replace: "this.#requireAgreeing();",
    rule: "an agreed change that the other region would not take is refused before anything is decided",
    promises: ["Where an approval policy is in force, a region takes from the other one a change"],
    tests: ["packages/regions/src/store/agreed.test.ts"],
  },
  {
    name: "reservation-without-its-changes",
    kind: "access",
    file: "packages/regions/src/store/agreed.ts",
    find: "site.reserve(instance, this.#updated, this.#operation, changes);",
    replace: "site.reserve(instance, this.#updated, this.#operation, []);",
    rule: "a reservation says what is to be agreed on",
    promises: ["Where an approval policy is in force, a region takes from the other one a change"],
    tests: ["packages/regions/src/store/agreed.test.ts"],
  },
  revocations(
    "needed.ts",
    "join-revokes-without-a-request",
    "if (deactivated === undefined && compromised === undefined && then >= date) return false;",
    "if (compromised === undefined && then >= date) return false;",
    "the other region revokes no Active key without a request",
  ),
  revocations(
    "needed.ts",
    "join-deactivates-by-a-new-date",
    "if (deactivated === undefined && compromised === undefined && then >= date) return false;",
    "if (deactivated === undefined && compromised === undefined) return false;",
    "the other region plans no earlier deactivation",
  ),
  revocations(
    "needed.ts",
    "join-judges-a-later-compromise",
    "const facts = [deactivated, compromised].filter(",
    "const facts = [compromised ?? deactivated].filter(",
    "a revocation that was approved is taken, although the key was compromised since",
  ),
  revocations(
    "needed.ts",
    "join-revokes-by-a-plain-destroy",
    'operation === "destroyKey"\n      ? query["force"] === "true"',
    'operation === "destroyKey"\n      ? query["force"] !== ""',
    "only a destruction with force revokes an Active key",
  ),
  gain(
    `${approvals}/join-rules.ts`,
    "newer-policy-of-anybody",
    'last !== undefined && typeof lines !== "string" && isSigned(text, last.policy, lines);',
    'last !== undefined && typeof lines !== "string";',
    "a policy that a region cannot read is taken only with the signatures of the approvers in force",
  ),
  joins(
    "join-rules.ts",
    "join-without-a-request",
    "if (!this.#isProven(need, standing)) {",
    "if (!this.#isProven(need, standing) && unless !== undefined) {",
    "a change of the other region is taken only with its request",
  ),
  joins(
    "join-rules.ts",
    "join-of-another-call",
    "if (call === undefined || need.fits?.(call, request.operation) === false) return false;",
    "if (call === undefined) return false;",
    "a change of the other region is taken only if it is what the request says",
  ),
  joins(
    "join-rules.ts",
    "join-made-twice",
    "if (need.made !== undefined && need.made !== madeId(operation, request)) return false;",
    "",
    "one request makes one thing",
  ),
  joins(
    "join-rules.ts",
    "join-of-another-first-policy",
    "if (!isKnown) return",
    "if (isKnown) return",
    "the other region begins no other policy",
  ),
  joins(
    "needed.ts",
    "join-takes-a-shred-away",
    "now[region] !== undefined || after.opened[region]?.ends === id",
    "now[region] !== undefined || before !== undefined",
    "an order that shredded keys ends only by an order that opens them",
  ),
  joins(
    "join-rules.ts",
    "join-believes-before-the-own-store",
    'view.believed(after.uniqueIdentifier) ?? (view.hasReadOwn ? undefined : "damaged");',
    "view.believed(after.uniqueIdentifier);",
    "before its own store was read, a node does not believe that this has no such record",
  ),
  joins(
    "join-rules.ts",
    "join-ends-a-wait",
    "theirMs !== ownMs && theirMs < policyMs() - hourMs",
    "theirMs !== ownMs && theirMs < 0",
    "the other region does not say how long this one has waited",
  ),
  joins(
    "policies.ts",
    "wait-ended-by-the-other-region",
    "return ownMs <= nowMs ? firstMs : ownMs;",
    "return firstMs;",
    "the other region's word ends no wait",
  ),
];
