import {
  type ApprovalPolicy,
  type ApprovalText,
  cancelText,
  digestOf,
  parsePolicy,
  policyFault,
  policyText,
  printSignature,
  requestText,
} from "@holdfast/admin";
import {
  changeRecord,
  type ManagedObject,
  makeRecord,
  markedIdentifier,
  systemInstance,
  withDestroyed,
} from "@holdfast/engine";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { systemIds as ids } from "../base/system.ts";
import { instanceRecordId } from "../records/records.ts";
import { ApprovalWorld, refusal, rulesOf } from "../testing/approval-world.ts";
import {
  approversNamed,
  newerText,
  policyAfter,
  signedBy,
  type TestApprover,
} from "../testing/approvals.ts";
import { certificateValues } from "../testing/system-records.ts";
import { withApprovals } from "./guarded-handlers.ts";
import { madeId } from "./made-id.ts";
import { breakGlassCounts, signaturesIn } from "./requests.ts";

const hourMs = 3_600_000;
const manager = { name: "second", roles: ["manager"], days: 90 };

let world: ApprovalWorld;

beforeEach(async () => {
  world = new ApprovalWorld();
  await world.begin();
});

afterEach(async () => {
  vi.useRealTimers();
  await world[Symbol.asyncDispose]();
});

function at(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: ms });
}

/** The text of a reset of a policy. */
function resetOf(policy: ApprovalPolicy): string {
  const none = { approvals: 0, approvers: [], breakGlass: [], actions: [] };
  return policyText({ ...policyAfter(policy, none), ...none });
}

/** A change that a thief with the break-glass key signed. */
function theft(name: string) {
  const thieves = approversNamed(`${name}1`, `${name}2`);
  const text = policyText(policyAfter(world.policy, { approvers: thieves, breakGlass: [] }));
  const lines = [signedBy(text, [world.safe], "stolen"), signedBy(text, thieves)];
  return { text, signatures: lines.join("\n") };
}

const waiting = async () =>
  (await world.b.call("readApprovalPolicy", {})).items.filter(({ state }) => state === "waiting");

async function stop(id: string, signers: readonly TestApprover[], of = id): Promise<string> {
  const { digest = "" } = (await waiting()).find((one) => one.id === id) ?? {};
  const signatures = signedBy(cancelText(digest, of), signers);
  const call = world.b.call("stopApprovalPolicy", { params: { policy: id }, body: { signatures } });
  const said = await refusal(call);
  await world.see();
  return said;
}

test("no approver revives a change by cancelling another one", async () => {
  const [alice, bob] = world.approvers;
  const [one, other] = [theft("x"), theft("y")];
  const first = await world.write(one.text, one.signatures);
  await world.tend();
  at(Date.now() + 5000);
  const second = await world.write(other.text, other.signatures);
  await world.tend();
  expect(await stop(second, [alice])).toBe("not refused");
  expect(await stop(first, [alice])).toContain("a later change, which would wait again: now 2");
  expect((await waiting()).map(({ id }) => id)).toEqual([first]);
  expect(await stop(first, [alice, bob])).toBe("not refused");
  expect(await waiting()).toEqual([]);
});

test("whoever stole a break-glass key makes at most 20 changes, and the approvers end them all with one", async () => {
  const post = async (count: number) => {
    const said = await refusal(world.a.call("changeApprovalPolicy", { body: theft(`t${count}`) }));
    await world.see();
    return said;
  };
  for (let count = 0; count < 20; count += 1) expect(await post(count)).toBe("not refused");
  expect(await post(20)).toContain("20 changes of this version wait, or were cancelled");
  await world.tend();
  expect(await waiting()).toHaveLength(20);
  const next = policyText(policyAfter(world.policy, { breakGlass: [] }));
  const signatures = signedBy(next, world.approvers.slice(1));
  await world.a.call("changeApprovalPolicy", { body: { text: next, signatures } });
  await world.see();
  expect(await waiting()).toEqual([]);
  at(Date.now() + 80 * hourMs);
  for (const { approvals } of world.nodes) {
    expect(approvals.standing().inForce?.text).toBe(next);
  }
});

