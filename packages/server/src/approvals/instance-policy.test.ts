import { randomUUID } from "node:crypto";
import {
  type ApprovalPolicy,
  cancelText,
  digestOf,
  type InstancePart,
  parsePolicy,
  policyText,
  requestText,
} from "@holdfast/admin";
import { type ManagedObject, makeRecord } from "@holdfast/engine";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { userRecordId } from "../management/users/recorded-users.ts";
import { ApprovalWorld, refusal, rulesOf } from "../testing/approval-world.ts";
import {
  approversNamed,
  policyAfter,
  policyWith,
  signedBy,
  type TestApprover,
} from "../testing/approvals.ts";
import { standingOf } from "./policies.ts";

const hourMs = 3_600_000;
const [dave, eve, frank, vault] = approversNamed("dave", "eve", "frank", "vault") as readonly [
  TestApprover,
  TestApprover,
  TestApprover,
  TestApprover,
];
const password = "a good long password";

let world: ApprovalWorld;
let instance: string;
let other: string;

beforeEach(async () => {
  world = new ApprovalWorld();
  instance = await world.instance("vcenter");
  other = await world.instance("other");
});

afterEach(async () => {
  vi.useRealTimers();
  await world[Symbol.asyncDispose]();
});

/** What the instance asks for: two of its own three approvers, or its own break-glass key. */
function partOf(id: string, more: Partial<InstancePart> = {}): InstancePart {
  const publicOf = ({ name, key }: TestApprover) => ({ name, key });
  return {
    instance: id,
    approvals: 2,
    approvers: [dave, eve, frank].map(publicOf),
    breakGlass: [publicOf(vault)],
    actions: ["admit-client"],
    ...more,
  };
}

const begin = (more: Partial<ApprovalPolicy> = {}) =>
  world.begin(Date.now() - 2 * hourMs, { instances: [partOf(instance)], ...more }, [
    dave,
    eve,
    frank,
    vault,
  ]);
const userOf = (id: string, user = "esx") => ({
  params: { instance: id, user },
  body: { password },
});
const use = (approval: string, given = userOf(instance)) =>
  refusal(world.a.call("setUser", given, { approval }));

test("an instance asks for its own approvers besides the system's, and for no other instance", async () => {
  await begin();
  const error = await refusal(world.a.call("setUser", userOf(instance)));
  expect(error).toContain(`2 approvers and 2 approvers of instance ${instance} must sign`);
  const approval = await world.asked("setUser", userOf(instance));
  await world.sign(approval);
  expect(await use(approval)).toContain(`0 of 2 approvers of instance ${instance} have signed it`);
  await world.sign(approval, [dave]);
  expect(await use(approval)).toContain(`1 of 2 approvers of instance ${instance} have signed it`);
  const shown = await world.a.call("readApproval", { params: { approval } });
  expect(shown).toMatchObject({ state: "open", needed: 2, neededOfInstance: 2 });
  await world.sign(approval, [frank]);
  expect(await use(approval)).toBe("not refused");
  expect(world.a.region.view.all("User")).toHaveLength(1);

  const elsewhere = await world.asked("setUser", userOf(other));
  const handIn = world.sign(elsewhere, [dave, eve]);
  expect(await refusal(handIn)).toContain("not one of the policy that may approve this");
  await world.sign(elsewhere);
  expect(await use(elsewhere, userOf(other))).toBe("not refused");
  // A request of one instance allows nothing in another one.
  expect(await use(elsewhere)).toContain("it is about");
});

test("an instance never asks for less: its approvers alone approve nothing that the system asks for", async () => {
  await begin();
  const approval = await world.asked("setUser", userOf(instance));
  await world.sign(approval, [dave, eve, frank]);
  expect(await use(approval)).toContain("0 of 2 approvers have signed it");
});

test("an instance asks for more actions than the system, and for more of the same people", async () => {
  const { approvers } = world;
  const part = partOf(instance, { approvals: 3, approvers: world.policy.approvers });
  await world.begin(Date.now(), { actions: ["give-role"], instances: [part] }, [vault]);
  expect(await refusal(world.a.call("setUser", userOf(other)))).toBe("not refused");
  const approval = await world.asked("setUser", userOf(instance));
  expect(await world.a.call("readApproval", { params: { approval } })).toMatchObject({
    needed: 0,
    neededOfInstance: 3,
  });
  await world.sign(approval);
  expect(await use(approval)).toContain("2 of 3 approvers of instance");
  await world.sign(approval, [approvers[2]]);
  expect(await use(approval)).toBe("not refused");
});

