import {
  approvalActions,
  type Contract,
  cancelText,
  contract,
  policyText,
  type Route,
} from "@holdfast/admin";
import { markedIdentifier } from "@holdfast/engine";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { systemIds as ids } from "../base/system.ts";
import { bootstrapId } from "../management/tokens/bootstrap.ts";
import type { TestNode } from "../testing/access.ts";
import { ApprovalWorld, refusal } from "../testing/approval-world.ts";
import {
  approversNamed,
  newerText,
  policyAfter,
  policyWith,
  signedBy,
  type TestApprover,
} from "../testing/approvals.ts";

const approvers = approversNamed("alice", "bob", "carol");
const [alice, bob, carol] = approvers as readonly [TestApprover, TestApprover, TestApprover];
const [safe] = approversNamed("safe") as readonly [TestApprover];
const [eve] = approversNamed("eve") as readonly [TestApprover];
const policy = policyWith(approvers, { breakGlass: [safe] });
const hourMs = 3_600_000;
const manager = { body: { name: "second", roles: ["manager"], days: 90 } };

let access: ApprovalWorld;

beforeEach(() => {
  access = new ApprovalWorld();
});

afterEach(async () => {
  vi.useRealTimers();
  await access[Symbol.asyncDispose]();
});

/** What `holdfast approval init` writes. */
async function begin(text = policyText(policy), signers = [...approvers, safe]): Promise<void> {
  const values = { text, signatures: signedBy(text, signers), createdBy: "operator" };
  await access.a.region.records.create(
    "ApprovalPolicy",
    { ...values, createdMs: Date.now() - 1000, claims: [["version", "1"]] },
    [],
    { id: markedIdentifier("ApprovalPolicy", ids.uuid()) },
  );
  await access.see();
}

/** Calls something guarded; answers the request that was made. */
function asked(
  node: TestNode,
  name: keyof Contract = "createToken",
  given: object = manager,
  caller = {},
): Promise<string> {
  return access.asked(name, given, caller, node);
}

async function textOf(node: TestNode, approval: string): Promise<string> {
  const document = await access.document(approval, node);
  return document.slice(0, document.indexOf("\n\n") + 1);
}

async function sign(
  node: TestNode,
  approval: string,
  signers: readonly TestApprover[],
  reason?: string,
): Promise<void> {
  const signatures = signedBy(await textOf(node, approval), signers, reason);
  await node.call("signApproval", { params: { approval }, body: { signatures } });
  await access.see();
}

/** An approved request for `createToken`. */
async function approved(node: TestNode): Promise<string> {
  const approval = await asked(node);
  await sign(node, approval, [alice, bob]);
  return approval;
}

const tokens = () => access.a.region.view.all("Token").filter(({ name }) => name === "second");

test("a guarded call makes a request, needs M signatures, and is then carried out once", async () => {
  await begin();
  const approval = await asked(access.a);
  expect(tokens()).toEqual([]);
  await sign(access.a, approval, [alice]);
  const use = (node: TestNode) => node.call("createToken", manager, { approval });
  expect(await refusal(use(access.a))).toContain("1 of 2 approvers have signed");
  await sign(access.b, approval, [bob]);
  expect((await access.b.call("readApproval", { params: { approval } })).state).toBe("approved");
  await use(access.b);
  await access.see();
  expect(tokens()).toHaveLength(1);
  for (const node of access.nodes) expect(await refusal(use(node))).toContain("works once");
  const { items } = await access.a.call("listApprovals", {});
  expect(items).toMatchObject([{ id: approval, state: "used", needed: 2 }]);
  expect(tokens()).toHaveLength(1);
});

test("without a policy, or for what the policy does not name, nothing is asked for", async () => {
  await access.a.call("createToken", manager);
  const only = policyWith(approvers, { actions: ["destroy-key"] });
  await begin(policyText(only), [...approvers]);
  await access.a.call("createToken", { body: { ...manager.body, name: "third" } });
  await access.a.call("createToken", { body: { name: "v", roles: ["viewer"], days: 1 } });
});