test("a cancellation is of one change, and not of a later one with the same text", async () => {
  const [alice, bob] = world.approvers;
  const first = await world.write(resetOf(world.policy), "");
  expect(await stop(first, [alice, bob])).toBe("not refused");
  const second = await world.write(resetOf(world.policy), "");
  expect(await stop(second, [alice, bob], first)).toContain("no approver of the policy in force");
  expect(await waiting()).toMatchObject([{ id: second }]);
});

test("the 72 hours begin when a leader sees the change, whatever time it names, and never unseen", async () => {
  const inForce = () => world.nodes.map(({ approvals }) => approvals.standing().inForce?.id);
  const before = inForce();
  await world.write(resetOf(world.policy), "", Date.now() - 73 * hourMs);
  expect(inForce()).toEqual(before);
  const { view } = world.b.region;
  expect(breakGlassCounts(view, Date.now())).toEqual([
    ["signed", 0],
    ["policy", 1],
  ]);
  const startMs = Date.now();
  at(startMs + 100 * hourMs);
  expect(inForce()).toEqual(before);
  // A leader whose clock differs from the others begins nothing.
  for (const node of world.nodes) node.aheadMs = -90 * hourMs;
  await world.tend();
  for (const node of world.nodes) node.aheadMs = 0;
  expect(await waiting()).toHaveLength(1);
  expect(view.all("ApprovalPolicy").map(({ seen }) => seen)).toEqual([{}, {}]);
  await world.tend();
  at(startMs + 171 * hourMs);
  expect(inForce()).toEqual(before);
  // Nor does a node whose clock alone is ahead end it.
  at(startMs + 173 * hourMs);
  for (const node of world.nodes) node.aheadMs = 72 * hourMs;
  expect(inForce()).toEqual(before);
  for (const node of world.nodes) node.aheadMs = 0;
  expect(inForce()).toEqual([undefined, undefined]);
  expect(breakGlassCounts(view, Date.now())[1]).toEqual(["policy", 1]);
});

test("after a reset, its text is shown, and a policy that follows it is in force", async () => {
  await world.write(resetOf(world.policy), "");
  await world.tend();
  at(Date.now() + 73 * hourMs);
  const shown = await world.a.call("readApprovalPolicy", {});
  expect(shown.items).toMatchObject([{ version: 2, state: "reset", approvals: 0 }]);
  const before = parsePolicy(shown.text ?? "") as ApprovalPolicy;
  const keys = approversNamed("dave", "erin", "frank");
  const after = { approvals: 2, approvers: keys, actions: world.policy.actions };
  const text = policyText(policyAfter(before, after));
  await world.write(text, signedBy(text, keys));
  for (const { approvals } of world.nodes) {
    expect(approvals.standing().inForce?.policy.version).toBe(3);
  }
});

test("a token that was approved for an instance does not reach another one that has its name since", async () => {
  const harmless = await world.instance("kmip-test");
  const prod = await world.instance("kmip-prod");
  const body = { ...manager, instances: ["kmip-test"] };
  const approval = await world.asked("createToken", { body });
  const document = await world.document(approval);
  expect(document).toContain(`"instances":["${harmless}"]`);
  expect(document).toContain('"kmip-test"');
  await world.sign(approval);
  const rename = (instance: string, name: string) =>
    world.a.region.records.change("Instance", instanceRecordId(instance), () => ({ name }), []);
  await rename(harmless, "kmip-old");
  await rename(prod, "kmip-test");
  await world.see();
  const use = (given: object) =>
    refusal(world.a.call("createToken", { body: given }, { approval }));
  expect(await use(body)).toContain("it allows another call");
  await rename(prod, "kmip-prod");
  await rename(harmless, "kmip-test");
  await world.see();
  expect(await use({ ...body, instances: [harmless] })).toBe("not refused");
  const [token] = world.a.region.view.all("Token");
  expect(token?.instances).toEqual([harmless]);
});

