import { request } from "node:https";
import { type Handlers, ManagementError, type ProblemCode, problems } from "@holdfast/admin";
import { type SystemRecord, systemIdentifier } from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Asking, bearer, openerOf, sampleInstance, tokenOf } from "../../testing/admin.ts";
import { systemRecord } from "../../testing/system-records.ts";
import { MadeBefore } from "../made-before.ts";
import { type ApiSettings, adapterLabels } from "./context.ts";
import { keyProtectRoutes } from "./routes.ts";

const open = openerOf(onTestFinished);
const manager = tokenOf("manager");
const instanceId = "0d1f7a52-5d0c-4c53-9a5e-0c2b6f4d9e10";
const rootKey = "7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21";
const ours = { "bluemix-instance": instanceId };
const base = "/api/v2/kmip_adapters";
const denied = {
  metadata: { collectionType: "application/vnd.ibm.kms.error+json", collectionTotal: 1 },
  resources: [
    { errorMsg: "Unauthorized: The user does not have access to the specified resource" },
  ],
};

const keyProtectApi: ApiSettings = {
  instanceId,
  rootKeys: [{ id: rootKey, aliases: ["vmware"], regions: { a: { type: "local" } } }],
  destroyDelay: 0,
  url: "https://kms.example:8443",
  creatorOf: () => undefined,
  refresh: async () => undefined,
  wallMs: () => Date.now(),
};
const adapter = {
  ...sampleInstance,
  createdAt: "2026-11-27T10:00:00.000Z",
  labels: { [adapterLabels.instance]: instanceId, [adapterLabels.rootKey]: rootKey },
};
const readInstance = async () => adapter;

interface Reason {
  readonly code: string;
  readonly status: number;
  readonly message: string;
}

/** The first reason of an error's envelope. */
function reasonOf(json: Record<string, unknown>): Reason {
  const { resources } = json as { readonly resources: readonly { readonly reasons: Reason[] }[] };
  return resources[0]?.reasons[0] as Reason;
}

function ordered(resource: object): Pick<Asking, "method" | "body"> {
  const collectionType = "application/vnd.ibm.kms.kmip_adapter+json";
  return {
    method: "POST",
    body: { metadata: { collectionType, collectionTotal: 1 }, resources: [resource] },
  };
}

