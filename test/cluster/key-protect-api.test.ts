import { randomUUID } from "node:crypto";
import type { AdminClient, Role } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import {
  adaptersPath,
  enveloped,
  IbmCaller,
  type IbmLanguage,
  ibmClients,
} from "../support/ibm-clients.ts";
import { answered, createKey } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { patient } from "../support/root-regions.ts";
import { TerraformIbm } from "../support/terraform-ibm.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell } from "../support/vitals.ts";

const instanceId = "0d1f7a52-5d0c-4c53-9a5e-0c2b6f4d9e10";
const crkId = "7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21";
const absent = "7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d99";
const local = { type: "local" } as const;
const rootKeys = [{ id: crkId, aliases: ["vmware"], regions: { a: local, b: local } }];
const uuid = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const time = expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);

let both: TwoRegions;
let token: string;
let admin: AdminClient;
const opened = new AsyncDisposableStack();

beforeAll(async () => {
  const settings = { admin: { keyProtectApi: { instanceId, rootKeys } } };
  const shape = { instances: ["declared"], nodes: 1, replicas: 0, admin: true, settings };
  both = opened.use(await startTwoRegions(shape));
  await allWell(both);
  const target = { node: both.node("a1"), ca: both.a.ca };
  token = await firstToken(target);
  admin = opened.use(adminClient(target, token));
});

afterAll(() => opened.disposeAsync());

function originOf({ host, admin: port }: NodeProcess): string {
  return `https://${host}:${port}`;
}

function callerAt(node: string, language: IbmLanguage = "go", by: string = token): IbmCaller {
  const options = { language, token: by, instanceId };
  return opened.use(new IbmCaller(originOf(both.node(node)), both.a.ca, options));
}

function issued(commonName: string): Promise<Issued> {
  return selfSigned({ commonName, notBeforeMs: Date.now() - 60_000, days: 2 });
}

async function terraformAt(node: string): Promise<TerraformIbm> {
  const given = { apiKey: token, instanceId };
  return opened.use(await TerraformIbm.open(originOf(both.node(node)), both.a.ca, given));
}

/** An adapter with a client that is let in at every node. */
async function adapterWithClient(name: string) {
  const go = callerAt("a1");
  const made = await go.createAdapter(crkId, { name });
  expect(made).toMatchObject({ status: 201 });
  const id = String(made.resources[0]?.["id"]);
  const { certificate, key } = await issued(name);
  const added = await go.addCertificate(id, certificate, { name: "vcenter" });
  expect(added).toMatchObject({ status: 201 });
  let client: KmipClient | undefined;
  await until("the client is let in", async () => {
    const { host, kmip } = both.node("a1");
    const tls = { ca: both.a.ca, certificate, key };
    client = await KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls }).catch(
      () => undefined,
    );
    return client !== undefined;
  });
  const entry = String(added.resources[0]?.["id"]);
  return { go, id, entry, certificate, client: opened.use(client as KmipClient) };
}

