import { randomUUID } from "node:crypto";
import { digestOf, policyText } from "@holdfast/admin";
import {
  changeRecord,
  type FieldChanges,
  type KindName,
  type ManagedObject,
  makeRecord,
  markedIdentifier,
  recordTag,
  sysPartition,
  systemInstance,
  withDestroyed,
} from "@holdfast/engine";
import { selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeEach, expect, test } from "vitest";
import { userRecordId } from "../management/users/recorded-users.ts";
import { instanceRecordId } from "../records/records.ts";
import { SystemView } from "../records/system-view.ts";
import { ApprovalWorld, rulesOf } from "../testing/approval-world.ts";
import { approversNamed, policyWith, signedBy } from "../testing/approvals.ts";
import { StoreInMemory } from "../testing/memory-regions.ts";
import { certificateValues, tokenValues } from "../testing/system-records.ts";
import { withApprovals } from "./guarded-handlers.ts";
import type { JoinRules } from "./join-rules.ts";
import { madeId } from "./made-id.ts";

const hourMs = 3_600_000;

let world: ApprovalWorld;
let instance: string;
let denial: string;

beforeEach(async () => {
  world = new ApprovalWorld();
  instance = await world.instance("vcenter");
  const refused = () => ({ destroyOverKmip: "refused" as const, destroyDelay: 604_800 });
  await world.a.region.records.change("Instance", instanceRecordId(instance), refused, []);
  await world.a.region.records.create(
    "Certificate",
    { ...certificateValues, instance, name: "limited", operations: ["get"] },
    [],
    { id: certificate },
  );
  const given = { body: { subject: "CN=nobody", reason: "of a test" } };
  ({ id: denial } = await world.a.call("addDenial", given));
  await world.begin(Date.now() - 2 * hourMs);
});

afterEach(() => world[Symbol.asyncDispose]());

const certificate = randomUUID();
/** Of an instance that only the configuration names. */
const instanceId = randomUUID();
const now = () => ({ us: Date.now() * 1_000, region: "a" });

/** A change as a node of region a writes it that asks nobody. */
function changed<Kind extends KindName>(
  kind: Kind,
  id: string,
  fields: FieldChanges<Kind>,
): ManagedObject {
  const known = world.b.region.view.record(id);
  if (known === undefined) throw new Error(`no record ${id}`);
  return changeRecord(kind, known, fields, now());
}

const ofInstance = (fields: FieldChanges<"Instance">) =>
  changed("Instance", instanceRecordId(instance), fields);
const order = { id: "o", atMs: Date.now(), by: "thief" };
const removal = { id: "r", force: true, atMs: Date.now(), by: "thief", byId: "thief" };
const root = { type: "local" as const };

function firstPolicy(): ManagedObject {
  const approvers = approversNamed("eve", "mallory");
  const text = policyText(policyWith(approvers));
  const values = { text, signatures: signedBy(text, approvers), createdMs: 1, createdBy: "eve" };
  return makeRecord(
    "ApprovalPolicy",
    markedIdentifier("ApprovalPolicy", randomUUID()),
    values,
    now(),
  );
}

/** By what it is: a change that nobody approved. */
const forged: Readonly<Record<string, () => ManagedObject>> = {
  "a token of a manager": () =>
    makeRecord("Token", randomUUID(), { ...tokenValues, role: ["manager"], name: "x" }, now()),
  "a certificate": () =>
    makeRecord("Certificate", randomUUID(), { ...certificateValues, instance, name: "x" }, now()),
  "a certificate's limit": () => changed("Certificate", certificate, { operations: undefined }),
  "a user": () => {
    const values = { instance, name: "eve", hash: "{}", setMs: 1, setBy: "eve" };
    return makeRecord("User", userRecordId(instance, "eve"), values, now());
  },
  "a lifted denial": () =>
    withDestroyed(world.b.region.view.record(denial) as ManagedObject, now()),
  "a deletion": () => ofInstance({ removal: { ...removal, phase: "decided" } }),
  "a deleted instance": () =>
    withDestroyed(world.b.region.view.record(instanceRecordId(instance)) as ManagedObject, now()),
  "leave to destroy": () => ofInstance({ destroyOverKmip: "allowed" }),
  "no word about destroying": () => ofInstance({ destroyOverKmip: undefined }),
  "a shorter time to restore keys": () => ofInstance({ destroyDelay: 3600 }),
  "no time to restore keys": () => ofInstance({ destroyDelay: undefined }),
  "a shred": () => ofInstance({ shredded: { a: order } }),
  "opened keys": () => ofInstance({ opened: { a: { ...order, ends: "s" } } }),
  "another root of trust": () => ofInstance({ rootNext: { b: root } }),
  "a root of trust at once": () => ofInstance({ root: { b: root } }),
  "another first policy": firstPolicy,
  "what looks like a damaged policy": () =>
    makeRecord(
      "Setting",
      markedIdentifier("ApprovalPolicy", randomUUID()),
      { kind: "x", region: "a", node: "a1" },
      now(),
    ),
};