test("a break-glass key counts for its own part only, and is reported", async () => {
  await begin();
  const approval = await world.asked("setUser", userOf(instance));
  await world.sign(approval, [world.safe], "nobody can be reached");
  expect(await use(approval)).toContain("0 of 2 approvers of instance");
  expect(await refusal(world.sign(approval, [vault]))).toContain("sign with --reason");
  await world.sign(approval, [vault], "nobody can be reached");
  expect(await use(approval)).toBe("not refused");
  const steps = world.a.region.events.flatMap((event) =>
    event.type === "approval" && event.breakGlass ? [event.step] : [],
  );
  expect(steps).toEqual(["signature", "signature", "use"]);
});

/** The next version, with other parts of instances. */
function next(instances: readonly InstancePart[], more: Partial<ApprovalPolicy> = {}): string {
  return policyText(policyAfter(world.policy, { instances, ...more }));
}

async function change(text: string, signers: readonly TestApprover[], reason?: string) {
  const signatures = signedBy(text, signers, reason);
  const made = await world.a.call("changeApprovalPolicy", { body: { text, signatures } });
  await world.see();
  return made;
}

const inForce = () => world.b.approvals.standing().inForce?.policy;

describe("a change of what an instance asks for", () => {
  const system = () => world.approvers.slice(0, 2);

  test("needs the approvers of the system and of the instance, and each new key", async () => {
    await begin();
    const fewer = next([partOf(instance, { actions: ["shred"] })]);
    expect(await refusal(change(fewer, [dave, eve]))).toContain("0 of 2 approvers");
    const added = next([
      partOf(instance),
      partOf(other, { approvers: [dave, system()[0]] as never }),
    ]);
    expect((await change(added, system())).state).toBe("in-force");
    const [grace] = approversNamed("grace") as readonly [TestApprover];
    const replaced = policyText(
      policyAfter(inForce() as ApprovalPolicy, {
        instances: [
          partOf(instance, {
            approvers: [dave, eve, grace].map(({ name, key }) => ({ name, key })),
          }),
        ],
      }),
    );
    const all = [...system(), dave, eve, system()[0] as TestApprover];
    expect(await refusal(change(replaced, all))).toContain("key of grace must sign");
    expect((await change(replaced, [...all, grace])).state).toBe("in-force");
    expect(inForce()?.instances).toMatchObject([{ instance, approvals: 2 }]);
  });

  test("without its approvers waits 72 hours, and these can cancel it each time", async () => {
    await begin();
    const none = next([]);
    const digest = digestOf(none);
    const stop = (policy: string, signers: readonly TestApprover[]) =>
      refusal(
        world.a
          .call("stopApprovalPolicy", {
            params: { policy },
            body: { signatures: signedBy(cancelText(digest, policy), signers) },
          })
          .then(() => world.see()),
      );
    const { id, state } = await change(none, system());
    expect(state).toBe("waiting");
    expect(inForce()?.instances).toHaveLength(1);
    expect(await stop(id, [vault])).toContain("no approver of the policy in force");
    expect(await stop(id, [dave])).toBe("not refused");
    const again = await change(none, system());
    const refused = await stop(again.id, [dave]);
    // Which of the two came first depends on their identifiers if they are of one moment.
    expect(refused).toMatch(/this approver has cancelled a (change before|later change)/);
    expect(refused).toContain(`now 2 approvers of instance ${instance} must sign`);
    expect(await stop(again.id, [dave, eve])).toBe("not refused");
    const last = await change(none, system());
    await world.tend();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 71 * hourMs });
    expect(inForce()?.instances).toHaveLength(1);
    vi.setSystemTime(Date.now() + 2 * hourMs);
    expect(inForce()?.instances).toEqual([]);
    expect(world.b.approvals.standing().inForce?.id).toBe(last.id);
  });

  test("of a break-glass key, and a reset, are not stopped by its approvers", async () => {
    await begin();
    const none = next([]);
    const { id, state } = await change(none, [world.safe], "their keys are lost");
    expect(state).toBe("waiting");
    const empty = { approvals: 0, approvers: [], breakGlass: [], actions: [], instances: [] };
    const reset = policyText({ ...policyAfter(world.policy, {}), ...empty });
    const unsigned = await world.write(reset, "");
    const signed = await world.write(reset, signedBy(reset, system()));
    const changes = [
      [id, none],
      [unsigned, reset],
      [signed, reset],
    ] as const;
    for (const [policy, text] of changes) {
      const signatures = signedBy(cancelText(digestOf(text), policy), [dave, eve, frank]);
      const given = { params: { policy }, body: { signatures } };
      const stopped = refusal(world.a.call("stopApprovalPolicy", given));
      expect(await stopped).toContain("no approver of the policy in force");
    }
  });

  test("makes the requests of before void, while they wait and in use", async () => {
    await world.begin(Date.now(), {});
    const approval = await world.asked("setUser", userOf(instance));
    await world.sign(approval);
    const text = next([partOf(instance)]);
    await change(text, [...system(), dave, eve, frank, vault]);
    expect(await use(approval)).toContain("under an earlier policy");
    const now = await world.asked("setUser", userOf(instance));
    await world.sign(now, [...system(), dave, eve]);
    world.policy = inForce() as ApprovalPolicy;
    await change(next([]), [...system(), dave, eve]);
    expect(await use(now)).toContain("under an earlier policy");
    expect(world.a.region.view.all("User")).toEqual([]);
  });
});