describe.each(Object.keys(ibmClients) as IbmLanguage[])("the client %s", (language) => {
  test("creates, shows, lists and deletes adapters and certificates, at the nodes of both regions", async () => {
    const name = `adapter-${language}`;
    const here = callerAt("a1", language);
    const there = callerAt("b1", language);
    const made = await here.createAdapter("vmware", { name });
    expect(made).toMatchObject({ status: 201, metadata: { collectionTotal: 1 } });
    const [adapter] = made.resources;
    expect(adapter).toEqual({
      ...{ id: uuid, name, description: "", profile: "native_1.0" },
      ...{ profile_data: { crk_id: crkId }, created_by: "test", created_at: time },
      ...{ updated_by: "test", updated_at: time },
    });
    for (const text of [name, String(adapter?.["id"])]) {
      const read = await there.ask("GET", `${adaptersPath}/${text}`);
      expect(read).toMatchObject({ status: 200, resources: [adapter] });
    }
    const { certificate } = await issued(name);
    const added = await there.addCertificate(name, certificate, { name: "vcenter-1" });
    expect(added.status).toBe(201);
    const [entry] = added.resources;
    const shown = { id: uuid, name: "vcenter-1", created_by: "test", created_at: time };
    expect(entry).toEqual({ ...shown, certificate });
    const certificates = `${adaptersPath}/${name}/certificates`;
    const read = await here.ask("GET", `${certificates}/vcenter-1`);
    expect(read.resources).toEqual([entry]);
    const query = `limit=10&offset=0&totalCount=${here.yes}`;
    const list = await here.ask("GET", `${certificates}?${query}`);
    expect(list.resources).toEqual([shown]);
    expect(list.metadata).toMatchObject({ collectionTotal: 1, totalCount: 1 });
    const found = await there.ask("GET", `${adaptersPath}?crk_id=vmware`);
    expect(found.resources).toContainEqual(adapter);
    expect(found.metadata).not.toHaveProperty("totalCount");
    const none = await there.ask("GET", `${adaptersPath}?crk_id=${absent}&totalCount=true`);
    expect([none.resources, none.metadata["totalCount"]]).toEqual([[], 0]);
    for (const path of [`${certificates}/${String(entry?.["id"])}`, `${adaptersPath}/${name}`]) {
      expect(await there.ask("DELETE", path)).toMatchObject({ status: 204, text: "" });
      expect(await there.ask("GET", path)).toMatchObject({ status: 404 });
      expect(await there.ask("DELETE", path)).toMatchObject({ status: 404 });
    }
  });
});

test("every change has an event of its own, in the name of the caller", async () => {
  const go = callerAt("a1");
  await go.createAdapter(crkId, { name: "audited" });
  await go.ask("DELETE", `${adaptersPath}/audited`);
  for (const action of ["vmware-solutions.service.create", "vmware-solutions.service.delete"]) {
    const { items } = await patient(() =>
      admin.call("listEvents", { query: { action, outcome: "success", limit: 100 } }),
    );
    expect(JSON.stringify(items)).toContain('"test"');
  }
});

describe("a POST that arrives twice", () => {
  test("makes one thing for one Correlation-Id, with and without a name, also in both regions at once", async () => {
    const here = callerAt("a1");
    const there = callerAt("b1");
    for (const fields of [{ name: "twice" }, {}]) {
      const mark = { "correlation-id": randomUUID() };
      const all = await Promise.all(
        [here, there, here].map((one) => one.createAdapter(crkId, fields, mark)),
      );
      const later = await there.createAdapter(crkId, fields, mark);
      const ids = [...all, later].map(({ resources }) => resources[0]?.["id"]);
      expect([...all, later].map(({ status }) => status)).toEqual([201, 201, 201, 201]);
      expect(new Set(ids).size).toBe(1);
      const { certificate } = await issued("twice");
      const again = { "correlation-id": randomUUID() };
      const added = await Promise.all(
        [here, there].map((one) => one.addCertificate(String(ids[0]), certificate, {}, again)),
      );
      expect(added.map(({ status }) => status)).toEqual([201, 201]);
      expect(added[0]?.resources).toEqual(added[1]?.resources);
      expect(added[0]?.resources[0]?.["name"]).toMatch(/^kmip_cert_\w+$/);
      expect(await here.ask("DELETE", `${adaptersPath}/${String(ids[0])}`)).toMatchObject({
        status: 204,
      });
    }
  });

  test("is refused by its name and its certificate without one, and makes two adapters if it has no name", async () => {
    const node = callerAt("b1", "node");
    const { certificate } = await issued("once");
    expect((await node.createAdapter(crkId, { name: "once" })).status).toBe(201);
    expect(await node.createAdapter(crkId, { name: "once" })).toMatchObject({
      status: 409,
      code: "KMIP_ADAPTER_DUPLICATE_NAME_ERR",
    });
    expect((await node.addCertificate("once", certificate, { name: "one" })).status).toBe(201);
    expect(await node.addCertificate("once", certificate, { name: "one" })).toMatchObject({
      status: 409,
      code: "KMIP_CERT_DUPLICATE_NAME_ERR",
    });
    expect(await node.addCertificate("once", certificate, { name: "two" })).toMatchObject({
      status: 409,
      code: "KMIP_CERT_DUPLICATE_ERR",
    });
    // Nothing tells a repetition of a nameless order from a second order.
    const [one, other] = [await node.createAdapter(crkId), await node.createAdapter(crkId)];
    expect([one.status, other.status]).toEqual([201, 201]);
    expect(other.resources[0]?.["id"]).not.toBe(one.resources[0]?.["id"]);
  });

  test("is no repetition once what it made was deleted", async () => {
    const go = callerAt("a1");
    const mark = { "correlation-id": randomUUID() };
    const first = await go.createAdapter(crkId, { name: "anew" }, mark);
    await go.ask("DELETE", `${adaptersPath}/anew`);
    const second = await go.createAdapter(crkId, { name: "anew" }, mark);
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.resources[0]?.["id"]).not.toBe(first.resources[0]?.["id"]);
  });
});