test("a change of the other region that needs approvals is taken by nobody without them", async () => {
  const { region } = world.b;
  for (const [what, make] of Object.entries(forged)) {
    const object = make();
    const { uniqueIdentifier: id } = object;
    const [before] = await region.own.read(systemInstance, [id]);
    expect(await world.regions.push(region, [object]), what).toEqual(["refused"]);
    const [after] = await region.own.read(systemInstance, [id]);
    expect(after?.tag, what).toBe(before?.tag);
    await region.view.refresh();
    const known = region.view.record(id);
    expect(known?.registers, what).toEqual(before?.object.registers);
    expect(known?.facts.destroyed, what).toBe(before?.object.facts.destroyed);
  }
});

test("what needs no approvals is taken as before", async () => {
  const { region } = world.b;
  const free = [
    makeRecord("Token", randomUUID(), { ...tokenValues, name: "y" }, now()),
    ofInstance({ labels: { group: "x" } }),
    withDestroyed(region.view.record(certificate) as ManagedObject, now()),
  ];
  expect(await world.regions.push(region, free)).toEqual(["durable", "durable", "durable"]);
});

test("without a policy, and in the first hour of one, everything is taken", async () => {
  await using fresh = new ApprovalWorld();
  const token = () =>
    makeRecord("Token", randomUUID(), { ...tokenValues, role: ["manager"], name: "x" }, now());
  expect(await fresh.regions.push(fresh.b.region, [token()])).toEqual(["durable"]);
  await fresh.begin(Date.now() - hourMs / 2);
  expect(await fresh.regions.push(fresh.b.region, [token()])).toEqual(["durable"]);
});

/** A key of the instance. */
const key = (facts: ManagedObject["facts"]): ManagedObject => ({
  uniqueIdentifier: randomUUID(),
  instance,
  objectType: 2,
  fixed: [],
  material: undefined,
  facts,
  registers: [],
  lastChange: 0,
});

test("a key of an instance that refuses Destroy is not destroyed by the other region's word", async () => {
  const { mayJoin } = world.b.region;
  const fact = { time: Math.floor(Date.now() / 1000), region: "a" };
  const live = key({ activated: fact });
  const gone = { ...live, facts: { ...live.facts, destroyed: fact } };
  expect(await mayJoin?.(live, gone, "a")).toContain("destroy-key");
  expect(await mayJoin?.("damaged", gone, "a")).toContain("destroy-key");
  // What this region never had, it cannot lose; what is destroyed already, neither.
  expect(await mayJoin?.(undefined, gone, "a")).toBeUndefined();
  expect(await mayJoin?.(gone, gone, "a")).toBeUndefined();
  const allowed = () => ({ destroyOverKmip: "allowed" as const });
  await world.b.region.records.change("Instance", instanceRecordId(instance), allowed, []);
  // Its clients may destroy keys, but nobody skips the delay.
  expect(await mayJoin?.(live, gone, "a")).toMatchObject({
    instead: { material: live.material, facts: { destruction: { state: "pending" } } },
  });
  const atOnce = () => ({ destroyDelay: undefined });
  await world.b.region.records.change("Instance", instanceRecordId(instance), atOnce, []);
  expect(await mayJoin?.(live, gone, "a")).toBeUndefined();
});