test("what was approved for a certificate is not done to another one that has its name since", async () => {
  const instance = await world.instance("kmip-test");
  const { records } = world.a.region;
  const add = (fingerprint: string) =>
    records.create(
      "Certificate",
      { ...certificateValues, instance, name: "vcenter", fingerprint },
      [],
    );
  const { record } = await add("a".repeat(64));
  const given = { params: { instance, certificate: "vcenter" }, body: { operations: ["all"] } };
  const approval = await world.asked("updateCertificate", given);
  expect(await world.document(approval)).toContain(`target ${instance}%2F${record.id}`);
  await world.sign(approval);
  await records.destroy("Certificate", record.id, []);
  await add("b".repeat(64));
  await world.see();
  const use = world.a.call("updateCertificate", given, { approval });
  expect(await refusal(use)).toContain("it is about");
});

test("all parameters are signed, whatever their form", async () => {
  const body = { ...manager, labels: { value: "harmless" } };
  const approval = await world.asked("createToken", { body });
  expect(await world.document(approval)).toContain('"labels":{"value":"harmless"}');
  await world.sign(approval);
  const other = { body: { ...body, labels: { value: "finance" } } };
  const use = world.a.call("createToken", other, { approval });
  expect(await refusal(use)).toContain("it allows another call");
});

test("operators cannot fill the place of the requests of managers and of nodes", async () => {
  const { approvals } = world.a;
  const { inForce } = approvals.standing();
  if (inForce === undefined) throw new TypeError("no policy");
  const ask = (asker: "other" | "lead" | "node", count: number) => {
    const by = `${asker}${Math.floor(count / 10)}`;
    const actor = { principal: { name: by, id: by }, requestId: "r" };
    const what = { action: "destroy-key", operation: "destroyKey", target: `k${count}` } as const;
    return approvals.ask({ ...what, call: { count }, by, asker, actor }, inForce);
  };
  for (let count = 0; count < 100; count += 1) await ask("other", count);
  expect(await refusal(ask("other", 100))).toContain("100 requests of operators wait");
  expect(await refusal(ask("lead", 0))).toBe("not refused");
  expect(await refusal(ask("node", 0))).toBe("not refused");
  const caller = { roles: ["operator"], id: "one more" } as const;
  await world.asked("createToken", { body: manager });
  const params = { instance: await world.instance("kmip-one"), user: "esx" };
  const given = { params, body: { password: "a good long password" } };
  expect(await refusal(world.a.call("setUser", given, caller))).toContain("requests of operators");
});

test("requests of the other region fill no place here, claim to be from here only once approved, and end", async () => {
  await using long = new ApprovalWorld();
  await long.begin(Date.now() - 2 * hourMs);
  const { approvals, region } = long.b;
  const { inForce } = approvals.standing();
  if (inForce === undefined) throw new TypeError("no policy");
  const { policy, digest } = inForce;
  const forged = (of: string, hours = 24, signers: readonly TestApprover[] = []) => {
    const [id, nowMs] = [ids.uuid(), Date.now()];
    const text = requestText({
      policy: { version: policy.version, digest },
      ...{ request: id, operation: "region retire", target: "a", call: digestOf("{}") },
      ...{ by: "node b1", regions: ["a", "b"] },
      until: Math.floor(nowMs / 1000) + hours * 3_600,
    } satisfies ApprovalText);
    const lines = signers.length === 0 ? [] : signaturesIn(signedBy(text, signers));
    const signature = Object.fromEntries(
      lines.map((line) => [line.key, { line: printSignature(line), atMs: nowMs, by: "eve" }]),
    );
    const values = { text, call: "{}", createdMs: nowMs, createdBy: "eve", signature };
    const at = { us: nowMs * 1_000, region: of };
    return makeRecord("ApprovalRequest", id, { ...values, asker: "node" }, at);
  };
  const push = (one: ManagedObject) => long.regions.push(region, [one]);
  for (let count = 0; count < 100; count += 1) {
    expect(await push(forged("a"))).toEqual(["durable"]);
  }
  await region.view.refresh();
  expect(region.view.all("ApprovalRequest")).toHaveLength(100);
  const actor = { principal: { name: "b1", id: "b1" }, requestId: "r" };
  // Not what was asked for there: the same request would need no place.
  const what = { operation: "region retire", target: "b", call: {}, actor } as const;
  const ask = approvals.ask({ ...what, by: "node b1", asker: "node" }, inForce);
  expect(await refusal(ask)).toBe("not refused");
  expect(await push(forged("b"))).toEqual(["refused"]);
  expect(await push(forged("b", 24, long.approvers.slice(0, 2)))).toEqual(["durable"]);
  // What takes no place may be one that this region's store has lost.
  const cancelled = withDestroyed(forged("b"), { us: Date.now() * 1_000, region: "b" });
  expect(await push(cancelled)).toEqual(["durable"]);
  expect(await push(forged("b", -1))).toEqual(["durable"]);
  for (const hours of [26, 100_000_000]) {
    expect(await push(forged("a", hours)), `${hours}`).toEqual(["refused"]);
  }
});