describe("the other region", () => {
  /** A user as a node of region a writes it that has asked nobody for approvals. */
  function user(of = instance, atMs = Date.now()): ManagedObject {
    const values = { instance: of, name: "esx", hash: "{}", setMs: atMs, setBy: "eve" };
    const at = { us: atMs * 1000, region: "a" };
    return makeRecord("User", userRecordId(of, "esx"), values, at);
  }
  const push = (object = user()) => world.regions.push(world.b.region, [object]);

  test("takes a change only with the approvals of the instance too", async () => {
    await begin();
    const elsewhere = await world.asked("setUser", userOf(other));
    await world.sign(elsewhere);
    const approval = await world.asked("setUser", userOf(instance));
    await world.sign(approval);
    expect(await push()).toEqual(["refused"]);
    await world.sign(approval, [dave]);
    expect(await push()).toEqual(["refused"]);
    await world.sign(approval, [eve]);
    expect(await push(user(instance, Date.now() + 30 * hourMs))).toEqual(["refused"]);
    expect(await push()).toEqual(["durable"]);
    expect(await push(user(other))).toEqual(["durable"]);
  });

  test("asks for what only the instance asks for", async () => {
    await begin({ actions: ["give-role"] });
    expect(await push()).toEqual(["refused"]);
    expect(await push(user(other))).toEqual(["durable"]);
    const approval = await world.asked("setUser", userOf(instance));
    await world.sign(approval, [dave, eve]);
    expect(await push()).toEqual(["durable"]);
  });

  /** A request that nobody asked for, as a compromised node writes it. */
  async function forge(policy: ApprovalPolicy, signers: readonly TestApprover[]): Promise<void> {
    const call = JSON.stringify({ body: { password: "(secret)" } });
    const id = randomUUID();
    const text = requestText({
      policy: { version: policy.version, digest: digestOf(policyText(policy)) },
      request: id,
      operation: "setUser",
      target: `${instance}/esx`,
      call: digestOf(call),
      by: "thief",
      regions: ["a", "b"],
      until: Math.floor(Date.now() / 1000) + 3600,
    });
    const line = (one: TestApprover) => ({ line: signedBy(text, [one]), atMs: 1, by: "thief" });
    const signature = Object.fromEntries(signers.map((one) => [one.key, line(one)]));
    const values = {
      text,
      call,
      createdMs: Date.now(),
      createdBy: "thief",
      asker: "other" as const,
    };
    await world.a.region.records.create("ApprovalRequest", { ...values, signature }, [], { id });
    await world.see();
  }

  test("counts no signature of a stranger, and none of a version that does not ask", async () => {
    await begin({ actions: ["give-role"] });
    await forge(world.policy, [...world.approvers]);
    expect(await push()).toEqual(["refused"]);
    // A version without the instance's part, which took effect for a moment only.
    await world.write(next([]), signedBy(next([]), [...world.approvers, dave, eve]));
    const without = inForce() as ApprovalPolicy;
    expect(without.instances).toEqual([]);
    await forge(without, []);
    await forge(without, [...world.approvers]);
    const back = policyText(policyAfter(without, { instances: [partOf(instance)] }));
    const signatures = signedBy(back, [...world.approvers, dave, eve, frank, vault]);
    await world.write(back, signatures, Date.now() - 1);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * hourMs });
    world.b.region.mayJoin = rulesOf(world.b.region).mayJoin;
    expect(inForce()?.instances).toHaveLength(1);
    expect(await push()).toEqual(["refused"]);
  });

  test("counts no request of a reset, which nobody had to sign", async () => {
    await world.begin(Date.now() - 200 * hourMs);
    const none = { approvals: 0, approvers: [], breakGlass: [], actions: [] };
    const reset = { ...policyAfter(world.policy, none), ...none };
    const id = await world.write(policyText(reset), "", Date.now() - 100 * hourMs);
    const seen = Date.now() - 99 * hourMs;
    for (const { region } of world.nodes) {
      region.mayJoin = () => undefined;
      await region.records.change("ApprovalPolicy", id, () => ({ seen: { a: seen, b: seen } }), []);
    }
    await world.see();
    expect(inForce()).toBeUndefined();
    const again = policyText(
      policyWith(world.approvers, {
        system: reset.system,
        version: 3,
        previous: digestOf(policyText(reset)),
      }),
    );
    await world.write(again, signedBy(again, world.approvers), Date.now() - 2 * hourMs);
    for (const { region } of world.nodes) region.mayJoin = rulesOf(region).mayJoin;
    expect(inForce()?.version).toBe(3);
    await forge(reset, []);
    expect(await push()).toEqual(["refused"]);
  });
});