test("a destroyed key becomes final at its time without a request, and neither sooner nor again live", async () => {
  const { mayJoin } = world.b.region;
  const time = Math.floor(Date.now() / 1000);
  const fact = { time, region: "a" };
  const us = Date.now() * 1000;
  const live = key({ activated: fact });
  const pending = (until: number, state: "pending" | "restored" = "pending") => ({
    ...live,
    facts: { ...live.facts, destruction: { ...fact, state, until, us } },
  });
  const final = (of: ManagedObject) => ({ ...of, facts: { ...of.facts, destroyed: fact } });
  const [later, over] = [pending(time + 604_800), pending(time - 1)];
  expect(await mayJoin?.(live, later, "a")).toContain("destroy-key");
  expect(await mayJoin?.(live, over, "a")).toContain("destroy-key");
  const kept = { instead: { facts: later.facts } };
  expect(await mayJoin?.(later, final(later), "a")).toMatchObject({
    ...kept,
    reason: expect.stringContaining("before the delay"),
  });
  const sooner = await mayJoin?.(later, pending(time + 60), "a");
  expect(sooner).toMatchObject({
    instead: { facts: { destruction: { until: time + 604_800, us: us + 1 } } },
  });
  // Its request may be long gone by then.
  expect(await mayJoin?.(over, final(over), "a")).toBeUndefined();
  expect(await mayJoin?.(later, pending(time + 700_000), "a")).toBeUndefined();
  const allowed = () => ({ destroyOverKmip: "allowed" as const });
  await world.b.region.records.change("Instance", instanceRecordId(instance), allowed, []);
  expect(await mayJoin?.(live, later, "a")).toBeUndefined();
  const anew = await mayJoin?.(live, over, "a");
  expect(anew).not.toHaveProperty("reason");
  expect(anew).toMatchObject({
    instead: { facts: { destruction: { until: expect.closeTo(time + 604_800, -2) } } },
  });
  // No client can restore a key, so the other region cannot either.
  expect(await mayJoin?.(later, pending(later.lastChange, "restored"), "a")).toContain(
    "destroy-key",
  );
});

test("a request to destroy a key counts once: not again after its restore, nor for an early end", async () => {
  const { region } = world.b;
  const made = key({});
  const { uniqueIdentifier: id } = made;
  const identify = { instance: async (given: string) => ({ id: given, name: given }) };
  const { approvals, handlers } = world.a;
  const guards = { approvals, view: world.a.region.view, identify } as never;
  Object.assign(handlers, withApprovals({ destroyKey: async () => made } as never, guards));
  const approval = await world.asked("destroyKey", { params: { instance, key: id } });
  await world.sign(approval);
  const time = Math.floor(Date.now() / 1000);
  const pending = (at: number, until: number): ManagedObject => {
    const destruction = {
      time: at,
      region: "a",
      state: "pending",
      until,
      us: at * 1_000_000,
    } as const;
    return { ...made, facts: { destruction } };
  };
  const taken = await region.mayJoin?.(made, pending(time, time + 604_800), "a");
  expect(taken).toBeUndefined();
  const early = {
    ...made,
    facts: { ...pending(time, time).facts, destroyed: { time, region: "a" } },
  };
  expect(await region.mayJoin?.(pending(time, time + 100), early, "a")).toMatchObject({
    instead: { facts: { destruction: { state: "pending", until: time + 100 } } },
    reason: expect.stringContaining("before the delay"),
  });
  const restored = (at: number): ManagedObject => {
    const destruction = { time: at, region: "a", until: at, us: at * 1_000_000 } as const;
    return { ...made, facts: { destruction: { ...destruction, state: "restored" } } };
  };
  const minute = time + 60;
  for (const at of [minute, minute + 1, time + 3_600]) {
    const again = pending(at, at + 604_800);
    expect(await region.mayJoin?.(restored(minute), again, "a")).toContain("destroy-key");
  }
  const before = restored(time - 5);
  expect(await region.mayJoin?.(before, pending(time, time + 604_800), "a")).toBeUndefined();
});

test("an order that shredded keys is not taken away without the request that ends it", async () => {
  const { region } = world.b;
  const shredded = () => ({ shredded: { a: { ...order, id: "first" } } });
  await world.a.region.records.change("Instance", instanceRecordId(instance), shredded, []);
  region.mayJoin = () => undefined;
  await world.see();
  region.mayJoin = rulesOf(region).mayJoin;
  expect(region.view.get("Instance", instanceRecordId(instance))?.shredded["a"]).toBeDefined();
  expect(await world.regions.push(region, [ofInstance({ shredded: { a: undefined } })])).toEqual([
    "refused",
  ]);
});

test("a record of an instance that is declared here needs what a change of an instance needs", async () => {
  const { region } = world.b;
  const rules = rulesOf(region, [instanceId]);
  const record = makeRecord(
    "Instance",
    instanceRecordId(instanceId),
    { instance: instanceId, name: "declared" },
    now(),
  );
  expect(await rules.mayJoin(undefined, withDestroyed(record, now()), "a")).toContain(
    "delete-instance",
  );
});