test("keys are shredded once by one request: no other order is taken for it", async () => {
  await using long = new ApprovalWorld();
  const instance = await long.instance("vcenter");
  await long.begin(Date.now() - 2 * hourMs);
  const { approvals, handlers, region } = long.a;
  const identify = { instance: async (given: string) => ({ id: given, name: given }) };
  const guards = { approvals, view: region.view, identify } as never;
  const shredInstance = async () => ({ regions: {} });
  Object.assign(handlers, withApprovals({ shredInstance } as never, guards));
  const given = { params: { instance }, body: { name: "vcenter" } };
  const approval = await long.asked("shredInstance", given);
  await long.sign(approval);
  const known = long.b.region.view.record(instanceRecordId(instance)) as ManagedObject;
  const push = async (id: string) => {
    const at = { us: Date.now() * 1_000, region: "a" };
    const shredded = { a: { id, atMs: Date.now(), by: "eve" } };
    const after = changeRecord("Instance", known, { shredded }, at);
    return await long.regions.push(long.b.region, [after]);
  };
  expect(await push(ids.uuid())).toEqual(["refused"]);
  expect(await push(madeId("shredInstance", approval))).toEqual(["durable"]);
});

test("that a use is over is written as soon as it can be", async () => {
  const approval = await world.asked("createToken", { body: manager });
  await world.sign(approval);
  const { records, view } = world.a.region;
  const { call = "" } = view.get("ApprovalRequest", approval) ?? {};
  const actor = { principal: { name: "t", id: "token" }, requestId: "full" };
  const what = { operation: "createToken", target: "second" } as const;
  const asked = { ...what, call: JSON.parse(call), by: "token", asker: "lead", actor } as const;
  const change = records.change.bind(records) as unknown as (...given: unknown[]) => Promise<never>;
  let isFull = false;
  const changes = vi.spyOn(records, "change").mockImplementation((...given) => {
    return isFull ? Promise.reject(new Error("full")) : change(...given);
  });
  const use = () => view.get("ApprovalRequest", approval)?.use;
  await world.a.approvals.use(approval, asked, async () => {
    isFull = true;
  });
  const endMs = Date.now();
  expect(use()?.state).toBe("begun");
  isFull = false;
  await vi.waitFor(() => expect(use()?.state).toBe("done"));
  expect(use()?.atMs).toBeLessThanOrEqual(endMs);
  changes.mockRestore();
  await world.see();
  for (const node of world.nodes) {
    const again = node.call("createToken", { body: manager }, { approval });
    expect(await refusal(again)).toContain("works once");
  }
});

test("requests are deleted a week later, and a cancelled one keeps no call", async () => {
  const record = (id: string) => world.b.region.view.get("ApprovalRequest", id);
  const used = await world.asked("createToken", { body: manager });
  await world.sign(used);
  await world.a.call("createToken", { body: manager }, { approval: used });
  const cancelled = await world.asked("createToken", { body: { ...manager, name: "third" } });
  await world.a.call("cancelApproval", { params: { approval: cancelled } });
  await world.see();
  expect(record(cancelled)?.call).toBe("");
  const startMs = Date.now();
  at(startMs + 6 * 24 * hourMs);
  await world.tend();
  expect(record(used)).toMatchObject({ use: { state: "done" }, destroyed: undefined });
  at(startMs + 8 * 24 * hourMs);
  await world.tend();
  expect(record(used)).toMatchObject({ call: "", destroyed: { time: expect.anything() } });
  const again = world.a.call("createToken", { body: manager }, { approval: used });
  expect(await refusal(again)).toContain("the request is not known, or was cancelled");
});