test("no signature of the same approver counts twice, and none of a stranger or of another text", async () => {
  await begin();
  const approval = await asked(access.a);
  const text = await textOf(access.a, approval);
  const hand = (signatures: string) =>
    access.a.call("signApproval", { params: { approval }, body: { signatures } });
  await hand(signedBy(text, [alice, alice]));
  await hand(signedBy(text, [alice]));
  expect(await refusal(hand(signedBy(text, [eve])))).toContain("is not one of the policy");
  const other = await asked(access.a, "createToken", { body: { ...manager.body, name: "other" } });
  const foreign = signedBy(await textOf(access.a, other), [bob]);
  expect(await refusal(hand(foreign))).toContain("signature of bob is not of this request");
  expect(await refusal(hand("nonsense"))).toContain("line 1 is not a signature");
  expect(await refusal(access.a.call("createToken", manager, { approval }))).toContain("1 of 2");
  expect(tokens()).toEqual([]);
});

test("a forged signature in the store counts for nothing", async () => {
  await begin();
  const approval = await asked(access.a);
  const text = await textOf(access.a, approval);
  const line = signedBy(text, [eve]).replace(eve.key, bob.key);
  const forged = { line, atMs: Date.now(), by: "eve" };
  await access.a.region.records.change(
    "ApprovalRequest",
    approval,
    () => ({
      signature: { [bob.key]: forged, [eve.key]: { ...forged, line: signedBy(text, [eve]) } },
    }),
    [],
  );
  await sign(access.a, approval, [alice]);
  expect(await refusal(access.a.call("createToken", manager, { approval }))).toContain("1 of 2");
});

test("an approved request is bound to the call, the target, the operation, the token and its time", async () => {
  await begin();
  const instance = await access.instance("kmip-one");
  const other = await access.instance("kmip-two");
  const approval = await asked(access.a, "setUser", {
    params: { instance, user: "esx" },
    body: { password: "a good long password" },
  });
  await sign(access.a, approval, [alice, bob]);
  const body = { password: "a good long password" };
  const params = { instance, user: "esx" };
  const use = (given: object, caller = {}, name: keyof Contract = "setUser") =>
    refusal(access.a.call(name, given, { approval, ...caller }));
  expect(await use({ params: { ...params, instance: other }, body })).toContain("it is about");
  expect(await use({ params: { ...params, user: "root" }, body })).toContain("it is about");
  const limited = { ...body, operations: ["all"] };
  expect(await use({ params, body: limited })).toContain("it allows another call");
  expect(await use({ params }, {}, "deleteUser")).toContain("it allows setUser, not deleteUser");
  expect(await use({ params, body }, { id: "stolen" })).toContain("another token asked for it");
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 24 * hourMs + 1000 });
  expect(await use({ params, body })).toContain("it ended at");
  vi.setSystemTime(Date.now() - 50 * hourMs);
  expect(await use({ params, body })).toContain("correct the clock");
  vi.useRealTimers();
  expect(access.a.region.view.all("User")).toEqual([]);
  await access.a.call("setUser", { params, body }, { approval });
  expect(access.a.region.view.all("User")).toHaveLength(1);
});

test("the password is neither in the request nor in what approvers see", async () => {
  await begin();
  const instance = await access.instance("kmip-one");
  const body = { password: "a good long password" };
  const approval = await asked(access.a, "setUser", { params: { instance, user: "esx" }, body });
  const { document } = await access.a.call("readApproval", { params: { approval } });
  expect(document).toContain('"password":"(secret)"');
  expect(document).not.toContain("good long");
});

