import { type Handlers, ManagementError } from "@holdfast/admin";
import { systemInstance } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { EventLimit } from "../admin/access/event-limit.ts";
import { systemClock as clock } from "../base/system.ts";
import { dryRun } from "../records/dry-run.ts";
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
    { store, clock, observe: () => undefined, limit: () => 0 },
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
    { store, clock, observe: (event) => told.push(event), limit: () => 0 },
  );
  await expect(deleteUser?.(callOf({ instance: "i", user: "u" }))).rejects.toBe(refusal);
  expect(told).toHaveLength(1);
});

test("a read that is audited leaves its events", async () => {
  const store = new MemoryOwnStore();
  const { readCertificate } = withCallEvidence(
    { readCertificate: async () => ({ name: "vc" }) } as unknown as Partial<Handlers>,
    { store, clock, observe: () => undefined, limit: () => 0 },
  );
  await readCertificate?.(callOf({ instance: "i1", certificate: "c1" }));
  expect(store.auditOf(systemInstance)).toMatchObject([
    { action: "certificate.read", outcome: "pending", target: "c1" },
    { action: "certificate.read", outcome: "success", target: "c1", detail: { instance: "i1" } },
  ]);
});

test("a caller that is bound to instances cannot fill the trail with reads and refused calls, and the next event counts those left out", async () => {
  const store = new MemoryOwnStore();
  const nows = { ms: 0 };
  const handlers = withCallEvidence(
    {
      readCertificate: async () => ({ name: "vc" }),
      deleteUser: () => Promise.reject(new ManagementError("notFound", "no user")),
    } as unknown as Partial<Handlers>,
    { store, clock, observe: () => undefined, limit: new EventLimit(() => nows.ms).take },
  );
  const call = (by: object) =>
    ({
      ...{ principal: { ...principal, ...by }, params: { instance: "i1", certificate: "c1" } },
      requestId: "r1",
    }) as never;
  const bound = call({ id: "2", instances: ["i1"] });
  for (let at = 0; at < 200; at += 1) {
    await handlers.readCertificate?.(bound);
    await handlers.deleteUser?.(bound).catch(() => undefined);
  }
  expect(store.auditOf(systemInstance)).toHaveLength(2 * 100);
  // A manager of the whole system is not limited, and another caller's limit is its own.
  await handlers.readCertificate?.(call({}));
  nows.ms += 1_000;
  await handlers.readCertificate?.(bound);
  expect(store.auditOf(systemInstance).slice(2 * 100)).toMatchObject([
    { outcome: "pending" },
    { outcome: "success", detail: expect.not.objectContaining({ leftOut: expect.anything() }) },
    { outcome: "pending" },
    { outcome: "success", detail: { leftOut: 300 } },
  ]);
});

test("a dry run leaves an event if a key manager refused its secret, and no other", async () => {
  const store = new MemoryOwnStore();
  const refuse = (code: "rootDenied" | "wrongState") =>
    withCallEvidence(
      {
        configureRoot: () => Promise.reject(new ManagementError(code, "refused")),
      } as Partial<Handlers>,
      { store, clock, observe: () => undefined, limit: () => 0 },
    );
  for (const code of ["wrongState", "rootDenied"] as const) {
    const done = dryRun(async () => refuse(code).configureRoot?.(callOf({ instance: "i1" })));
    await expect(done).rejects.toMatchObject({ code });
  }
  expect(store.auditOf(systemInstance)).toMatchObject([
    { action: "root.configure", outcome: "pending", target: "i1" },
    { outcome: "failure", reason: "rootDenied", detail: { dryRun: "true" } },
  ]);
});