test("no key of small order is an approver's", () => {
  const hex = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    // Not reduced.
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ];
  const signBit = (text: string) =>
    `${text.slice(0, 62)}${(Number.parseInt(text.slice(62), 16) ^ 0x80).toString(16).padStart(2, "0")}`;
  for (const each of [...hex, ...hex.map(signBit)]) {
    const key = Buffer.from(each, "hex").toString("base64url");
    const approvers = [...world.policy.approvers, { name: "low", key }];
    expect(policyFault({ ...world.policy, approvers }), each).toContain("low: must be");
  }
  const approvers = approversNamed("dave", "erin", "frank");
  expect(policyFault({ ...world.policy, approvers })).toBeUndefined();
});

test("a use that takes longer than two minutes is not begun a second time", async () => {
  const approval = await world.asked("createToken", { body: manager });
  await world.sign(approval);
  const { approvals } = world.a;
  const { records, view } = world.a.region;
  const { text = "", call = "" } = view.get("ApprovalRequest", approval) ?? {};
  const actor = { principal: { name: "t", id: "token" }, requestId: "long" };
  const what = { operation: "createToken", target: "second" } as const;
  const asked = { ...what, call: JSON.parse(call), by: "token", asker: "lead", actor } as const;
  expect(text).toContain("createToken");
  let finish = (): void => undefined;
  const work = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const running = approvals.use(approval, asked, () => work);
  const use = () => view.get("ApprovalRequest", approval)?.use;
  await vi.waitFor(() => expect(use()?.state).toBe("begun"));
  // As if it had begun long ago.
  await records.change(
    "ApprovalRequest",
    approval,
    ({ use: now }) =>
      now === undefined ? undefined : { use: { ...now, atMs: now.atMs - 300_000 } },
    [],
  );
  await vi.waitFor(() => expect(use()?.atMs).toBeGreaterThan(Date.now() - 60_000));
  await world.see();
  const again = world.b.call("createToken", { body: manager }, { approval });
  expect(await refusal(again)).toContain("node a1 of region a uses it now");
  finish();
  await running;
  expect(use()?.state).toBe("done");
});

test("a policy that no node here can read is taken only from the approvers in force, and closes what it may name", async () => {
  await using long = new ApprovalWorld();
  const given = { body: { subject: "CN=nobody", reason: "of a test" } };
  const { id: denial } = await long.a.call("addDenial", given);
  // What was done just before the policy began would need no request yet.
  await long.begin(Date.now() - 2 * hourMs);
  const now = () => ({ us: Date.now() * 1_000, region: "a" });
  const { region } = long.b;
  const [alice, bob] = long.approvers;
  const [eve, mallory] = approversNamed("eve", "mallory");
  if (eve === undefined || mallory === undefined) throw new Error("no approvers");
  const text = newerText(policyAfter(long.policy, { approvals: 3 }));
  const id = markedIdentifier("ApprovalPolicy", ids.uuid());
  const made = (signatures: string) =>
    makeRecord("ApprovalPolicy", id, { text, signatures, createdMs: 1, createdBy: "x" }, now());
  for (const signatures of [
    "",
    "garbage",
    signedBy(text, [eve, mallory]),
    signedBy(text, [alice]),
  ]) {
    expect(await long.regions.push(region, [made(signatures)])).toEqual(["refused"]);
  }
  // What the approvers signed for something else is no policy, and closes nothing.
  const other = text.replace("holdfast-approval-policy", "holdfast-approval");
  const signed = { text: other, signatures: signedBy(other, [alice, bob]) };
  const junk = makeRecord("ApprovalPolicy", id, { ...signed, createdMs: 1, createdBy: "x" }, now());
  expect(await long.regions.push(region, [junk])).toEqual(["refused"]);
  const lifted = async () => {
    const [before] = await region.own.read(systemInstance, [denial]);
    return await rulesOf(region).mayJoin(before?.object, withDestroyed(record(denial), now()), "a");
  };
  const record = (of: string) => region.view.record(of) as ManagedObject;
  expect(await lifted()).toContain("no approved request");
  const genuine = made(signedBy(text, [alice, bob]));
  expect(await long.regions.push(region, [genuine])).toEqual(["durable"]);
  await region.view.refresh();
  expect(await lifted()).toContain(
    "a node of region b cannot read a version of the approval policy",
  );
});
