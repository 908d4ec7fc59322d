import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { instanceNames, openerOf, tokenOf } from "../../testing/admin.ts";
import { cryptoKeyId, machine, StandInVcenter } from "../../testing/vcenter.ts";
import { type Vcenter, VcenterSessions } from "../access/vcenter-sessions.ts";
import { readConsole } from "./console-files.ts";

const openAdmin = openerOf(onTestFinished);
const folder = mkdtempSync(join(tmpdir(), "holdfast-plugin-"));
const files = ["plugin.html", "plugin.json", "plugin-icons.png"];
for (const name of ["index.html", ...files]) writeFileSync(join(folder, name), "{}");
afterAll(() => rmSync(folder, { recursive: true }));

const secret = "browser-session-".repeat(3);
const alice = "VSPHERE.LOCAL\\alice";

/** The management API with a console, and a vCenter with a session of alice. */
async function open(more: Partial<Vcenter> = {}, isOn = true) {
  const vcenter = await StandInVcenter.start();
  onTestFinished(() => vcenter[Symbol.asyncDispose]());
  vcenter.sessions.set(secret, alice);
  const sessions = new VcenterSessions({
    vcenters: [{ ...vcenter.row, ...more }],
    instances: { idOf: (text) => text, labelled: () => [] },
    monotonicMs: () => performance.now(),
    observe: () => undefined,
  });
  const admin = await openAdmin({
    console: {
      files: readConsole(folder) ?? new Map(),
      nodes: ["https://kms-a2.example:8443"],
      relyingParty: undefined,
      signInFolder: undefined,
      controlSocket: undefined,
      vcenters: isOn ? sessions : undefined,
      wallMs: Date.now,
    },
  });
  const session = { "vmware-api-session-id": secret, "x-holdfast-vcenter": vcenter.guid };
  const idOf = (type: string, id = "vm-42", guid = vcenter.guid) =>
    `/console/plugin/object?id=urn:vmomi:${type}:${id}:${guid}`;
  return { ...admin, vcenter, session, idOf };
}

describe("the files of the plug-in", () => {
  test("may be framed by the configured vCenters and by nobody else, and ask only the own node", async () => {
    const { ask, vcenter } = await open();
    const page = await ask("/console/plugin.html");
    expect(page.status).toBe(200);
    expect(page.headers["content-security-policy"]).toBe(
      `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ${vcenter.address}`,
    );
    expect(page.headers["x-frame-options"]).toBeUndefined();
    const types = await Promise.all(
      files.map(async (name) => (await ask(`/console/${name}`)).headers["content-type"]),
    );
    expect(types).toEqual([
      "text/html; charset=utf-8",
      "application/json; charset=utf-8",
      "image/png",
    ]);
    const index = await ask("/console/");
    expect(index.headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  });

  test("are not there without a vCenter in the configuration, and no session counts", async () => {
    const { ask, session, vcenter, idOf } = await open({}, false);
    for (const name of files) expect((await ask(`/console/${name}`)).status, name).toBe(404);
    expect((await ask(idOf("VirtualMachine"), { headers: session })).status).toBe(404);
    expect((await ask("/v1/whoami", { headers: session })).status).toBe(401);
    expect(vcenter.asked).toEqual([]);
  });
});

describe("a session of the vSphere Client", () => {
  test("may read what a viewer may, and change nothing", async () => {
    const { ask, session } = await open();
    const asViewer = await ask("/v1/instances", { token: tokenOf("viewer") });
    const own = await ask("/v1/instances", { headers: session });
    expect([own.status, own.json["detail"]]).toEqual([asViewer.status, asViewer.json["detail"]]);
    expect(own.json["detail"]).toBe("the handler was reached");
    const change = { method: "POST", headers: session, body: { name: "by-plugin" } };
    expect(await ask("/v1/instances", change)).toMatchObject({ status: 403 });
  });

  test("is refused with words that say why, and its token is in no answer, log or event", async () => {
    const admin = await open({ viewers: ["VSPHERE.LOCAL\\bob"] });
    const { ask, session, vcenter } = admin;
    const asked = async (headers: Readonly<Record<string, string>>) => {
      const { status, json } = await ask("/v1/instances", { headers: { ...session, ...headers } });
      return [status, json["detail"]];
    };
    expect(await asked({})).toEqual([
      403,
      `${alice} has no role here: name this user in admin.console.vcenters[].viewers`,
    ]);
    expect(await asked({ "x-holdfast-vcenter": "11111111-1111-4111-8111-111111111111" })).toEqual([
      401,
      expect.stringContaining("knows no vCenter with this identifier"),
    ]);
    expect(await asked({ "vmware-api-session-id": "unknown" })).toEqual([
      401,
      expect.stringContaining("vCenter does not know this session"),
    ]);
    vcenter.broken = 500;
    expect(await asked({ "vmware-api-session-id": "another" })).toEqual([
      503,
      expect.stringContaining("cannot ask vCenter"),
    ]);
    const [first, ...others] = admin.denials;
    expect(first).toMatchObject({ reason: "role", principal: { name: alice } });
    expect(others.map(({ reason }) => reason)).toEqual(["noVcenter", "noSession", "vcenterAway"]);
    const encoded = Buffer.from(secret).toString("base64url");
    const told = JSON.stringify([admin.denials, admin.events]);
    for (const text of [secret, encoded]) expect(told).not.toContain(text);
  });

  test("reaches only the instances that its vCenter has here", async () => {
    const [one = "", two = ""] = Object.keys(instanceNames);
    const { ask, session } = await open({ instances: [one] });
    const read = async (path: string) => (await ask(path, { headers: session })).json["detail"];
    expect(await read(`/v1/instances/${one}/keys`)).toBe("the handler was reached");
    expect(await read(`/v1/instances/${two}/keys`)).toBe("instance not found");
    expect(await read("/v1/status")).toContain("bound to instances");
  });
});

describe("an object of vCenter", () => {
  test("is shown to its user, with the keys that it uses", async () => {
    const { ask, session, vcenter, idOf } = await open();
    vcenter.objects.set(
      "vm-42",
      machine("web", "4210aa00-0000-4000-8000-000000000001", { home: cryptoKeyId("k", "hf") }),
    );
    const shown = await ask(idOf("VirtualMachine"), { headers: session });
    expect(shown).toMatchObject({
      status: 200,
      json: { name: "web", keys: [{ key: "k", provider: "hf", use: "home" }], unread: [] },
    });
    expect(shown.headers["cache-control"]).toBe("no-store");
  });

  test("is refused for another vCenter, another type, or another caller", async () => {
    const { ask, session, vcenter, idOf } = await open();
    const statusOf = async (path: string, asking: Parameters<typeof ask>[1]) =>
      (await ask(path, asking)).status;
    const headers = session;
    expect(await statusOf(idOf("VirtualMachine", "vm-1"), { headers })).toBe(404);
    const elsewhere = idOf("VirtualMachine", "vm-42", "11111111-1111-4111-8111-111111111111");
    expect(await statusOf(elsewhere, { headers })).toBe(400);
    for (const bad of ["Datastore", "toString", "VirtualMachine:x"]) {
      expect(await statusOf(idOf(bad), { headers }), bad).toBe(400);
    }
    expect(await statusOf("/console/plugin/object", { headers })).toBe(400);
    const named = { "x-holdfast-vcenter": vcenter.guid };
    const own = { token: tokenOf("viewer"), headers: named };
    expect(await statusOf(idOf("VirtualMachine"), own)).toBe(403);
    expect(await statusOf(idOf("VirtualMachine"), {})).toBe(401);
  });
});