test("a limit that was approved earlier does not come back", async () => {
  const params = { instance, certificate };
  const given = { params, body: { operations: ["locate"] } };
  const approval = await world.asked("updateCertificate" as never, given);
  await world.sign(approval);
  const { records, view } = world.b.region;
  const push = async (afterMs: number) => {
    const at = { us: (Date.now() + afterMs) * 1000, region: "a" };
    const known = view.record(certificate) as ManagedObject;
    const again = changeRecord("Certificate", known, { operations: ["locate"] }, at);
    return await world.regions.push(world.b.region, [again]);
  };
  expect(await push(30 * hourMs)).toEqual(["refused"]);
  await world.a.call("updateCertificate", given, { approval });
  await world.see();
  expect(view.get("Certificate", certificate)?.operations).toEqual(["locate"]);
  await records.change("Certificate", certificate, () => ({ operations: ["get"] }), []);
  expect(await push(2 * 60_000)).toEqual(["refused"]);
  // Nor does its use end later than it did.
  const { use } = view.get("ApprovalRequest", approval) ?? {};
  if (use === undefined) throw new Error("it was not used");
  const later = { use: { ...use, atMs: use.atMs + hourMs } };
  const moved = changed("ApprovalRequest", approval, later);
  expect(await world.regions.push(world.b.region, [moved])).toEqual(["refused"]);
  expect(await push(2 * 60_000)).toEqual(["refused"]);
});

test("a node believes another region's store no more than its pushes, and takes later what is proven then", async () => {
  const { region } = world.b;
  const given = { body: { name: "second", roles: ["manager"], days: 90 } };
  const approval = await world.asked("createToken", given);
  const [createdMs, role] = [Date.now(), ["manager"] as const];
  const values = {
    ...tokenValues,
    ...{ role, name: "second", createdMs, expiresMs: createdMs + 90 * 24 * hourMs },
  };
  const token = makeRecord("Token", madeId("createToken", approval), values, now());
  const other = new StoreInMemory("store of a thief");
  await other.commit(systemInstance, [{ kind: "create", after: token }], []);
  let rules: JoinRules | undefined;
  await using view = new SystemView({
    own: region.own,
    peers: [Object.assign(other, { state: () => "up" as const }) as never],
    source: () => "any",
    ...{ monotonicMs: () => performance.now(), observe: () => undefined, everyMs: 1_000_000 },
    believes: (object) => rules?.believes(object) ?? true,
  });
  rules = rulesOf({ ...region, view });
  await view.refresh();
  expect(view.record(token.uniqueIdentifier)).toBeUndefined();
  await world.sign(approval);
  await view.refresh();
  expect(view.record(token.uniqueIdentifier)).toBeDefined();
});

test("a node that starts without its own store admits whom the other region knows, until its own store decides", async () => {
  const { region } = world.b;
  const other = new StoreInMemory("store of the other region");
  const put = async (after: ManagedObject) =>
    await other.commit(systemInstance, [{ kind: "create", after }], []);
  for (const object of region.view.records()) await put(object);
  const thief = makeRecord(
    "Token",
    randomUUID(),
    { ...tokenValues, role: ["manager"], name: "thief" },
    now(),
  );
  await put(thief);
  const known = (id: string) => region.view.record(id) as ManagedObject;
  for (const id of [denial, instanceRecordId(instance)]) {
    const [before] = await other.read(systemInstance, [id]);
    if (before === undefined) throw new Error(`no record ${id}`);
    const after = withDestroyed(known(id), now());
    await other.commit(systemInstance, [{ kind: "update", before, after }], []);
  }
  let state: "none" | "full" = "none";
  const own = {
    state: () => state,
    position: () => region.own.position(),
    changes: (...given: Parameters<typeof region.own.changes>) => region.own.changes(...given),
  };
  let rules: JoinRules | undefined;
  await using view = new SystemView({
    own,
    peers: [Object.assign(other, { state: () => "up" as const }) as never],
    source: () => "any",
    ...{ monotonicMs: () => performance.now(), observe: () => undefined, everyMs: 1_000_000 },
    believes: (object) => rules?.believes(object) ?? true,
  });
  rules = rulesOf({ ...region, view });
  await view.refresh();
  await view.refresh();
  expect(view.get("Certificate", certificate)).toBeDefined();
  expect(view.get("Token", thief.uniqueIdentifier)).toBeDefined();
  // Nothing is joined on trust.
  await expect(rules.mayJoin(undefined, thief, "a")).rejects.toThrow("not read");
  state = "full";
  await view.refresh();
  expect(await rules.mayJoin(undefined, thief, "a")).toContain("give-role");
  expect(view.get("Certificate", certificate)).toBeDefined();
  expect(view.get("Token", thief.uniqueIdentifier)).toBeUndefined();
  expect(view.get("Deny", denial)?.destroyed).toBeUndefined();
  expect(view.get("Instance", instanceRecordId(instance))?.destroyed).toBeUndefined();
});