test("a certificate is shown byte for byte as it was sent, in both regions", async () => {
  const go = callerAt("a1");
  expect((await go.createAdapter(crkId, { name: "exact" })).status).toBe(201);
  const { certificate: plain } = await issued("exact");
  const forms = [
    plain.trimEnd(),
    `\n\n${plain}\n\n`,
    plain.replaceAll("\n", "\r\n"),
    `\r\n${plain}\t \n`,
  ];
  for (const [at, pem] of forms.entries()) {
    const added = await go.addCertificate("exact", pem, { name: `c${at}` });
    expect(added, JSON.stringify(pem)).toMatchObject({ status: 201 });
    const path = `${adaptersPath}/exact/certificates/c${at}`;
    for (const node of ["a1", "b1"]) {
      const [read] = (await callerAt(node).ask("GET", path)).resources;
      expect(read?.["certificate"], node).toBe(pem);
    }
    expect((await go.ask("DELETE", path)).status).toBe(204);
  }
});

test("wrong input is refused with the code that IBM's clients know, and makes nothing", async () => {
  const go = callerAt("b1");
  expect((await go.createAdapter(crkId, { name: "wrong" })).status).toBe(201);
  const { certificate, key } = await issued("wrong");
  const order = (resource: object) => enveloped("adapter", resource);
  const data = { profile: "native_1.0", profile_data: { crk_id: crkId } };
  const add = (pem: string) => enveloped("certificate", { certificate: pem, name: "x" });
  const certificates = `${adaptersPath}/wrong/certificates`;
  const objects = `${adaptersPath}/wrong/kmip_objects`;
  const broken = certificate.replace(/\n.{30}/, "\nAAAA");
  const rows: readonly (readonly [string, string, string | undefined, number, string])[] = [
    ["POST", adaptersPath, order({ ...data, name: "a b" }), 400, "INVALID_FIELD_ERR"],
    ["POST", adaptersPath, order({ ...data, name: absent }), 400, "INVALID_FIELD_ERR"],
    ["POST", adaptersPath, order({ ...data, id: "x" }), 400, "BAD_BODY_ERR"],
    ["POST", adaptersPath, "{", 400, "BAD_BODY_ERR"],
    ["POST", adaptersPath, undefined, 400, "BAD_BODY_ERR"],
    [
      ...(["POST", adaptersPath] as const),
      order({ ...data, profile_data: { crk_id: absent } }),
      ...([400, "NATIVE_CRK_ID_NOT_FOUND_ERR"] as const),
    ],
    ["POST", `${adaptersPath}?allowExpiringKey=yes`, order(data), 400, "INVALID_QUERY_PARAM_ERR"],
    ["GET", `${adaptersPath}?limit=201`, undefined, 400, "INVALID_QUERY_PARAM_ERR"],
    ["GET", `${adaptersPath}/declared`, undefined, 404, "KMIP_ADAPTER_NOT_FOUND_ERR"],
    ["DELETE", `${adaptersPath}/declared`, undefined, 404, "KMIP_ADAPTER_NOT_FOUND_ERR"],
    ["GET", `${adaptersPath}/${absent}/certificates`, undefined, 404, "KMIP_ADAPTER_NOT_FOUND_ERR"],
    ["POST", certificates, add("no certificate"), 400, "INVALID_FIELD_ERR"],
    ["POST", certificates, add(`${certificate}${certificate}`), 400, "INVALID_FIELD_ERR"],
    ["POST", certificates, add(`${key}${certificate}`), 400, "INVALID_FIELD_ERR"],
    ["POST", certificates, add(broken), 400, "INVALID_FIELD_ERR"],
    ["GET", `${certificates}/none`, undefined, 404, "KMIP_CERT_NOT_FOUND_ERR"],
    ["DELETE", `${certificates}/none`, undefined, 404, "KMIP_CERT_NOT_FOUND_ERR"],
    ["GET", `${objects}?state=0`, undefined, 400, "INVALID_QUERY_PARAM_ERR"],
    ["GET", `${objects}?limit=5001`, undefined, 400, "INVALID_QUERY_PARAM_ERR"],
    ["GET", `${objects}/${absent}`, undefined, 404, "KMIP_OBJECT_NOT_FOUND_ERR"],
    ["DELETE", `${objects}/${absent}`, undefined, 404, "KMIP_OBJECT_NOT_FOUND_ERR"],
    ["DELETE", `${objects}/${absent}?force=1`, undefined, 400, "INVALID_QUERY_PARAM_ERR"],
  ];
  for (const [method, path, body, status, code] of rows) {
    const answer = await go.ask(method, path, body);
    expect([method, path, answer.status, answer.code]).toEqual([method, path, status, code]);
    expect(answer.text).not.toContain("PRIVATE KEY-----\n");
  }
  expect((await go.ask("GET", certificates)).resources).toEqual([]);
});

