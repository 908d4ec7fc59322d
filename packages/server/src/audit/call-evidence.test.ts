import { type Handlers, ManagementError } from "@holdfast/admin";
import { systemInstance } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { systemClock as clock } from "../base/system.ts";
import { withCallEvidence } from "./call-evidence.ts";

const principal = {
  ...{ name: "ops", id: "1", role: "manager", instances: undefined, remote: "127.0.0.1" },
} as const;
const callOf = (params: object, body?: object) =>
  ({ principal, params, body, requestId: "r1" }) as never;

test("a refused call of an administrator leaves audit events, and stays refused", async () => {
  const store = new MemoryOwnStore();
  const refusal = new ManagementError("keysRemain", "3 keys are Active");
  const handlers = withCallEvidence(
    {
      deleteInstance: () => Promise.reject(refusal),
      addCertificate: () => Promise.reject(new TypeError("secret words")),
      whoAmI: () => Promise.reject(refusal),
      deleteUser: async () => ({ regions: {} }),
    } as unknown as Partial<Handlers>,
    { store, clock, observe: () => undefined },
  );
  await expect(handlers.deleteInstance?.(callOf({ instance: "i1" }))).rejects.toBe(refusal);
  await expect(
    handlers.addCertificate?.(callOf({ instance: "i1" }, { name: "vc" })),
  ).rejects.toThrow("secret words");
  await expect(handlers.whoAmI?.(callOf({}))).rejects.toBe(refusal);
  await handlers.deleteUser?.(callOf({ instance: "i1", user: "u" }));
  expect(store.auditOf(systemInstance)).toMatchObject([
    { action: "instance.delete", outcome: "pending", target: "i1", initiator: "ops" },
    { action: "instance.delete", outcome: "failure", reason: "keysRemain", target: "i1" },
    { action: "certificate.create", outcome: "pending", target: "vc" },
    { action: "certificate.create", outcome: "failure", reason: "internal", target: "vc" },
  ]);
  expect(JSON.stringify(store.auditOf(systemInstance))).not.toContain("secret words");
});

test("a call is refused with its own error even if the store cannot write the audit events", async () => {
  const told: unknown[] = [];
  const refusal = new ManagementError("conflict", "another was faster");
  const store = { appendAudit: () => Promise.reject(new Error("out")) };
  const { deleteUser } = withCallEvidence(
    { deleteUser: () => Promise.reject(refusal) } as Partial<Handlers>,
    { store, clock, observe: (event) => told.push(event) },
  );
  await expect(deleteUser?.(callOf({ instance: "i", user: "u" }))).rejects.toBe(refusal);
  expect(told).toHaveLength(1);
});

test("a read that is audited leaves its events", async () => {
  const store = new MemoryOwnStore();
  const { readCertificate } = withCallEvidence(
    { readCertificate: async () => ({ name: "vc" }) } as unknown as Partial<Handlers>,
    { store, clock, observe: () => undefined },
  );
  await readCertificate?.(callOf({ instance: "i1", certificate: "c1" }));
  expect(store.auditOf(systemInstance)).toMatchObject([
    { action: "certificate.read", outcome: "pending", target: "c1" },
    { action: "certificate.read", outcome: "success", target: "c1", detail: { instance: "i1" } },
  ]);
});