const password = "a good long password";

/** Guarded calls, by operation. */
const calls = async (): Promise<readonly (readonly [name: never, given: object])[]> => {
  const made = await selfSigned({ commonName: "c", notBeforeMs: Date.now() - hourMs, days: 2 });
  const params = { instance };
  const manager = { name: "second", roles: ["manager"], days: 90 };
  return [
    ["createToken" as never, { body: manager }],
    [
      "addCertificate" as never,
      { params, body: { name: "c", kind: "client", pem: made.certificate } },
    ],
    ["setUser" as never, { params: { ...params, user: "esx" }, body: { password } }],
    ["removeDenial" as never, { params: { denial } }],
  ];
};

test.each([[true], [false]])(
  "what was approved is taken, also after a cut (linked: %s)",
  async (linked) => {
    for (const [name, given] of await calls()) {
      // What must be agreed on is refused in a cut.
      if (!linked && name === ("addCertificate" as never)) continue;
      world.regions.linked = linked;
      const approval = await world.asked(name, given);
      await world.sign(approval);
      await world.a.call(name, given, { approval, newId: madeId(name, approval) });
      world.regions.linked = true;
      // Changes and requests come in any order.
      await world.see();
      await world.see();
      const [a, b] = await Promise.all(
        world.nodes.map(async ({ region }) => await tagsIn(region.own)),
      );
      expect(b, name).toEqual(a);
    }
  },
);

test("a request allows only what its call says, and makes one thing", async () => {
  const given = { body: { name: "second", roles: ["manager"], days: 90 } };
  const approval = await world.asked("createToken", given);
  await world.sign(approval);
  const [createdMs, role] = [Date.now(), ["manager"] as const];
  const expiresMs = createdMs + 90 * 24 * hourMs;
  const values = { ...tokenValues, role, name: "second", createdMs, expiresMs };
  const id = madeId("createToken", approval);
  const wrong = [
    makeRecord("Token", randomUUID(), values, now()),
    makeRecord("Token", id, { ...values, name: "other" }, now()),
    makeRecord("Token", id, { ...values, expiresMs: expiresMs + 1 }, now()),
    makeRecord("Token", id, { ...values, role: ["manager", "security-officer"] }, now()),
    makeRecord(
      "Token",
      id,
      { ...values, createdMs: createdMs + 30 * hourMs, expiresMs: expiresMs + 30 * hourMs },
      now(),
    ),
  ];
  for (const one of wrong) {
    expect(await world.regions.push(world.b.region, [one])).toEqual(["refused"]);
  }
  const right = makeRecord("Token", id, values, now());
  expect(await world.regions.push(world.b.region, [right])).toEqual(["durable"]);
});

test("another region's word ends no wait of a reset, and takes no cancellation back", async () => {
  const reset = policyText({
    ...world.policy,
    version: 2,
    previous: digestOf(policyText(world.policy)),
    approvals: 0,
    approvers: [],
    breakGlass: [],
    actions: [],
    instances: [],
  });
  const id = await world.write(reset, "");
  const { region, approvals } = world.b;
  const early = changed("ApprovalPolicy", id, { seen: { a: Date.now() - 80 * hourMs } });
  await world.regions.push(region, [early]);
  expect(approvals.standing().inForce).toBeDefined();
  const own = changed("ApprovalPolicy", id, { seen: { b: Date.now() - 80 * hourMs } });
  expect(await world.regions.push(region, [own])).toEqual(["refused"]);
  expect(approvals.standing().inForce).toBeDefined();
});

async function tagsIn(own: ApprovalWorld["b"]["region"]["own"]): Promise<readonly string[]> {
  const page = await own.changes(sysPartition, 0, 10_000, 1 << 28);
  return page.objects.map((object) => `${object.uniqueIdentifier} ${recordTag(object)}`).toSorted();
}
