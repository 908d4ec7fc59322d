import type { SystemRecord } from "@holdfast/engine";
import { expect, test } from "vitest";
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
