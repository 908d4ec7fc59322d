import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { selfSigned } from "@holdfast/server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { commandLine } from "../support/command-line.ts";
import { createKey } from "../support/keys.ts";
import { until } from "../support/redis.ts";
import { type Region, startRegion } from "../support/region.ts";

const patienceMs = 60_000;
let region: Region;
let admin: AdminClient;
let folder: string;
let site: readonly string[];

beforeAll(async () => {
  region = await startRegion({
    ...{ instances: ["declared"], nodes: 1, replicas: 0, lockMasters: 3, admin: true },
  });
  const token = await firstToken({ node: region.node(0), ca: region.ca });
  admin = adminClient({ node: region.node(0), ca: region.ca }, token);
  folder = await mkdtemp(join(tmpdir(), "holdfast-doctor-"));
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const url = `https://${region.node(0).host}:${region.node(0).admin}`;
  site = ["--url", url, "--ca", await file("ca.pem", region.ca)];
  site = [...site, "--token-file", await file("token", `${token}\n`)];
}, 180_000);

afterAll(async () => {
  await admin?.[Symbol.asyncDispose]();
  await region?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function checks(): Promise<Readonly<Record<string, string>>> {
  const { items } = await admin.call("runChecks", {});
  return Object.fromEntries(items.map(({ name, state, detail }) => [name, `${state}: ${detail}`]));
}

async function untilChecks(name: string, wanted: RegExp): Promise<void> {
  let last = "";
  await until(
    `${name}: ${wanted.source}`,
    async () => {
      last = (await checks())[name] ?? "";
      return wanted.test(last);
    },
    patienceMs,
  ).catch((late: unknown) => {
    throw new Error(`${name} is ${last}`, { cause: late });
  });
}

test("doctor tells a lock master that is gone, and a region without a leader", async () => {
  await untilChecks("leader", /^ok: this node leads/);
  await untilChecks("lock masters", /^ok: all 3 answer/);
  const [one, two] = region.lockMasters;
  await one?.kill();
  await untilChecks("lock masters", /^warning: 1 of 3 lock masters do not answer/);
  await untilChecks("leader", /^ok: this node leads/);
  await two?.kill();
  await untilChecks("lock masters", /^failed: 2 of 3 lock masters do not answer/);
  await untilChecks("leader", /^failed: nobody leads/);
  const said = await commandLine(["doctor", ...site], { env: { XDG_CONFIG_HOME: folder } });
  expect(said.code).toBe(1);
  await one?.restart();
  await two?.restart();
  await untilChecks("leader", /^ok: this node leads/);
}, 300_000);

test("a shredded instance is shown as shredded everywhere, and as open again afterwards", async () => {
  const body = { name: "tenant", rootOfTrust: { regions: { a: { type: "local" as const } } } };
  const { id } = await admin.call<"createInstance">("createInstance", { body });
  const params = { instance: id };
  const read = () => admin.call("readInstance", { params });
  await until("it is Installed", async () => (await read()).status === "Installed", patienceMs);
  const metric = async () =>
    /^holdfast_instance_keys\{state="shredded"\} (\d+)$/m.exec(await region.node(0).metrics())?.[1];
  expect(await metric()).toBe("0");
  await admin.call("shredInstance", { params, body: { name: "tenant" } });

  const shown = await read();
  expect(shown).toMatchObject({
    status: "Inactive",
    reason: expect.stringMatching(/region a: its keys were shredded by test at /),
    regions: { a: { status: "Inactive", root: { state: "shredded" } } },
  });
  const { items } = await admin.call("listInstances", { query: { name: "tenant", limit: 10 } });
  expect(items[0]?.status).toBe("Inactive");
  const root = await admin.call("readRoot", { params });
  expect(root.regions["a"]).toMatchObject({
    state: "shredded",
    reason: expect.stringContaining("shredded by test"),
  });
  const report = await admin.call("reportRoots", {});
  expect(report.items.find(({ instance }) => instance === id)?.state).toBe("shredded");
  expect((await admin.call("readStatus", {})).closed).toEqual([
    { instance: "tenant", state: "shredded", reason: root.regions["a"]?.reason },
  ]);
  expect(await metric()).toBe("1");
  await untilChecks("root of trust", /^failed: the keys of 1 instances are in state shredded/);

  await admin.call("revalidateRoot", { params });
  await until("it is open", async () => (await read()).status === "Installed", patienceMs);
  expect((await admin.call("readRoot", { params })).regions["a"]?.state).toBe("usable");
  expect((await admin.call("readStatus", {})).closed).toEqual([]);
  expect(await metric()).toBe("0");
}, 300_000);

test("instance delete asks before any key becomes unreadable", async () => {
  const body = { name: "kept", rootOfTrust: { regions: { a: { type: "local" as const } } } };
  const { id } = await admin.call<"createInstance">("createInstance", { body });
  const params = { instance: id };
  const status = async () => (await admin.call("readInstance", { params })).status;
  await until("it is Installed", async () => (await status()) === "Installed", patienceMs);
  const validity = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const { certificate, key } = await selfSigned({ commonName: "vcenter", ...validity });
  await admin.call("addCertificate", { params, body: { name: "vcenter", pem: certificate } });
  const { host, kmip } = region.node(0);
  await using client = await KmipClient.connect({
    endpoints: [`${host}:${kmip}`],
    tls: { ca: region.ca, certificate, key },
  });
  await until("a key is made", () => createKey(client).then(Boolean, () => false), patienceMs);

  const run = (...args: readonly string[]) =>
    commandLine(["instance", "delete", "kept", ...args, ...site], {
      env: { XDG_CONFIG_HOME: folder },
    });
  const refused = await run();
  expect(refused).toMatchObject({ code: 6, out: "" });
  expect(refused.err).toMatch(
    /keys that are not destroyed exist: 1 PreActive in region a;.*never be decrypted again\. Nothing was deleted: destroy them first, or delete with --force --name kept\n$/,
  );
  expect(await run("--force")).toMatchObject({ code: 2, out: "" });
  expect(await run("--force", "--name", "other")).toMatchObject({ code: 2, out: "" });
  expect(await status()).toBe("Installed");
  expect((await run("--force", "--name", "kept")).code).toBe(0);
}, 300_000);