test("of two uses at once, at two nodes of two regions, exactly one is carried out", async () => {
  await begin();
  for (let round = 0; round < 10; round += 1) {
    const given = { body: { ...manager.body, name: `token ${round}` } };
    const approval = await asked(access.a, "createToken", given);
    await sign(access.a, approval, [bob, carol]);
    const uses = [access.a, access.b, access.a, access.b].map((node) =>
      node.call("createToken", given, { approval }),
    );
    const ended = await Promise.allSettled(uses);
    await access.see();
    expect(ended.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const made = access.b.region.view.all("Token").filter(({ name }) => name === given.body.name);
    expect(made).toHaveLength(1);
  }
  const events = access.nodes.flatMap(({ region }) => region.events);
  expect(events.filter((one) => one.type === "approval" && one.step === "use")).toHaveLength(10);
});

test("a use that failed may be repeated with the same request, one of a killed node after two minutes", async () => {
  await begin();
  await access.a.call("createToken", { body: { name: "first", roles: ["viewer"], days: 1 } });
  const approval = await approved(access.a);
  const use = () => access.a.call("createToken", manager, { approval });
  const { records } = access.a.region;
  const create = vi.spyOn(records, "create").mockRejectedValueOnce(new Error("the disk is full"));
  expect(await refusal(use())).toContain("the disk is full");
  create.mockRestore();
  const killed = { state: "begun", requestId: "r", region: "b", node: "b1" } as const;
  const markAt = (atMs: number) =>
    records.change("ApprovalRequest", approval, () => ({ use: { ...killed, atMs } }), []);
  await markAt(Date.now());
  expect(await refusal(use())).toContain("node b1 of region b uses it now");
  await markAt(Date.now() - 121_000);
  await use();
  expect(await refusal(use())).toContain("works once");
  expect(tokens()).toHaveLength(1);
});

test("while the regions are cut apart, a request made before is refused, and one made now works in its region only", async () => {
  await begin();
  const before = await approved(access.a);
  access.regions.linked = false;
  const error = await access.a
    .call("createToken", manager, { approval: before })
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "peerUnreachable" });
  const given = { body: { ...manager.body, name: "alone" } };
  const approval = await asked(access.a, "createToken", given);
  expect(await textOf(access.a, approval)).toContain("\nin a\n");
  await sign(access.a, approval, [alice, carol]);
  access.regions.linked = true;
  await access.see();
  const there = access.b.call("createToken", given, { approval });
  expect(await refusal(there)).toContain("it may be used only in region a");
  access.regions.linked = false;
  await access.a.call("createToken", given, { approval });
  access.regions.linked = true;
  await access.see();
  await access.a.call("createToken", manager, { approval: before });
  expect(tokens()).toHaveLength(1);
});

test("a break-glass key counts as all approvals, needs a reason, and is reported", async () => {
  await begin();
  const approval = await asked(access.a);
  const text = await textOf(access.a, approval);
  const bare = { params: { approval }, body: { signatures: signedBy(text, [safe]) } };
  expect(await refusal(access.a.call("signApproval", bare))).toContain("sign with --reason");
  await sign(access.a, approval, [safe], "all approvers are on one aeroplane");
  await access.a.call("createToken", manager, { approval });
  const steps = access.a.region.events.flatMap((event) =>
    event.type === "approval" && event.breakGlass ? [event.step] : [],
  );
  expect(steps).toEqual(["signature", "use"]);
  const shown = await access.a.call("readApproval", { params: { approval } });
  expect(shown.signedBy).toMatchObject([
    { name: "safe", breakGlass: true, reason: "all approvers are on one aeroplane" },
  ]);
});

test("a request that is cancelled, unknown, or of an earlier policy allows nothing", async () => {
  await begin();
  const approval = await approved(access.a);
  const early = await asked(access.b, "createToken", { body: { ...manager.body, name: "early" } });
  await sign(access.b, early, [alice, bob]);
  const use = (id: string, given: object = manager) =>
    refusal(access.a.call("createToken", given, { approval: id }));
  await access.a.call("cancelApproval", { params: { approval } });
  expect(await use(approval)).toContain("the request is not known, or was cancelled");
  expect(await use(ids.uuid())).toContain("the request is not known");
  const next = policyText(policyAfter(policy, { approvals: 3 }));
  await access.a.call("changeApprovalPolicy", {
    body: { text: next, signatures: signedBy(next, [alice, bob]) },
  });
  await access.see();
  const body = { ...manager.body, name: "early" };
  expect(await use(early, { body })).toContain("under an earlier policy");
  expect(tokens()).toEqual([]);
});

test("an operator cancels only its own requests", async () => {
  await begin();
  const approval = await asked(access.a);
  const stranger = { roles: ["operator"], id: "another" } as const;
  const cancel = (caller: object) =>
    refusal(access.a.call("cancelApproval", { params: { approval } }, caller));
  expect(await cancel(stranger)).toContain("only requests of the same token");
  expect(await cancel({ roles: ["operator"] })).toBe("not refused");
});

