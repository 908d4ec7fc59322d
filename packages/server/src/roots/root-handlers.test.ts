import { type Call, type Contract, ManagementError, type Role } from "@holdfast/admin";
import { expect, test, vi } from "vitest";
import { systemRecord } from "../testing/system-records.ts";
import { type RootHandlersDeps, rootHandlers } from "./root-handlers.ts";

const instance = "11111111-2222-4333-8444-555555555555";

const done = { regions: {}, rewrapped: 0 };

const shred = vi.fn(async () => ({ a: "applied" }));

function handlersOf(keys: "open" | "shredded") {
  const order = { id: "o", atMs: 0, by: "boss" };
  const opened = keys === "open" ? { b: { ...order, ends: "o" } } : {};
  const keysOrders = { shredded: { b: order }, opened };
  const values = { instance, name: "kmip-a", status: "Installed", ...keysOrders } as const;
  const record = systemRecord("Instance", values);
  const orders = {
    regions: ["a", "b"],
    revalidate: async () => ({}),
    check: async () => [],
    configure: async () => done,
    shred,
  };
  const roots = { record: () => record, keks: () => [], instances: () => [instance] };
  const deps = { region: "a", kind: "local", roots, orders, here: {}, declared: () => false };
  return rootHandlers(deps as unknown as RootHandlersDeps);
}

function callOf(role: Role): Call<Contract["revalidateRoot"]> {
  const principal = {
    name: "n",
    id: "t",
    roles: [role],
    instances: [instance],
    remote: "192.0.2.1",
  };
  return { principal, params: { instance } } as unknown as Call<Contract["revalidateRoot"]>;
}

test.each<["open" | "shredded", Role, boolean]>([
  ["open", "operator", true],
  ["open", "manager", true],
  ["shredded", "operator", false],
  ["shredded", "manager", true],
])("keys that are %s may be revalidated by a %s: %s", async (keys, role, may) => {
  const done = handlersOf(keys).revalidateRoot(callOf(role));
  if (may) expect(await done).toEqual({ regions: {} });
  else await expect(done).rejects.toThrow(ManagementError);
});

test.each<[object, readonly string[] | undefined, boolean]>([
  [{ value: "secret" }, [instance], true],
  [{ file: "key-protect" }, [instance], false],
  [{ env: "HOLDFAST_ROOT_KEY" }, [instance], false],
  [{ file: "key-protect" }, undefined, true],
])("the secret %j may be given by a token bound to %j: %s", async (apiKey, instances, may) => {
  const principal = { name: "n", id: "t", roles: ["manager"], instances, remote: "192.0.2.1" };
  const root = { type: "key-protect", instanceId: "i", rootKey: "k", apiKey };
  const call = { principal, params: { instance }, body: { regions: { a: root } } };
  const answer = handlersOf("open").configureRoot(
    call as unknown as Call<Contract["configureRoot"]>,
  );
  if (may) expect(await answer).toEqual(done);
  else await expect(answer).rejects.toMatchObject({ code: "forbidden" });
});

test("the order of a shred has the identifier that the call makes, which is of its request", async () => {
  const call = { ...callOf("manager"), body: { name: "kmip-a" }, newId: "of the request" };
  const { shredInstance } = handlersOf("open");
  const answer = await shredInstance(call as unknown as Call<Contract["shredInstance"]>);
  expect(answer).toEqual({ regions: { a: "shredded" } });
  expect(shred).toHaveBeenLastCalledWith(call, instance, "of the request");
});
