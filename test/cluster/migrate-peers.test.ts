import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { KmipClient } from "@holdfast/client";
import { attributeItem } from "@holdfast/kmip";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PykmipServer } from "../bench/pykmip.ts";
import { answered, registerKey } from "../support/keys.ts";
import { KmipServer } from "../support/kmip-server/index.ts";
import type { KmipTarget } from "../support/kmip-socket.ts";
import { keyBytes, Migrating, stateOf } from "../support/migrating.ts";
import { hasPykmip, pykmipMissing } from "../support/pykmip.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

const there = hasPykmip();
if (!there) test.skip(pykmipMissing, () => {});

const since = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const secret = () => randomBytes(32).toString("hex");

let region: Region;
let elsewhere: Region;
let here: KmipClient;
let away: KmipClient;
let migrating: Migrating;
let count = 0;
let plan: string;

beforeAll(async () => {
  [region, elsewhere] = await Promise.all([
    startRegion({ instances: ["target"], nodes: 1, replicas: 0, admin: true }),
    startRegion({ name: "b", instances: ["source", "empty"], nodes: 1, replicas: 0 }),
  ]);
  here = await letIn(region, "target", 0);
  away = await letIn(elsewhere, "source", 0);
  migrating = await Migrating.at(region);
});

afterAll(async () => {
  migrating?.[Symbol.dispose]();
  await here?.close();
  await away?.close();
  await Promise.all([region, elsewhere].map((one) => one?.[Symbol.asyncDispose]()));
});

beforeEach(() => {
  count += 1;
  plan = `plan-${count}`;
});

function name(value: string) {
  return { item: attributeItem("Name", { value, type: "UninterpretedTextString" }) };
}

function connect({ host, port, ca, certificate, key }: KmipTarget): Promise<KmipClient> {
  const endpoints = [`${host}:${port}`];
  return KmipClient.connect({ endpoints, tls: { ca, certificate, key }, version: "1.4" });
}

/** Plans, moves and verifies; each command must succeed. */
async function moved(target: KmipTarget, ...more: readonly string[]): Promise<string> {
  const source = migrating.side("source", target);
  const side = migrating.side("target", region.target("target"));
  const steps = [
    () => migrating.site("plan", plan, "--instance", "target", ...source, ...more),
    () => migrating.site("run", plan, ...source),
    () => migrating.run("verify", plan, ...source, ...side),
  ];
  let all = "";
  for (const step of steps) {
    const { code, err, out } = await step();
    if (code !== 0) throw new Error(`exit ${code}: ${err}${out}`);
    all += out;
  }
  return all;
}

function exported(source: KmipTarget, target: KmipTarget, ...more: readonly string[]) {
  const sides = [...migrating.side("source", source), ...migrating.side("target", target)];
  return migrating.run("export", "--report", plan, ...sides, ...more);
}

describe("another Holdfast", () => {
  test("gives its keys with their identifiers, and takes them with new ones", async () => {
    const secrets = [secret(), secret(), secret()];
    const ids = await Promise.all(
      secrets.map((hex, at) =>
        registerKey(away, Buffer.from(hex, "hex"), [name(`moving ${at} ${randomUUID()}`)]),
      ),
    );
    const [first = "", second = "", third = ""] = ids;
    for (const uniqueIdentifier of [first, second])
      await answered(() => away.activate({ uniqueIdentifier }));
    const revocationReason = { code: "KeyCompromise" } as const;
    await answered(() => away.revoke({ uniqueIdentifier: second, revocationReason }));
    expect(await moved(elsewhere.target("source"))).toContain("3 objects are the same");
    expect(await Promise.all(ids.map((id) => keyBytes(here, id)))).toEqual(secrets);
    const states = ["Active", "Compromised", "PreActive"];
    expect(await Promise.all(ids.map((id) => stateOf(here, id)))).toEqual(states);

    plan = `${plan}-back`;
    const said = await exported(region.target("target"), elsewhere.target("empty"));
    expect(said).toMatchObject({ code: 0 });
    const back = await letIn(elsewhere, "empty", 0);
    const made = ids.map((id) => String(migrating.line(plan, id)?.["becomes"]));
    expect(new Set([...made, ...ids]).size).toBe(6);
    expect(await Promise.all(made.map((id) => keyBytes(back, id)))).toEqual(secrets);
    expect(await Promise.all(made.map((id) => stateOf(back, id)))).toEqual(states);
    expect(migrating.line(plan, third)).toMatchObject({ outcome: "Registered" });

    const again = await exported(region.target("target"), elsewhere.target("empty"));
    expect(again.out).toContain("3 of them in the report as done");
    const found = await answered(() => back.locate({ attributes: [] }));
    expect(found.uniqueIdentifiers).toHaveLength(3);
    await back.close();
    const logs = [region, elsewhere].map((one) => one.node(0).logText());
    expect(migrating.leaks(secrets, logs)).toEqual([]);
  });
});