test("each role may do here what it may do in the management API", async () => {
  const { id, client } = await adapterWithClient("roles");
  const object = await answered(() => createKey(client));
  const path = `${adaptersPath}/${id}`;
  const { certificate } = await issued("roles");
  const body = enveloped("certificate", { certificate, name: "by-role" });
  const may: Readonly<Record<Role, readonly [number, number, number, number]>> = {
    auditor: [403, 403, 403, 403],
    viewer: [200, 403, 403, 403],
    operator: [200, 403, 204, 403],
    "security-officer": [200, 201, 403, 403],
    manager: [200, 403, 410, 204],
  };
  for (const [role, expected] of Object.entries(may) as [Role, (typeof may)[Role]][]) {
    const { secret } = await patient(() =>
      admin.call<"createToken">("createToken", { body: { name: `a ${role}`, roles: [role] } }),
    );
    const by = callerAt("b1", "python", secret);
    const read = await by.ask("GET", path);
    const added = await by.ask("POST", `${path}/certificates`, body);
    const destroyed = await by.ask("DELETE", `${path}/kmip_objects/${object}`);
    const deleted = await by.ask("DELETE", path);
    const statuses = [read, added, destroyed, deleted].map(({ status }) => status);
    expect([role, ...statuses]).toEqual([role, ...expected]);
  }
});