test("the policy is changed only by its approvers, and by each new key", async () => {
  await begin();
  const change = (text: string, signatures: string) =>
    refusal(access.a.call("changeApprovalPolicy", { body: { text, signatures } }));
  const takeover = policyText(policyAfter(policy, { approvers: [eve, alice] }));
  expect(await change(takeover, signedBy(takeover, [eve, alice]))).toContain("1 of 2 approvers");
  expect(await change(takeover, signedBy(takeover, [alice, bob]))).toContain(
    "key of eve must sign",
  );
  const foreign = policyText(policyWith([eve, alice], { version: 2, previous: "ab".repeat(32) }));
  expect(await change(foreign, signedBy(foreign, [alice, bob, eve]))).toContain("does not follow");
  expect(await change(takeover, signedBy(takeover, [alice, bob, eve]))).toBe("not refused");
  await access.see();
  const { items } = await access.b.call("readApprovalPolicy", {});
  expect(items).toMatchObject([{ version: 2, state: "in-force" }]);
  expect(await change(takeover, signedBy(takeover, [alice, bob, eve]))).toContain(
    "does not follow",
  );
});

test("a policy that somebody writes to the store is believed only with all its signatures", async () => {
  await begin();
  const [mallory] = approversNamed("mallory") as readonly [TestApprover];
  const text = policyText(policyAfter(policy, { approvers: [eve, mallory] }));
  const write = async (signers: readonly TestApprover[]) => {
    const values = { text, signatures: signedBy(text, signers), createdMs: 1, createdBy: "eve" };
    const id = markedIdentifier("ApprovalPolicy", ids.uuid());
    await access.a.region.records.create("ApprovalPolicy", values, [], { id });
    await access.see();
    return access.nodes.map((node) => node.approvals.standing().inForce?.text === text);
  };
  expect(await write([eve, mallory, alice])).toEqual([false, false]);
  expect(await write([eve, alice, bob])).toEqual([false, false]);
  expect(await write([eve, mallory, alice, bob])).toEqual([true, true]);
});

/** What `holdfast approval reset` writes. */
async function reset(atMs: number): Promise<string> {
  const none = { approvals: 0, approvers: [], breakGlass: [], actions: [] };
  const text = policyText({ ...policyAfter(policy, none), ...none });
  const id = await access.write(text, "", atMs);
  await access.tend();
  return id;
}

test("a reset waits 72 hours; one approver cancels it once, and then M must", async () => {
  await begin();
  const ids = [await reset(Date.now()), await reset(Date.now() + 1)] as const;
  const waiting = async () =>
    (await access.b.call("readApprovalPolicy", {})).items.filter(
      ({ state }) => state === "waiting",
    );
  const [one] = await waiting();
  expect(await waiting()).toHaveLength(2);
  const stop = (policyId: string, signers: readonly TestApprover[]) =>
    refusal(
      access.b.call("stopApprovalPolicy", {
        params: { policy: policyId },
        body: { signatures: signedBy(cancelText(one?.digest ?? "", policyId), signers) },
      }),
    );
  expect(await stop(ids[0], [eve])).toContain("no approver of the policy in force signed");
  expect(await stop(ids[0], [alice])).toBe("not refused");
  await access.see();
  expect(await stop(ids[1], [alice])).toContain(
    "has cancelled a change before: now 2 approvers must sign",
  );
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 71 * hourMs });
  expect(access.b.approvals.standing().inForce).toBeDefined();
  vi.setSystemTime(Date.now() + 2 * hourMs);
  expect(access.b.approvals.standing().inForce).toBeUndefined();
  vi.setSystemTime(Date.now() - 2 * hourMs);
  expect(await stop(ids[1], [alice, bob])).toBe("not refused");
  await access.see();
  vi.setSystemTime(Date.now() + 4 * hourMs);
  expect(access.b.approvals.standing().inForce).toBeDefined();
});

test("a policy that a break-glass key signed waits 72 hours, and does not stop the approvers", async () => {
  await begin();
  const [dave] = approversNamed("dave") as readonly [TestApprover];
  const text = policyText(policyAfter(policy, { approvers: [dave, eve], breakGlass: [] }));
  const body = {
    text,
    signatures: `${signedBy(text, [safe], "two keys are lost")}\n${signedBy(text, [dave, eve])}`,
  };
  const waits = await access.a.call("changeApprovalPolicy", { body });
  expect(waits.state).toBe("waiting");
  await access.see();
  const next = policyText(policyAfter(policy, { approvals: 3 }));
  const signatures = signedBy(next, [alice, carol]);
  await access.a.call("changeApprovalPolicy", { body: { text: next, signatures } });
  await access.see();
  expect((await access.b.call("readApprovalPolicy", {})).items).toHaveLength(1);
});