test("many versions, of many instances, are each read and verified once", () => {
  const parts = Array.from({ length: 24 }, () => partOf(randomUUID()));
  const policies: ApprovalPolicy[] = [world.policy];
  for (const at of parts.keys()) {
    const instances = parts.slice(0, at + 1);
    policies.push(policyAfter(policies.at(-1) ?? world.policy, { instances }));
  }
  let reads = 0;
  const records = policies.map((policy, createdMs) => {
    const text = policyText(policy);
    const signatures = signedBy(text, [...world.approvers, world.safe, dave, eve, frank, vault]);
    return {
      ...{ id: randomUUID(), text, seen: {}, createdMs },
      get signatures() {
        reads += 1;
        return signatures;
      },
    };
  }) as unknown as Parameters<typeof standingOf>[0];
  for (const _ of parts) expect(standingOf(records, Date.now()).versions).toHaveLength(25);
  expect(reads).toBe(25);
});

test("a part of an instance that is wrong makes no policy, and says why", () => {
  const policy = { ...policyWith(world.approvers), instances: [partOf(instance)] };
  const fault = (part: Partial<InstancePart>) =>
    parsePolicy(policyText({ ...policy, instances: [partOf(instance, part)] }));
  expect(parsePolicy(policyText(policy))).toEqual({
    ...policy,
    actions: policy.actions.toSorted(),
  });
  expect(fault({ approvals: 1 })).toContain(`instance ${instance}: approvals: at least 2`);
  expect(fault({ approvals: 0 })).toContain("at least 2");
  expect(fault({ approvals: 4 })).toContain("4 must sign, and there are 3");
  expect(fault({ actions: [] })).toContain("name one at least");
  expect(fault({ actions: ["give-role"] })).toContain("does not concern one instance");
  expect(fault({ instance: "vcenter" })).toContain("must be its identifier");
  const [alice] = world.policy.approvers;
  const renamed = { name: "alice", key: dave.key };
  expect(fault({ approvers: [renamed, eve] })).toContain("a name must be of one key");
  expect(fault({ breakGlass: [alice as never] })).toContain("a key of one kind");
  const twice = policyText({ ...policy, instances: [partOf(instance), partOf(instance)] });
  expect(parsePolicy(twice)).toContain("two keys have one name");
});
