import { expect, test, vi } from "vitest";
import { ActionModel, confirmedBy } from "./action-model.ts";

const sent = vi.hoisted(() => [] as unknown[]);
const versions = vi.hoisted(() => [] as unknown[]);
vi.mock("../base/api.ts", () => ({
  call: (name: string, request: unknown, { ifMatch }: { readonly ifMatch?: string }) => {
    sent.push([name, request]);
    versions.push(ifMatch);
    return Promise.resolve({ id: "1" });
  },
}));
vi.mock("../base/contract.ts", () => {
  const body = { type: "object", properties: { reason: { type: "string" } } };
  const params = ["instance", "key"];
  return {
    operations: {
      revokeKey: { method: "POST", params, body, command: { words: "key revoke" } },
      activateKey: { method: "POST", params, command: { words: "key activate" } },
      updateInstance: {
        method: "PATCH",
        params: ["instance"],
        command: { words: "instance update" },
      },
      deleteInstance: {
        method: "DELETE",
        params: ["instance"],
        command: { words: "instance delete" },
      },
    },
  };
});

const params = { instance: "kmip-prod", key: "the identifier" };

test("revokes a key only after its identifier was typed again, which is not sent", async () => {
  const model = new ActionModel({ name: "revokeKey", params, target: "the identifier" }, () => {});
  model.change({ reason: "Superseded" });
  expect(model.confirms).toBe(true);
  await model.carryOut(false);
  model.typed.value = "another";
  await model.carryOut(false);
  expect(sent).toEqual([]);
  model.typed.value = " the identifier ";
  await model.carryOut(false);
  expect(sent).toEqual([["revokeKey", { params, body: { reason: "Superseded" } }]]);
  expect(confirmedBy("activateKey")).toBeUndefined();
});

test("names the version that it shows where it changes a thing, and not where it deletes it", async () => {
  versions.length = 0;
  for (const name of ["updateInstance", "deleteInstance"] as const) {
    const action = { name, params: { instance: "one" }, target: "one", thing: { version: "v1" } };
    await new ActionModel(action, () => {}).carryOut(false);
  }
  expect(versions).toEqual(["v1", undefined]);
});
