import { randomUUID } from "node:crypto";
import type { ManagedObject } from "@holdfast/engine";
import { attributes } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";
import { afterEach, beforeEach, expect, test } from "vitest";
import { instanceRecordId } from "../records/records.ts";
import { ApprovalWorld } from "../testing/approval-world.ts";
import { withApprovals } from "./guarded-handlers.ts";

let world: ApprovalWorld;
let instance: string;

beforeEach(async () => {
  world = new ApprovalWorld();
  instance = await world.instance("vcenter");
  const refused = () => ({ destroyOverKmip: "refused" as const });
  await world.a.region.records.change("Instance", instanceRecordId(instance), refused, []);
  await world.begin(Date.now() - 2 * 3_600_000);
});

afterEach(() => world[Symbol.asyncDispose]());

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

/** A key's date of deactivation, as an attribute. */
const dated = (of: ManagedObject, seconds: number): ManagedObject => {
  const { tag } = attributes.DeactivationDate;
  const stamp = { us: Date.now() * 1000, region: "a" };
  const value = { tag, type: ItemType.DateTime, value: BigInt(seconds) } as const;
  return { ...of, registers: [{ tag, index: 0, origin: "", key: "", value, stamp }] };
};

test("a key of an instance that refuses Revoke is not revoked by the other region's word", async () => {
  const { mayJoin } = world.b.region;
  const time = Math.floor(Date.now() / 1000);
  const fact = { time, region: "a" };
  const live = key({ activated: fact });
  const ended = (of: ManagedObject, as: "deactivated" | "compromised" = "deactivated") => ({
    ...of,
    facts: { ...of.facts, [as]: { ...fact, reasonCode: as === "deactivated" ? 6 : 2 } },
  });
  expect(await mayJoin?.(live, ended(live), "a")).toContain("destroy-key");
  expect(await mayJoin?.(live, ended(live, "compromised"), "a")).toContain("destroy-key");
  expect(await mayJoin?.(live, dated(live, time + 3600), "a")).toContain("destroy-key");
  const [later, over] = [dated(live, time + 3600), dated(live, time - 1)];
  expect(await mayJoin?.(later, dated(live, time + 60), "a")).toContain("destroy-key");
  expect(await mayJoin?.(later, ended(later), "a")).toContain("destroy-key");
  // What its own date ends, or its clients may do, needs nobody.
  expect(await mayJoin?.(over, ended(over), "a")).toBeUndefined();
  expect(await mayJoin?.(later, dated(live, time + 7200), "a")).toBeUndefined();
  const unused = key({});
  expect(await mayJoin?.(unused, ended(unused, "compromised"), "a")).toBeUndefined();
  expect(await mayJoin?.(undefined, ended(live), "a")).toBeUndefined();
  expect(await mayJoin?.(ended(live), ended(live, "compromised"), "a")).toBeUndefined();

  const identify = { instance: async (given: string) => ({ id: given, name: given }) };
  const guards = { approvals: world.a.approvals, view: world.a.region.view, identify } as never;
  const handlers = { revokeKey: async () => live, destroyKey: async () => live } as never;
  Object.assign(world.a.handlers, withApprovals(handlers, guards));
  const params = { instance, key: live.uniqueIdentifier };
  const soft = await world.asked("destroyKey", { params });
  await world.sign(soft);
  expect(await mayJoin?.(live, ended(live), "a")).toContain("destroy-key");
  const approval = await world.asked("revokeKey", {
    params,
    body: { reason: "CessationOfOperation" },
  });
  await world.sign(approval);
  expect(await mayJoin?.(live, ended(live), "a")).toBeUndefined();
  expect(await mayJoin?.(live, ended(live, "compromised"), "a")).toContain("destroy-key");
  // Clients of the other region may have compromised it since, later than any request counts.
  const lateFact = { ...fact, time: time + 90 * 86_400, reasonCode: 2 };
  const both = { ...live, facts: { ...ended(live).facts, compromised: lateFact } };
  expect(await mayJoin?.(live, both, "a")).toBeUndefined();
  const other = { ...live, uniqueIdentifier: randomUUID() };
  expect(await mayJoin?.(other, ended(other), "a")).toContain("destroy-key");
  const forced = await world.asked("destroyKey", { params, query: { force: "true" } });
  await world.sign(forced);
  expect(await mayJoin?.(live, ended(live, "compromised"), "a")).toBeUndefined();
  await world.b.region.records.change(
    "Instance",
    instanceRecordId(instance),
    () => ({ destroyOverKmip: "allowed" as const }),
    [],
  );
  expect(await mayJoin?.(other, ended(other), "a")).toBeUndefined();
});
