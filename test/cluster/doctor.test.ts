import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { attributeItem } from "@holdfast/kmip";
import { answerOf, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import { commandLine, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes, stateOf } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { rootOf } from "../support/node-root.ts";
import { RedisServer } from "../support/redis.ts";
import { initStore, setStore } from "../support/redis-store.ts";
import { layRegion, type Region } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";
import { told } from "../support/two-regions-clients.ts";

let region: Region;
let client: AdminClient;
let admin: Pick<AdminClient, "call">;
let folder: string;
let token: string;
let site: readonly string[];

beforeAll(async () => {
  region = await layRegion({
    ...{ instances: ["declared"], nodes: 2, replicas: 0, lockMasters: 3, admin: true },
  });
  await region.node(0).start();
  token = await firstToken({ node: region.node(0), ca: region.ca });
  client = adminClient({ node: region.node(0), ca: region.ca }, token);
  admin = patiently(client);
  folder = await mkdtemp(join(tmpdir(), "holdfast-doctor-"));
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const url = `https://${region.node(0).host}:${region.node(0).admin}`;
  site = ["--url", url, "--ca", await file("ca.pem", region.ca)];
  site = [...site, "--token-file", await file("token", `${token}\n`)];
});

afterAll(async () => {
  await client?.[Symbol.asyncDispose]();
  await region?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function checks(of = admin): Promise<Readonly<Record<string, string>>> {
  const { items } = await of.call("runChecks", {});
  return Object.fromEntries(items.map(({ name, state, detail }) => [name, `${state}: ${detail}`]));
}

async function untilChecks(name: string, wanted: RegExp): Promise<void> {
  await until(`${name}: ${wanted.source}`, async () => {
    const found = (await checks())[name] ?? "";
    return wanted.test(found) || found;
  });
}

test("doctor reports a lock master that is down, and a region without a leader", async () => {
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
});

test("a shredded instance is shown as shredded everywhere, and as open again afterwards", async () => {
  const body = { name: "tenant", rootOfTrust: { regions: { a: { type: "local" as const } } } };
  const { id } = await admin.call<"createInstance">("createInstance", { body });
  const params = { instance: id };
  const read = () => admin.call("readInstance", { params });
  await until("it is Installed", async () => (await read()).status === "Installed");
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
  expect((await admin.call("readStatus", {})).closedInstances).toEqual([
    { instance: "tenant", state: "shredded", reason: root.regions["a"]?.reason },
  ]);
  expect(await metric()).toBe("1");
  await untilChecks(
    "root of trust",
    /^failed: the keys of tenant are in state shredded: its keys were shredded by test/,
  );

  await admin.call("revalidateRoot", { params });
  await until("it is open", async () => (await read()).status === "Installed");
  expect((await admin.call("readRoot", { params })).regions["a"]?.state).toBe("usable");
  expect((await admin.call("readStatus", {})).closedInstances).toEqual([]);
  expect(await metric()).toBe("0");
});

/** Asks until the answer is as expected: a busy node may answer that the client must try again. */
async function answers(ask: () => Promise<string>, expected: string): Promise<void> {
  await until(expected, async () => {
    const answer = await ask().catch((error: Error) => error);
    return answer === expected || answer;
  });
}

test("a node whose clock is wrong decides no date and says so; the other node continues", async () => {
  const [other, wrong] = region.nodes as readonly [NodeProcess, NodeProcess];
  wrong.clockAheadMs = 3_600_000;
  await wrong.start();
  await using right = await letIn(region, "declared", 0);
  await using early = await letIn(region, "declared", 1);
  const planned = async (inSeconds: number) => {
    const uniqueIdentifier = await answered(() => createKey(right));
    const item = attributeItem("ActivationDate", Math.floor(Date.now() / 1_000) + inSeconds);
    await answered(() => right.addAttribute({ uniqueIdentifier, newAttribute: { item } }));
    return uniqueIdentifier;
  };
  // By the wrong clock, both dates have come.
  const later = await planned(1_800);
  await answers(() => stateOf(early, later), "PreActive");
  let [soon, bytes] = ["", ""];
  // Now only the node with the wrong clock runs, and it leads.
  await until("the other node ends before it decides the date", async () => {
    if (!other.running) await other.start();
    soon = await planned(10);
    bytes = await answered(() => keyBytes(right, soon));
    await other.kill();
    let state = "";
    await until("its State at the node that is left", async () => {
      state = await stateOf(early, soon).catch((error: Error) => error.message);
      return /Active|a date of this object has come/.test(state) || state;
    });
    return state !== "Active";
  });
  const doubt = /this node's clock is 3\d{3} s ahead of the clock of the store/;
  const offset = async () =>
    /^holdfast_clock_offset_seconds\{of="the store"\} (\S+)$/m.exec(await wrong.metrics())?.[1];
  await until("its metric says so", async () => Number(await offset()) > 3_500);
  await until("its log says so", () => doubt.test(wrong.logText()));
  await using itsClient = adminClient({ node: wrong, ca: region.ca }, token);
  expect((await checks(patiently(itsClient)))["clock"]).toMatch(doubt);
  const cannotTell = /^GeneralFailure: cannot tell: a date of this object has come/;
  await until("a date has come", async () => cannotTell.test(await told(stateOf(early, soon))));
  await until("Destroy is refused", async () => {
    const answer = await told(early.destroy({ uniqueIdentifier: soon }));
    return cannotTell.test(answer) || answer;
  });
  await answers(() => keyBytes(early, soon), bytes);
  await answers(() => stateOf(early, later), "PreActive");

  await other.start();
  await answers(() => stateOf(right, soon), "Active");
  await answers(() => stateOf(early, soon), "Active");
  await answers(() => stateOf(right, later), "PreActive");
  await untilChecks("clock", /^ok: agrees within 60 s with the clock of the store$/);
  await wrong.kill();
});

test("two nodes with two stores are reported in a single region too, through the lock masters", async () => {
  const node = region.node(1);
  await using other = await RedisServer.start();
  await using root = await rootOf(node);
  const { storeId } = await initStore({ address: other.address, root });
  const putBack = await setStore(node.configFile, { address: other.address });
  node.clockAheadMs = 0;
  await node.start();
  const two = "failed: the nodes of region a use 2 different stores: .*";
  await untilChecks("stores", new RegExp(`^${two}${storeId} \\(${node.name}\\)`));
  await until("the other node reports it", () => node.logText().includes(`${storeId} (this node)`));
  await node.kill();
  await putBack();
  await untilChecks("stores", /^ok/);
});

test("instance delete asks before any key becomes unreadable", async () => {
  const body = { name: "kept", rootOfTrust: { regions: { a: { type: "local" as const } } } };
  const { id } = await admin.call<"createInstance">("createInstance", { body });
  const params = { instance: id };
  const status = async () => (await admin.call("readInstance", { params })).status;
  await until("it is Installed", async () => (await status()) === "Installed");
  const validity = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const { certificate, key } = await selfSigned({ commonName: "vcenter", ...validity });
  await admin.call("addCertificate", { params, body: { name: "vcenter", pem: certificate } });
  const { host, kmip } = region.node(0);
  const tls = { ca: region.ca, certificate, key };
  const connect = () => KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls });
  // A node hears of a certificate a moment later, and admits nobody while a busy machine keeps it from its store.
  await using vcenter = await answerOf("vCenter is let in", connect, () => true);
  await answered(() => createKey(vcenter));

  const run = (...args: readonly string[]) => {
    const env = { XDG_CONFIG_HOME: folder };
    return settled(() => commandLine(["instance", "delete", "kept", ...args, ...site], { env }));
  };
  const refused = await run();
  expect(refused).toMatchObject({ code: 6, out: "" });
  expect(refused.err).toMatch(
    /keys that are not destroyed exist: 1 Pre-Active in region a;.*never be decrypted again\. Nothing was deleted: destroy them first, or delete with --force --name kept\n$/,
  );
  expect(await run("--force")).toMatchObject({ code: 2, out: "" });
  expect(await run("--force", "--name", "other")).toMatchObject({ code: 2, out: "" });
  expect(await status()).toBe("Installed");
  expect((await run("--force", "--name", "kept")).code).toBe(0);
});
