import { type Handlers, ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import { describe, expect, onTestFinished, test } from "vitest";
import { sampleInstance as instance, instanceNames, openerOf, tokenOf } from "../testing/admin.ts";
import { systemRecord } from "../testing/system-records.ts";
import { MadeBefore } from "./made-before.ts";

const open = openerOf(onTestFinished);
const [one = ""] = Object.keys(instanceNames);
const manager = tokenOf("manager");

describe("repeated requests", () => {
  const body = { name: "kmip-new" };
  const post = (admin: Awaited<ReturnType<typeof open>>, key: string, sent: object = body) =>
    admin.ask("/v1/instances", {
      method: "POST",
      token: manager,
      body: sent,
      headers: { "idempotency-key": key },
    });

  test("get the answer of the first, and are carried out once", async () => {
    let made = 0;
    const ids: string[] = [];
    const admin = await open({
      handlers: {
        createInstance: async ({ newId }) => {
          made += 1;
          ids.push(newId);
          return { ...instance, version: `v${made}` };
        },
      },
    });
    const [first, second] = await Promise.all([post(admin, "k1"), post(admin, "k1")]);
    expect([first?.status, second?.status]).toEqual([201, 201]);
    expect(second?.json).toEqual(first?.json);
    expect(made).toBe(1);
    expect(await post(admin, "k1", { name: "other" })).toMatchObject({
      status: 409,
      json: { code: "idempotencyMismatch" },
    });
    expect(await post(admin, "k2")).toMatchObject({ status: 201, json: { version: "v2" } });
    expect(new Set(ids).size).toBe(2);
    const other = await open({
      handlers: { createInstance: async ({ newId }) => ({ ...instance, id: newId }) },
    });
    expect((await post(other, "k1")).json["id"]).toBe(ids[0]);
  });

  test("get what another node made meanwhile instead of a conflict", async () => {
    let seen = false;
    const handlers: Partial<Handlers> = {
      createInstance: () => Promise.reject(new ManagementError("conflict", "another was faster")),
      readInstance: async ({ params }) => ({ ...instance, id: params.instance }),
    };
    const record = systemRecord("Instance", { instance: "i", name: "kmip-new" });
    const view = {
      get: () => (seen ? (record as never) : undefined),
      refresh: async () => {
        seen = true;
      },
    };
    const admin = await open({ handlers, madeBefore: new MadeBefore(view, handlers as Handlers) });
    const answer = await post(admin, "k9");
    expect(answer).toMatchObject({ status: 201, json: { name: "kmip-one" } });
    expect(answer.json["id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8/);
    expect(await post(admin, "k8", { name: "other" })).toMatchObject({
      json: { code: "idempotencyMismatch" },
    });
  });

  test("are carried out again if the first one failed", async () => {
    let tries = 0;
    const admin = await open({
      handlers: {
        createInstance: () => {
          tries += 1;
          return tries === 1
            ? Promise.reject(new StoreUnavailable("noLease", "x"))
            : Promise.resolve(instance);
        },
      },
    });
    expect(await post(admin, "k")).toMatchObject({ status: 503 });
    expect(await post(admin, "k")).toMatchObject({ status: 201 });
  });

  test("do not show a secret again that was shown once", async () => {
    const token = {
      id: one,
      name: "ci",
      roles: ["viewer" as const],
      createdAt: "2026-11-25T00:00:00Z",
      createdBy: "a manager",
      expiresAt: "2027-11-25T00:00:00Z",
      state: "valid" as const,
      regions: {},
    };
    const admin = await open({
      handlers: { createToken: async () => ({ token, secret: "hf_s3cret" }) },
    });
    const send = () =>
      admin.ask("/v1/tokens", {
        method: "POST",
        token: manager,
        body: { name: "ci", roles: ["viewer"] },
        headers: { "idempotency-key": "k" },
      });
    expect((await send()).json["secret"]).toBe("hf_s3cret");
    const again = await send();
    expect(again).toMatchObject({ status: 409, json: { code: "madeAlready" } });
    expect(again.text).not.toContain("hf_s3cret");
  });
});