test("a damaged policy closes all that may need approvals, instead of opening it", async () => {
  const unread = new Set([markedIdentifier("ApprovalPolicy", ids.uuid())]);
  vi.spyOn(access.a.region.view, "unreadPolicies", "get").mockReturnValue(unread);
  expect(await refusal(access.a.call("createToken", manager))).toContain("damaged");
  expect(tokens()).toEqual([]);
});

test("a policy of a newer version closes all that may need approvals, at a node that cannot read it", async () => {
  await begin(policyText(policyWith(approvers, { actions: ["destroy-key"] })), [...approvers]);
  const text = newerText(policyAfter(policy, { approvals: 3 }));
  await access.write(text, signedBy(text, [alice, bob]));
  const next = policyText(policyAfter(policy, {}));
  const body = { text: next, signatures: signedBy(next, [alice, bob]) };
  for (const node of access.nodes) {
    const says = `node ${node.region.name}1 cannot read a version of the approval policy`;
    for (const call of [
      () => node.call("createToken", manager),
      () => node.call("changeApprovalPolicy", { body }),
      () => node.call("readApprovalPolicy", {}),
    ]) {
      expect(await refusal(call())).toContain(says);
    }
  }
  expect(tokens()).toEqual([]);
});

test("at most ten requests of one token wait, and the same call makes no second one", async () => {
  await begin();
  const first = await asked(access.a);
  expect(await asked(access.a)).toBe(first);
  for (let count = 1; count < 10; count += 1) {
    await asked(access.a, "createToken", { body: { ...manager.body, name: `t${count}` } });
  }
  const more = { body: { ...manager.body, name: "more" } };
  expect(await refusal(access.a.call("createToken", more))).toContain("10 requests of this token");
  await asked(access.a, "createToken", more, { id: "another" });
});

test("the one-time token needs approvals too, and takes them", async () => {
  await begin();
  const given = { body: { name: "first", roles: ["manager", "security-officer"], days: 1 } };
  const oneTime = { id: bootstrapId, roles: ["manager", "security-officer"] as const };
  const approval = await asked(access.a, "createToken", given, oneTime);
  const signatures = signedBy(await textOf(access.a, approval), [alice, carol]);
  await access.a.call("signApproval", { params: { approval }, body: { signatures } }, oneTime);
  const { token } = await access.a.call("createToken", given, { ...oneTime, approval });
  expect(token).toMatchObject({ name: "first", roles: ["security-officer", "manager"] });
});

test("what would be refused anyway makes no request", async () => {
  await begin();
  const params = { instance: ids.uuid(), user: "esx" };
  const body = { password: "a good long password" };
  const error = await access.a.call("setUser", { params, body }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "notFound" });
  expect((await access.a.call("listApprovals", {})).items).toEqual([]);
});

test("the routes that need approvals are these, and each action of a policy has a route or a command at a node", () => {
  const guarded = (Object.entries(contract) as [string, Route][]).flatMap(([name, route]) =>
    route.guarded === undefined ? [] : [`${name}: ${route.guarded.action}`],
  );
  expect(guarded.toSorted()).toEqual([
    "addCertificate: admit-client",
    "adoptCertificate: admit-client",
    "configureRoot: move-root",
    "createToken: give-role",
    "deleteInstance: delete-instance",
    "deleteUser: admit-client",
    "destroyKey: destroy-key",
    "issuePair: admit-client",
    "removeDenial: admit-client",
    "restoreKey: destroy-key",
    "revalidateRoot: open-keys",
    "revokeKey: destroy-key",
    "setUser: admit-client",
    "shredInstance: shred",
    "signRequest: admit-client",
    "updateCertificate: admit-client",
    "updateInstance: allow-destroy",
  ]);
  const local = ["accept-store", "adopt-root", "restore-instance", "retire-region"];
  const named = new Set([...guarded.map((one) => one.split(": ")[1]), ...local]);
  expect([...named].toSorted()).toEqual([...approvalActions].toSorted());
});
