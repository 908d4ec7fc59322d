import type { SystemRecord } from "@holdfast/engine";
import { expect, test } from "vitest";
import { systemClock as clock, systemIds as ids } from "../base/system.ts";
import { shreddedReason, shredsInForce } from "../records/keys-order.ts";
import { instanceRecordId } from "../records/records.ts";
import { type MemoryRegion, MemoryRegions } from "../testing/memory-regions.ts";
import { systemRecord } from "../testing/system-records.ts";
import { RootOrders, type RootOrdersOptions } from "./root-orders.ts";

test("an instance whose deletion has begun meanwhile gets no new root of trust", async () => {
  const written: unknown[] = [];
  const record = systemRecord("Instance", { instance: "i", name: "kmip-a", status: "Removing" });
  const records = {
    change: async (_: string, _id: string, edit: (of: SystemRecord<"Instance">) => unknown) => {
      written.push(edit(record));
    },
  };
  const orders = new RootOrders({
    ...{ region: "a", records, commands: { others: [] }, clock: { wallMs: () => 0 } },
    ...{ roots: { record: () => undefined }, newId: () => "o" },
  } as unknown as RootOrdersOptions);
  const actor = {
    principal: { name: "n", id: "t" },
    requestId: "r",
    audit: "root.configure",
  } as const;
  const checked = { a: { type: "hpcs", secret: { sealed: "AAAA" } } } as const;
  await expect(orders.configure(actor, "i", checked)).rejects.toMatchObject({ code: "wrongState" });
  expect(written).toEqual([]);
});

test("keys that were shredded in one region stay shredded, whatever the other one, which does not know it, orders later", async () => {
  await using regions = new MemoryRegions();
  const instance = ids.uuid();
  const id = instanceRecordId(instance);
  const values = { instance, name: "kmip-a", status: "Installed" } as const;
  await regions.a.records.create("Instance", values, [], { id });
  const recordIn = ({ view }: MemoryRegion) => view.get("Instance", id) as SystemRecord<"Instance">;
  const ordersOf = (region: MemoryRegion) =>
    new RootOrders({
      ...{ region: region.name, records: region.records, commands: region.commands, clock },
      here: { revalidateRoot: async () => ({ status: {} }) },
      ...{ roots: { record: () => recordIn(region) }, newId: ids.uuid },
    } as unknown as RootOrdersOptions);
  const caller = { principal: { name: "n", id: "t" }, requestId: "r" };
  const shred = (region: MemoryRegion) =>
    ordersOf(region).shred({ ...caller, audit: "root.shred" }, instance);
  const revalidate = async (region: MemoryRegion) => {
    const audit = "root.revalidate" as const;
    const known = shredsInForce(recordIn(region));
    const done = ordersOf(region).revalidate({ ...caller, audit }, instance, known);
    await done.catch(({ code }) => expect(code).toBe("peerUnreachable"));
  };
  const meet = async () => {
    regions.linked = true;
    await regions.level();
    for (const { view } of regions.both) await view.refresh();
    return regions.both.map((region) => shreddedReason(recordIn(region)) !== undefined);
  };
  await meet();
  regions.linked = false;
  await shred(regions.a);
  await revalidate(regions.b);
  expect(await meet()).toEqual([true, true]);
  // Nor does an order that ends an earlier one.
  regions.linked = false;
  await revalidate(regions.b);
  await revalidate(regions.a);
  await shred(regions.a);
  await revalidate(regions.b);
  await shred(regions.b);
  await revalidate(regions.b);
  expect(await meet()).toEqual([true, true]);
  regions.linked = false;
  await revalidate(regions.b);
  expect(await meet()).toEqual([false, false]);
});