describe("an export", () => {
  test.each([true, false])("to a server that has Import: %s", async (imports) => {
    await using server = await KmipServer.start({ versions: ["2.1"], imports });
    const hex = secret();
    const id = await registerKey(here, Buffer.from(hex, "hex"), [name(`out ${randomUUID()}`)]);
    await answered(() => here.activate({ uniqueIdentifier: id }));
    const dry = await exported(region.target("target"), server.target, "--dry-run");
    expect(dry.out).toContain(imports ? "keeps identifiers" : "gives each a new identifier");
    expect(await server.objects()).toEqual([]);
    expect(existsSync(migrating.file(plan))).toBe(false);
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 0 });
    const becomes = migrating.line(plan, id)?.["becomes"];
    expect(becomes === id).toBe(imports);
    const held = (await server.objects()).find((one) => one.id === becomes);
    expect(held).toMatchObject({ state: "Active", object: hex });
  });

  test("that is killed makes no object twice", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const names = Array.from({ length: 30 }, () => `killed ${randomUUID()}`);
    await Promise.all(names.map((each) => registerKey(here, randomBytes(32), [name(each)])));
    const sides = [
      ...migrating.side("source", region.target("target")),
      ...migrating.side("target", server.target),
    ];
    // A test that is slow to notice must not find it finished.
    await server.fault({ silentAt: { operation: "Register", count: 10 } });
    const reached = async () => (await server.objects()).length >= 10;
    const args = ["export", "--report", plan, ...sides, "--rate", "20"];
    expect(await migrating.killed(args, reached, false)).toBe(true);
    await server.fault({ silentAt: null });
    expect(await migrating.run("export", "--report", plan, ...sides)).toMatchObject({ code: 0 });
    const made = (await server.objects()).flatMap((one) => one.names);
    for (const each of names) expect(made.filter((other) => other === each)).toEqual([each]);
  });

  test("that fails for a moment gets the object whole", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const id = await registerKey(here, randomBytes(32), [name(`whole ${randomUUID()}`)]);
    await answered(() => here.activate({ uniqueIdentifier: id }));
    await server.fault({ fails: { operation: "Register", times: 2 } });
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 0 });
    const line = migrating.line(plan, id);
    expect(line).toMatchObject({ outcome: "Registered" });
    expect(line).not.toHaveProperty("left");
  });

  test("names what the target refuses, and gives the rest", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    await registerKey(here, randomBytes(32));
    await server.fault({ fails: { operation: "Activate", times: 1_000 } });
    const id = await registerKey(here, randomBytes(32));
    await answered(() => here.activate({ uniqueIdentifier: id }));
    const said = await exported(region.target("target"), server.target);
    expect(said.code).toBe(6);
    expect(migrating.line(plan, id)).toMatchObject({ outcome: "StateDiffers" });
    await server.fault({ fails: { operation: "Activate", times: 0 } });
    const before = (await server.objects()).length;
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 0 });
    expect((await server.objects()).length).toBe(before);
  });
});

describe("an export reads what became of an object, and", () => {
  test("names another State, and the target's refusal in its own words", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const id = await registerKey(here, randomBytes(32));
    await answered(() => here.activate({ uniqueIdentifier: id }));
    await server.fault({ ignoresActivate: true });
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 6 });
    expect(migrating.line(plan, id)).toMatchObject({
      outcome: "StateDiffers",
      reason: "its State is Active at the source, and PreActive at the target",
    });
    await server.fault({ ignoresActivate: false, fails: { operation: "Get", times: 1_000 } });
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 6 });
    expect(migrating.line(plan, id)).toMatchObject({
      outcome: "Differs",
      reason: expect.stringMatching(/the target does not give it: .*the disk of the source/),
    });
    await server.fault({ fails: { operation: "Get", times: 0 } });
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 0 });
  });
});

describe.skipIf(!there)("PyKMIP (needs PyKMIP)", () => {
  async function started(): Promise<PykmipServer> {
    const authority = await createAuthority({ commonName: "PyKMIP CA", ...since });
    const own = await authority.issue({ commonName: "pykmip", hosts: ["127.0.0.1"], ...since });
    const client = await selfSigned({ commonName: "migrating", ...since });
    return await PykmipServer.start({
      ca: authority.certificate,
      serverCertificate: own.certificate,
      serverKey: own.key,
      clientCertificate: client.certificate,
      clientKey: client.key,
    });
  }

  test.each([
    ["over TLS alone", []],
    ["wrapped with a transport key", ["--transport-key"]],
  ])("gives its keys %s", async (_, more) => {
    await using server = await started();
    await using python = await connect(server.target);
    const secrets = [secret(), secret()];
    const ids: string[] = [];
    for (const hex of secrets) {
      const own = [name(`pykmip ${randomUUID()}`)];
      ids.push(await registerKey(python, Buffer.from(hex, "hex"), own));
    }
    await python.activate({ uniqueIdentifier: ids[0] ?? "" });
    const said = await moved(server.target, "--new-identifiers", ...more);
    expect(said).toContain("PyKMIP");
    expect(said.includes("wraps keys with the transport key")).toBe(more.length > 0);
    const made = ids.map((id) => String(migrating.line(plan, id)?.["becomes"]));
    expect(await Promise.all(made.map((id) => keyBytes(here, id)))).toEqual(secrets);
    expect(await Promise.all(made.map((id) => stateOf(here, id)))).toEqual(["Active", "PreActive"]);
    // Nothing was changed at the source.
    expect(await Promise.all(ids.map((id) => stateOf(python, id)))).toEqual([
      "Active",
      "PreActive",
    ]);
    expect(migrating.leaks(secrets, [region.node(0).logText()])).toEqual([]);
  });

  test("takes the keys of an instance", async () => {
    await using server = await started();
    const hex = secret();
    const id = await registerKey(here, Buffer.from(hex, "hex"), [name(`to py ${randomUUID()}`)]);
    await answered(() => here.activate({ uniqueIdentifier: id }));
    expect(await exported(region.target("target"), server.target)).toMatchObject({ code: 0 });
    const line = migrating.line(plan, id);
    expect(line).toMatchObject({ outcome: "Registered" });
    await using python = await connect(server.target);
    const made = String(line?.["becomes"]);
    expect(await keyBytes(python, made)).toBe(hex);
    expect(await stateOf(python, made)).toBe("Active");
  });
});
