import {
  type FieldChanges,
  type InstanceStatus,
  type RegionState,
  type SystemRecord,
  systemInstance,
} from "@holdfast/engine";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { instanceRecordId } from "../../records/records.ts";
import { type MemoryRegion, MemoryRegions } from "../../testing/memory-regions.ts";

const instance = "5d0a7a52-3b0c-4b60-9c2f-0f3b7d9a1e01";
let regions: MemoryRegions;

beforeEach(() => {
  regions = new MemoryRegions();
});

afterEach(() => regions[Symbol.asyncDispose]());

type Wanted = SystemRecord<"Instance">["status"];
const id = instanceRecordId(instance);

const state = (status: RegionState["status"]): RegionState => ({
  ...{ status, reason: "", atMs: 1, root: "r", crkState: "usable", version: "1" },
});

async function order(status: Wanted, at: MemoryRegion = regions.a): Promise<void> {
  const values = { instance, name: "n", createdMs: 1, status };
  await at.records.create("Instance", values, [], { id });
}

async function change(at: MemoryRegion, changes: FieldChanges<"Instance">): Promise<void> {
  await at.records.change("Instance", id, () => changes, []);
}

async function expectStatuses(a: InstanceStatus, b: InstanceStatus): Promise<void> {
  const found = await Promise.all(regions.both.map(({ own }) => own.status(instance)));
  expect(found).toEqual([a, b]);
}

const wanted = (at: MemoryRegion): Wanted => at.view.get("Instance", id)?.status;

describe("an instance's status in each region", () => {
  test("is Installed once its root of trust is usable in every region, and not before", async () => {
    await order("Inactive");
    await regions.lead();
    await expectStatuses("Inactive", "Inactive");
    await change(regions.a, { status: "Configuring", state: { a: state("Installed") } });
    await regions.lead();
    await expectStatuses("Configuring", "Configuring");
    await change(regions.b, { state: { b: state("Inactive") } });
    await regions.lead();
    await expectStatuses("Configuring", "Configuring");
    await change(regions.b, { state: { b: state("Installed") } });
    await regions.lead();
    await expectStatuses("Installed", "Installed");
    expect(regions.both.map(wanted)).toEqual(["Installed", "Installed"]);
    // A region whose root of trust fails later closes its own keys; no status changes.
    await change(regions.b, { state: { b: state("Inactive") } });
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("is Installed in both regions for an instance of the configuration", async () => {
    await regions.a.records.create("Instance", { instance, name: "declared" }, [], { id });
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("follows in a region that receives the record late", async () => {
    regions.linked = false;
    await order("Installed");
    await regions.lead();
    expect(await regions.b.own.status(instance)).toBeUndefined();
    regions.linked = true;
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("follows in a region that gets the record after its leader has seen it in the other region's store", async () => {
    await order("Inactive");
    await regions.lead();
    regions.linked = false;
    await change(regions.b, { status: "Installed" });
    const [copy] = await regions.b.own.read(systemInstance, [id]);
    if (copy === undefined) throw new Error("no record");
    regions.a.view.take([copy.object]);
    await regions.lead();
    await expectStatuses("Inactive", "Installed");
    regions.linked = true;
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("is set again in a store that lost it", async () => {
    await order("Installed");
    await regions.lead();
    regions.a.own.instances.clear();
    Object.defineProperty(regions.a.own, "storeId", { value: "another" });
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("is set again after an outage that ended with an old copy of the store", async () => {
    await order("Installed");
    await regions.lead();
    const { own } = regions.a;
    await own.instances.move(instance, ["Installed"], "Configuring");
    own.setState("none");
    own.setState("full");
    await regions.lead();
    await expectStatuses("Installed", "Installed");
  });

  test("is never set by a slow node to an older status than its record has", async () => {
    await order("Installed");
    await regions.lead();
    const { own, statuses } = regions.a;
    const read = own.read.bind(own);
    // Between the look at the record and the move, a deletion reserves the instance.
    own.read = async (...given) => {
      const found = await read(...given);
      own.read = read;
      await change(regions.a, { status: "Removing" });
      await statuses.follow(instance);
      return found;
    };
    await own.instances.move(instance, ["Installed"], "Configuring");
    expect(await statuses.follow(instance)).toEqual({ status: "Removing", moved: false });
    expect(await own.status(instance)).toBe("Removing");
  });
});
