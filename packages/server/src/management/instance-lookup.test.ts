import type { Document } from "@holdfast/engine";
import { expect, test } from "vitest";
import type { InstanceHoldings } from "./instance-index.ts";
import { InstanceLookup } from "./instance-lookup.ts";

const deleted = "11111111-2222-4333-8444-555555555555";
const living = "66666666-7777-4888-9999-aaaaaaaaaaaa";

function holdings(id: string, name: string | undefined): InstanceHoldings {
  const document = name && ({ fields: { name, status: "Installed" } } as unknown as Document);
  return { id, document: document || undefined, ...rest };
}
const rest = { certificates: new Map(), users: new Map(), authority: undefined };

test("the identifier of a deleted instance finds no other that is called so", async () => {
  const all = [holdings(deleted, undefined), holdings(living, deleted)];
  const index = { all: () => all, of: (id: string) => all.find((one) => one.id === id) };
  const lookup = new InstanceLookup({
    ...{ index, declared: () => [], view: { refresh: async () => undefined } },
  });
  await expect(lookup.find(deleted)).rejects.toThrow("no such instance");
  expect((await lookup.find(living)).id).toBe(living);
});