describe("IBM's API", () => {
  test("is not there unless the configuration has it", async () => {
    const admin = await open();
    const answer = await admin.ask(base, { token: manager, headers: ours });
    expect(answer).toMatchObject({ status: 404, json: { code: "notFound" } });
    const token = await admin.ask("/identity/token", { method: "POST", body: {} });
    expect(token).toMatchObject({ status: 404, json: { code: "notFound" } });
  });

  test.each(keyProtectRoutes.map(({ method, path }) => [method, path] as const))(
    "%s %s answers 401 without reasons for no token, a wrong one, and a foreign instance",
    async (method, path) => {
      const admin = await open({ keyProtectApi });
      const url = `${base}${path.replace(":adapter", "kmip-one").replaceAll(/:\w+/g, rootKey)}`;
      const foreign = { "bluemix-instance": rootKey };
      for (const asking of [
        { method, headers: ours },
        { method, headers: ours, token: `hf_${"y".repeat(43)}` },
        { method, headers: foreign, token: tokenOf("every-role") },
        { method, token: tokenOf("every-role") },
      ]) {
        const answer = await admin.ask(url, asking);
        expect(answer).toMatchObject({ status: 401, json: denied });
      }
    },
  );

  test.each(keyProtectRoutes.map(({ method, path, operation }) => [method, path, operation]))(
    "%s %s is for the roles of %s, and for no others",
    async (method = "", path = "", operation) => {
      const { contract, roles } = await import("@holdfast/admin");
      const handlers = { readInstance, listInstances: async () => ({ items: [] }) };
      const admin = await open({ keyProtectApi, handlers });
      const url = `${base}${path.replace(":adapter", "kmip-one").replaceAll(/:\w+/g, rootKey)}`;
      for (const role of roles) {
        const answer = await admin.ask(url, { method, headers: ours, token: tokenOf(role) });
        const may: readonly string[] = contract[operation as "readInstance"].roles;
        expect([role, answer.status === 403]).toEqual([role, !may.includes(role)]);
        if (answer.status === 403) expect(reasonOf(answer.json).code).toBe("FORBIDDEN_ERR");
      }
    },
  );

  test("reads a body of any media type, and of none", async () => {
    const made: unknown[] = [];
    const handlers: Partial<Handlers> = {
      readInstance,
      listInstances: async () => ({ items: [] }),
      createInstance: async ({ body }) => {
        made.push(body);
        return adapter;
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const resource = {
      name: "adapter-1",
      description: "",
      profile: "native_1.0",
      profile_data: { crk_id: "vmware" },
    };
    const raw = JSON.stringify(ordered(resource).body);
    const ask = (headers: Readonly<Record<string, string>>) =>
      admin.ask(base, { method: "POST", token: manager, headers: { ...ours, ...headers }, raw });
    const type = (value: string) => ({ "content-type": value });
    for (const headers of [
      type("application/json"),
      type("application/json; charset=utf-8"),
      type("application/vnd.ibm.kms.kmip_adapter+json"),
      type("text/plain"),
    ]) {
      expect(await ask(headers)).toMatchObject({ status: 201 });
    }
    const untyped = { method: "POST", token: manager, headers: ours, raw, untyped: true } as const;
    expect(await admin.ask(base, untyped)).toMatchObject({ status: 201 });
    expect(made).toHaveLength(5);
    expect(made[4]).toMatchObject({
      name: "adapter-1",
      description: "",
      destroyDelay: 0,
      rootOfTrust: { regions: { a: { type: "local" } } },
      labels: adapter.labels,
    });
  });

  test("refuses a root key's identifier in upper case: no answer has it so, and Terraform would replace the adapter", async () => {
    const made: unknown[] = [];
    const handlers: Partial<Handlers> = {
      createInstance: async ({ body }) => {
        made.push(body);
        return adapter;
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const profile_data = { crk_id: rootKey.toUpperCase() };
    const asking = ordered({ name: "adapter-1", profile: "native_1.0", profile_data });
    const answer = await admin.ask(base, { ...asking, token: manager, headers: ours });
    expect(answer.status).toBe(400);
    expect(reasonOf(answer.json)).toMatchObject({
      code: "INVALID_FIELD_ERR",
      message: expect.stringContaining(rootKey),
    });
    expect(made).toEqual([]);
  });

  test("makes one name for a nameless order that arrives twice with one Correlation-Id, and two without", async () => {
    const names: (string | undefined)[] = [];
    const handlers: Partial<Handlers> = {
      readInstance,
      listInstances: async () => ({ items: [] }),
      createInstance: async ({ body }) => {
        names.push(body.name);
        return adapter;
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const asking = ordered({ profile: "native_1.0", profile_data: { crk_id: rootKey } });
    const mark = { "correlation-id": "3f6b0f0e-5f7d-4c3c-9a57-0d2f8f1f2b11" };
    for (const more of [mark, mark, {}, {}]) {
      const headers = { ...ours, ...more };
      const answer = await admin.ask(base, { ...asking, token: manager, headers });
      expect(answer.status).toBe(201);
    }
    expect(names).toHaveLength(4);
    for (const name of names) expect(name).toMatch(/^kmip_adapter_[0-9a-f]{16}$/);
    expect(names[1]).toBe(names[0]);
    expect(new Set(names).size).toBe(3);
  });

  test("answers a repetition of an order with what it made, also after earlier ones were deleted", async () => {
    const records = new Map<string, SystemRecord<"Instance">>();
    const named = (name: string) => [...records.values()].filter((one) => one.name === name);
    const handlers: Partial<Handlers> = {
      listInstances: async () => ({ items: [] }),
      readInstance: async ({ params }) => ({ ...adapter, id: params.instance }),
      createInstance: async ({ body, newId }) => {
        const { name = "" } = body;
        if (named(name).some(({ destroyed }) => destroyed === undefined)) {
          throw new ManagementError("nameTaken", name);
        }
        const id = systemIdentifier("Instance", newId);
        records.set(id, systemRecord("Instance", { instance: newId, name }, id));
        return { ...adapter, id: newId };
      },
    };
    const view = { get: (_: string, id: string) => records.get(id) as never };
    const refresh = async () => undefined;
    const madeBefore = new MadeBefore({ ...view, refresh }, handlers as Handlers);
    const admin = await open({ keyProtectApi, handlers, madeBefore });
    const asking = ordered({ name: "n", profile: "native_1.0", profile_data: { crk_id: rootKey } });
    const headers = { ...ours, "correlation-id": "3f6b0f0e-5f7d-4c3c-9a57-0d2f8f1f2b11" };
    const ids: unknown[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (let sent = 0; sent < 2; sent += 1) {
        const answer = await admin.ask(base, { ...asking, token: manager, headers });
        expect(answer.status).toBe(201);
        ids.push((answer.json["resources"] as { readonly id: string }[])[0]?.id);
      }
      for (const [id, record] of records) {
        records.set(id, { ...record, destroyed: { time: 1, region: "a" } });
      }
    }
    expect(records.size).toBe(3);
    expect(new Set(ids).size).toBe(3);
    expect([ids[0], ids[2], ids[4]]).toEqual([ids[1], ids[3], ids[5]]);
  });

  test("reports no fault of its own where the caller hangs up before an ordered adapter is ready", async () => {
    let looks = 0;
    const handlers: Partial<Handlers> = {
      listInstances: async () => ({ items: [] }),
      createInstance: async () => adapter,
      readInstance: async () => {
        looks += 1;
        return { ...adapter, status: "Configuring" };
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const asking = ordered({ profile: "native_1.0", profile_data: { crk_id: rootKey } });
    const signal = new AbortController();
    const asked = request(`${admin.url}${base}`, {
      ...{ method: "POST", ca: admin.ca, signal: signal.signal },
      headers: { ...ours, authorization: `Bearer ${manager}` },
    });
    asked.on("error", () => undefined);
    asked.end(JSON.stringify(asking.body));
    await until("the adapter is looked at", () => looks > 0);
    signal.abort();
    const reported = () => admin.events.find(({ type }) => type === "adminRequest");
    await until("the request is reported", () => reported() !== undefined);
    expect(reported()).toMatchObject({ status: 503 });
    expect(reported()).not.toHaveProperty("cause");
  });

  test("shows an adapter with both times and the root key's identifier, and echoes Correlation-Id", async () => {
    const admin = await open({ keyProtectApi, handlers: { readInstance } });
    const id = "3f6b0f0e-5f7d-4c3c-9a57-0d2f8f1f2b11";
    const headers = { ...ours, "Correlation-Id": id };
    const answer = await admin.ask(`${base}/kmip-one`, { token: manager, headers });
    expect(answer.status).toBe(200);
    expect(answer.headers["correlation-id"]).toBe(id);
    expect(answer.json).toEqual({
      metadata: {
        collectionType: "application/vnd.ibm.kms.kmip_adapter+json",
        collectionTotal: 1,
      },
      resources: [
        {
          id: adapter.id,
          name: "kmip-one",
          description: "",
          profile: "native_1.0",
          profile_data: { crk_id: rootKey },
          created_by: "a manager",
          created_at: adapter.createdAt,
          updated_by: "a manager",
          updated_at: adapter.createdAt,
        },
      ],
    });
  });

  test("does not show an instance that was not ordered here, or one that the token is not bound to", async () => {
    const handlers = { readInstance: async () => ({ ...adapter, labels: {} }) };
    const bound = `hf_${"b".repeat(43)}`;
    const other = bearer("viewer", ["6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a02"]);
    const admin = await open({ keyProtectApi, handlers, tokens: { [bound]: other } });
    for (const token of [manager, bound]) {
      const answer = await admin.ask(`${base}/kmip-one`, { token, headers: ours });
      expect(answer.status).toBe(404);
      expect(reasonOf(answer.json).code).toBe("KMIP_ADAPTER_NOT_FOUND_ERR");
    }
  });

  const codes = Object.keys(problems) as ProblemCode[];
  test.each(codes)("answers the cause %s in IBM's form", async (code) => {
    const refuse = () => Promise.reject(new ManagementError(code, "what is wrong, on one line"));
    const handlers = { readInstance, deleteInstance: refuse, readCertificate: refuse };
    const admin = await open({ keyProtectApi, handlers });
    const asking = { token: manager, headers: ours };
    const deleted = await admin.ask(`${base}/kmip-one`, { ...asking, method: "DELETE" });
    const read = await admin.ask(`${base}/kmip-one/certificates/c`, asking);
    for (const { status, json } of [deleted, read]) {
      expect(json["metadata"]).toEqual(denied.metadata);
      if (code === "unauthenticated") expect(json).toEqual(denied);
      else {
        expect(reasonOf(json)).toMatchObject({ status, message: "what is wrong, on one line" });
        expect(reasonOf(json).code).toMatch(/^[A-Z_]+_ERR$/);
      }
      expect([status, status === 422 || status === 428]).toEqual([status, false]);
    }
  });

  test.each([
    ["GET", `${base}/kmip-one/certificate`, 404, "NOT_FOUND_ERR"],
    ["GET", "/api/v2/keys", 404, "NOT_FOUND_ERR"],
    ["GET", `${base}/%zz`, 400, "BAD_REQUEST_ERR"],
    ["GET", `${base}/${"x".repeat(65)}`, 404, "KMIP_ADAPTER_NOT_FOUND_ERR"],
    ["GET", `${base}/${"x".repeat(600)}`, 404, "NOT_FOUND_ERR"],
    ["GET", `${base}/..%2f..%2fetc`, 404, "KMIP_ADAPTER_NOT_FOUND_ERR"],
    ["PUT", base, 405, "METHOD_NOT_ALLOWED_ERR"],
    ["PATCH", `${base}/kmip-one`, 405, "METHOD_NOT_ALLOWED_ERR"],
    ["GET", `${base}?sort=name`, 400, "INVALID_QUERY_PARAM_ERR"],
    ["GET", `${base}/kmip-one/kmip_objects/1`, 404, "KMIP_OBJECT_NOT_FOUND_ERR"],
  ])("%s %s answers %d in IBM's form", async (method, path, status, code) => {
    const admin = await open({ keyProtectApi, handlers: { readInstance } });
    const answer = await admin.ask(path, { method, token: tokenOf("every-role"), headers: ours });
    expect(answer.status).toBe(status);
    expect(reasonOf(answer.json).code).toBe(code);
  });

  test.each([
    ["{", 400, "BAD_BODY_ERR"],
    ["", 400, "BAD_BODY_ERR"],
    ['{"__proto__":{}}', 400, "BAD_BODY_ERR"],
    [JSON.stringify("x".repeat(140_000)), 413, "BODY_TOO_LARGE_ERR"],
  ])("wrong body number %# is refused", async (raw, status, code) => {
    const admin = await open({ keyProtectApi });
    const asking = { method: "POST", token: manager, headers: ours, raw };
    const answer = await admin.ask(base, asking);
    expect(answer.status).toBe(status);
    expect(reasonOf(answer.json).code).toBe(code);
  });

  test("reads many pages for one list only in few requests at a time", async () => {
    let letOn: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      letOn = resolve;
    });
    const pages = new Map<string, number>();
    const handlers: Partial<Handlers> = {
      readInstance,
      listKeys: async ({ requestId }) => {
        const page = (pages.get(requestId) ?? 0) + 1;
        pages.set(requestId, page);
        if (page === 11 && [...pages.values()].filter((one) => one > 10).length === 2) letOn();
        if (page > 10) await gate;
        return { items: [], ...(page < 12 && { next: String(page) }) };
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const list = () =>
      admin.ask(`${base}/kmip-one/kmip_objects?limit=1&state=6`, { token: manager, headers: ours });
    const first = list();
    await until("the first list is long", async () => [...pages.values()].includes(11));
    const second = await list();
    expect(second.status).toBe(429);
    expect(reasonOf(second.json).code).toBe("TOO_MANY_REQUESTS_ERR");
    letOn();
    expect(await first).toMatchObject({ status: 200, json: { resources: [] } });
    expect(await list()).toMatchObject({ status: 200 });
  });

  test("reads an object without its history", async () => {
    const queries: unknown[] = [];
    const handlers: Partial<Handlers> = {
      readInstance,
      readKey: async ({ params, query }) => {
        queries.push(query);
        const key = { id: params.key, type: "SymmetricKey", names: [] };
        return { ...key, state: "Active", attributes: [], history: [] };
      },
    };
    const admin = await open({ keyProtectApi, handlers });
    const path = `${base}/kmip-one/kmip_objects/${rootKey}`;
    const answer = await admin.ask(path, { token: manager, headers: ours });
    expect(answer).toMatchObject({ status: 200, json: { resources: [{ id: rootKey, state: 2 }] } });
    expect(queries).toEqual([{ history: false }]);
  });

  test("shows nothing of an unexpected error", async () => {
    const handlers = { readInstance: () => Promise.reject(new Error("password=hunter2")) };
    const admin = await open({ keyProtectApi, handlers });
    const answer = await admin.ask(`${base}/kmip-one`, { token: manager, headers: ours });
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain("hunter2");
  });
});

describe("the token service and the resource controller", () => {
  const grant = "urn:ibm:params:oauth:grant-type:apikey";
  const form = (fields: Readonly<Record<string, string>>) => ({
    method: "POST",
    raw: new URLSearchParams(fields).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
  const ownTokens = (role: "manager" | "viewer") => {
    const token = `hf_${role.padEnd(43, "-")}`;
    return { token, tokens: { [token]: bearer(role) } };
  };

  test("give a token for a token, which counts only here and grants nothing more", async () => {
    const { token, tokens } = ownTokens("viewer");
    const admin = await open({ keyProtectApi, tokens, handlers: { readInstance } });
    for (const path of ["/identity/token", "/oidc/token"]) {
      const { json, status } = await admin.ask(path, form({ grant_type: grant, apikey: token }));
      expect([status, json["token_type"], json["expires_in"]]).toEqual([200, "Bearer", 3600]);
      const jwt = String(json["access_token"]);
      expect(Number(json["expiration"]) * 1000).toBeGreaterThan(Date.now());
      const asking = { token: jwt, headers: ours };
      expect(await admin.ask(`${base}/kmip-one`, asking)).toMatchObject({ status: 200 });
      const deleting = await admin.ask(`${base}/kmip-one`, { ...asking, method: "DELETE" });
      expect(deleting.status).toBe(403);
      expect(await admin.ask("/v1/instances/kmip-one", asking)).toMatchObject({ status: 401 });
    }
  });

  test("stop with the token", async () => {
    const { token, tokens } = ownTokens("manager");
    const changing = { ...tokens } as Record<string, ReturnType<typeof bearer> | "revoked">;
    const admin = await open({ keyProtectApi, tokens: changing, handlers: { readInstance } });
    const given = await admin.ask("/identity/token", form({ grant_type: grant, apikey: token }));
    changing[token] = "revoked";
    const jwt = String(given.json["access_token"]);
    const answer = await admin.ask(`${base}/kmip-one`, { token: jwt, headers: ours });
    expect(answer).toMatchObject({ status: 401, json: denied });
  });

  test.each([
    [{ grant_type: grant, apikey: `hf_${"n".repeat(43)}` }, "BXNIM0415E"],
    [{ grant_type: grant, apikey: "x" }, "BXNIM0415E"],
    [{ grant_type: grant }, "BXNIM0415E"],
    [{ grant_type: "password", apikey: "x" }, "BXNIM0102E"],
    [{}, "BXNIM0102E"],
  ])("refuse %j with %s", async (fields, errorCode) => {
    const admin = await open({ keyProtectApi });
    const answer = await admin.ask("/identity/token", form(fields));
    expect(answer).toMatchObject({ status: 400, json: { errorCode } });
  });

  test("limit guesses by address", async () => {
    const admin = await open({ keyProtectApi, failures: 3 });
    const guess = () =>
      admin.ask("/identity/token", form({ grant_type: grant, apikey: `hf_${"n".repeat(43)}` }));
    for (let at = 0; at < 3; at += 1) expect((await guess()).status).toBe(400);
    expect((await guess()).status).toBe(429);
    expect(admin.denials).toHaveLength(3);
  });

  test("show the instance with its endpoints, and no other one", async () => {
    const admin = await open({ keyProtectApi });
    const path = "/v2/resource_instances";
    const { status, json } = await admin.ask(`${path}/${instanceId}`, { token: manager });
    expect(status).toBe(200);
    const url = keyProtectApi.url;
    expect(json).toMatchObject({
      guid: instanceId,
      crn: expect.stringContaining(`:${instanceId}::`),
      extensions: { endpoints: { public: url, private: url } },
    });
    const byName = await admin.ask(`${path}/${encodeURIComponent(String(json["crn"]))}`, {
      token: manager,
    });
    expect(byName.json).toEqual(json);
    const other = await admin.ask(`${path}/${rootKey}`, { token: manager });
    expect(other).toMatchObject({ status: 404, json: { status_code: 404 } });
    expect(await admin.ask(`${path}/${instanceId}`)).toMatchObject({ status: 401 });
    const auditor = await admin.ask(`${path}/${instanceId}`, { token: tokenOf("auditor") });
    expect(auditor.status).toBe(403);
  });
});