test("objects are listed by state, offset and limit, and destroyed as in Key Protect", async () => {
  const { go, id, entry, client } = await adapterWithClient("objects");
  const keys: string[] = [];
  for (let at = 0; at < 6; at += 1) keys.push(await answered(() => createKey(client)));
  const [active = "", gone = ""] = keys;
  await answered(() => client.activate({ uniqueIdentifier: active }));
  const objects = `${adaptersPath}/${id}/kmip_objects`;
  const list = async (query: string) => {
    const { status, resources, metadata } = await callerAt("b1").ask("GET", `${objects}${query}`);
    expect(status).toBe(200);
    expect(metadata["collectionTotal"]).toBe(resources.length);
    return { ids: resources.map((one) => one["id"]), total: metadata["totalCount"] };
  };
  await until("the other region has them", async () => (await list("")).ids.length === 6);
  const all = (await list("")).ids;
  expect(new Set(all)).toEqual(new Set(keys));
  expect(await list("?limit=2&offset=1&totalCount=true")).toEqual({
    ids: all.slice(1, 3),
    total: 6,
  });
  expect((await list("?offset=6")).ids).toEqual([]);
  expect((await list("?state=2,3")).ids).toEqual([active]);
  const [shown] = (await go.ask("GET", `${objects}/${active}`)).resources;
  expect(shown).toMatchObject({
    ...{ id: active, kmip_object_type: 2, state: 2, created_at: time, created_by: "test" },
    created_by_kmip_client_cert_id: entry,
  });

  expect(await go.ask("DELETE", `${objects}/${active}`)).toMatchObject({
    status: 409,
    code: "KMIP_OBJECT_ACTIVE_ERR",
  });
  expect((await go.ask("DELETE", `${objects}/${active}?force=true`)).status).toBe(204);
  expect((await go.ask("DELETE", `${objects}/${gone}`)).status).toBe(204);
  expect(await go.ask("DELETE", `${objects}/${gone}?force=true`)).toMatchObject({
    status: 410,
    code: "KMIP_OBJECT_DELETED_ERR",
  });
  await until("the other region has them destroyed", async () => {
    return (await list("?state=5,6&totalCount=true")).total === 2;
  });
  expect(new Set((await list("?state=5,6")).ids)).toEqual(new Set([active, gone]));
  expect((await list("")).ids).toEqual(all.filter((one) => one !== active && one !== gone));
  const [destroyed] = (await go.ask("GET", `${objects}/${gone}`)).resources;
  expect(destroyed).toMatchObject({ state: 5, destroyed_at: time });
});

test("Terraform creates, plans without changes, imports, and destroys an adapter with 150 keys in two runs", async () => {
  const here = await terraformAt("a1");
  const { certificate, key } = await issued("terraform");
  const plan = {
    ...{ name: "terraform", crkId, description: "by Terraform" },
    ...{ certificateName: "vcenter", certificate: certificate.trimEnd() },
  };
  const state = await here.apply(plan);
  expect(await here.plan(plan, state)).toEqual([]);
  // An import in the other region, by the same identifiers.
  expect(await (await terraformAt("b1")).plan(plan, state)).toEqual([]);
  expect(await here.plan({ ...plan, certificate }, state)).toEqual(["certificate"]);

  const { host, kmip } = both.node("a1");
  const tls = { ca: both.a.ca, certificate, key };
  let client: KmipClient | undefined;
  await until("the client is let in", async () => {
    client = await KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls }).catch(
      () => undefined,
    );
    return client !== undefined;
  });
  await using connected = client as unknown as KmipClient;
  for (let at = 0; at < 150; at += 1) await answered(() => createKey(connected));

  const first = await here.destroy(state);
  expect(first.objects).toBe(100);
  expect(first.last).toMatchObject({ status: 409, code: "KMIP_ADAPTER_HAS_OBJECTS_ERR" });
  const second = await here.destroy(state);
  expect(second.objects).toBe(50);
  expect(second.last.status).toBe(204);
  const gone = await callerAt("b1").ask("GET", `${adaptersPath}/${state.adapter}`);
  expect(gone).toMatchObject({ status: 404, code: "KMIP_ADAPTER_NOT_FOUND_ERR" });
});

test("an alias as crk_id is answered with the identifier, as at IBM, so that each plan of Terraform would replace the adapter", async () => {
  const here = await terraformAt("a1");
  const { certificate } = await issued("alias");
  const plan = {
    ...{ name: "alias", crkId: "vmware", description: "" },
    ...{ certificateName: "vcenter", certificate },
  };
  const state = await here.apply(plan);
  expect(await here.plan(plan, state)).toEqual(["profile_data"]);
  expect(await here.plan({ ...plan, crkId }, state)).toEqual([]);
  expect(await callerAt("a1").createAdapter(crkId.toUpperCase(), { name: "upper" })).toMatchObject({
    ...{ status: 400, code: "INVALID_FIELD_ERR" },
  });
});
