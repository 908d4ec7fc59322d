import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { purposes } from "@holdfast/server/base";
import { answerOf, until } from "@holdfast/testing";
import { createAuthority } from "@holdfast/testing/pki";
import { type MadeKey, playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, expect, test } from "vitest";
import { firstToken, isBusy, patientClient } from "../support/admin-api.ts";
import { holdfast, settled } from "../support/command-line.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { type Region, startRegion } from "../support/region.ts";

interface Shipped {
  readonly id: string;
  readonly action: string;
  readonly outcome: string;
  readonly target: { readonly name: string };
}

const stack = new AsyncDisposableStack();
const received: Shipped[] = [];
let webhookStatus = 200;
let region: Region;
let token: string;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-audit-node-"));
  stack.defer(() => rm(folder, { recursive: true }));
  const request = { notBeforeMs: Date.now() - 60_000, days: 2 };
  const authority = await createAuthority({ commonName: "siem", ...request });
  const { certificate, key } = await authority.issue({
    ...{ commonName: "siem", hosts: ["127.0.0.1"], purposes: [purposes.serverAuth] },
    ...request,
  });
  const ca = join(folder, "siem.pem");
  await writeFile(ca, authority.certificate);
  const siem = createServer({ cert: certificate, key }, (asked, answer) => {
    const chunks: Buffer[] = [];
    asked.on("data", (chunk: Buffer) => chunks.push(chunk));
    asked.on("end", () => {
      if (webhookStatus === 200) received.push(...JSON.parse(Buffer.concat(chunks).toString()));
      answer.writeHead(webhookStatus).end();
    });
  });
  siem.listen(0, "127.0.0.1");
  await once(siem, "listening");
  stack.defer(() => void siem.close());
  const { port } = siem.address() as AddressInfo;
  const webhook = { url: `https://127.0.0.1:${port}/audit`, ca };
  const audit = { file: { path: "audit.jsonl" }, webhook, account: "acme" };
  region = stack.use(
    await startRegion({ instances: ["vcenter"], lockMasters: 1, admin: true, settings: { audit } }),
  );
  token = await firstToken({ node: region.node(0), ca: region.ca });
});
afterAll(() => stack.disposeAsync());

function play(...nodes: readonly NodeProcess[]): Promise<MadeKey> {
  const { ca, certificate, key } = region.target("vcenter");
  const ignored = (): void => undefined;
  return playVcenter({
    nodes: nodes.map(({ name, host, kmip }) => ({
      name,
      region: "a",
      endpoint: `${host}:${kmip}`,
    })),
    tls: { ca, certificate, key },
    report: ignored,
    answered: ignored,
  });
}

async function inFile(): Promise<readonly Shipped[]> {
  const text = await readFile(join(region.folder, "audit.jsonl"), "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}

const about = (events: readonly Shipped[], { uniqueIdentifier }: MadeKey) =>
  events
    .filter(({ target }) => target.name === uniqueIdentifier)
    .map(({ action, outcome }) => `${action.replace("vmware-solutions.", "")} ${outcome}`);

const has = (events: readonly Shipped[], key: MadeKey, what: string) =>
  about(events, key).includes(what);

async function leader(): Promise<NodeProcess | undefined> {
  for (const node of region.nodes) {
    const metrics = node.running ? await node.metrics().catch(() => "") : "";
    if (/^holdfast_leader 1$/m.test(metrics)) return node;
  }
  return undefined;
}

async function sinkOk(sink: string): Promise<string | undefined> {
  const metrics = await (await leader())?.metrics();
  return new RegExp(`^holdfast_audit_sink_ok\\{sink="${sink}"\\} (\\d)$`, "m").exec(
    metrics ?? "",
  )?.[1];
}

const verify = () =>
  settled(() =>
    holdfast(
      ...["audit", "verify", "--config", region.node(0).configFile],
      ...["--file", join(region.folder, "audit.jsonl")],
    ),
  );

test("events of vCenter's keys reach file, webhook and API, even if a sink fails and a leader dies", async () => {
  const first = await play(...region.nodes);
  await until("the file has it", async () => has(await inFile(), first, "kmip-key.read success"));
  await until("the webhook has it", () => has(received, first, "kmip-key.read success"));
  expect(about(await inFile(), first).slice(0, 2)).toEqual([
    "kmip-key.create pending",
    "kmip-key.create success",
  ]);

  await using client = patientClient({ node: region.node(1), ca: region.ca }, token);
  const list = async (query: { instance?: string; target?: string; action?: string }) => {
    const { items } = await client.call("listEvents", { query: { ...query, limit: 50 } });
    return items as unknown as readonly Shipped[];
  };
  await until("the API lists what the webhook got", async () => {
    const listed = await list({ instance: "vcenter", target: first.uniqueIdentifier });
    return isDeepStrictEqual(about(listed.toReversed(), first), about(received, first));
  });
  expect((await list({ action: "kmip-token.*" })).length).toBeGreaterThan(0);

  const followed: Shipped[] = [];
  const ending = new AbortController();
  const follow = async () => {
    const filters = { query: { instance: "vcenter", action: "kmip-key.*" } };
    for await (const event of client.follow("followEvents", filters, ending.signal)) {
      followed.push(event as unknown as Shipped);
    }
  };
  const following = answerOf("a stream", follow, isBusy).catch(() => undefined);
  // A stream has only the events after its connection.
  await until("a follower gets an event", async () => {
    if (followed.length === 0) await play(region.node(0));
    return followed.length > 0;
  });

  // One sink fails: clients and the other sink are not affected.
  webhookStatus = 503;
  const second = await play(...region.nodes);
  await until("the webhook is reported failing", async () => (await sinkOk("webhook")) === "0");
  await until("the file has it", async () => has(await inFile(), second, "kmip-key.read success"));
  // If another node leads by now, it says so once it has shipped something.
  await until("the file is reported well", async () => (await sinkOk("file")) === "1");
  expect(about(received, second)).toEqual([]);
  await until("a follower sees it", () => has(followed, second, "kmip-key.read success"));
  ending.abort();
  await following;

  await until("a leader is killed", async () => {
    const leading = await leader();
    await leading?.kill();
    return leading !== undefined;
  });
  webhookStatus = 200;
  const third = await play(...region.nodes.filter(({ running }) => running));
  for (const key of [second, third]) {
    await until("every event is delivered", () => has(received, key, "kmip-key.read success"));
  }
  await until("the file has it", async () => has(await inFile(), third, "kmip-key.read success"));
  await until("the webhook got what the file has", async () =>
    isDeepStrictEqual(new Set(about(received, second)), new Set(about(await inFile(), second))),
  );
  expect(new Set(about(received, third))).toContain("kmip-key.create pending");

  expect(await verify()).toMatchObject({
    code: 0,
    out: expect.stringMatching(/whole\n.*whole\n$/),
  });
});

test("the removal of an event from Redis or from the file is detected", async () => {
  const { primary } = region.redis;
  const keys = (await primary.command("keys", "{p*}:audit")) as string[];
  const [stream = ""] = keys;
  expect(await primary.command("xdel", stream, "3-0")).toBe(1);
  const inStore = await verify();
  expect(inStore.code).toBe(1);
  expect(inStore.out).toMatch(/^FAULT p\d\d: entry 3: missing: removed$/m);
  const path = join(region.folder, "audit.jsonl");
  const lines = (await readFile(path, "utf8")).split("\n");
  await writeFile(path, lines.toSpliced(4, 1).join("\n"));
  const files = await holdfast("audit", "verify", "--file", path);
  expect(files.code).toBe(1);
  expect(files.out).toContain("FAULT");
});
