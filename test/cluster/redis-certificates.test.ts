import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { freePort, until } from "@holdfast/testing";
import { type Authority, createAuthority } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { rootOf } from "../support/node-root.ts";
import { RedisServer, SentinelServer, sentinelName } from "../support/redis.ts";
import { initStore, openStore } from "../support/redis-store.ts";
import { layRegion, type Region } from "../support/region.ts";

const dayMs = 86_400_000;
const notBeforeMs = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;

const stack = new AsyncDisposableStack();
let region: Region;
let node: NodeProcess;
let admin: AdminClient;
let authority: Authority;
let primary: RedisServer;
/** What the metrics must say: kind, address, common name, and days of validity. */
let servers: readonly (readonly [kind: string, address: string, name: string, days: number])[];

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(region.folder, name), text, { mode: 0o600 });
  return join(region.folder, name);
}

/** The settings for the files of a new certificate. */
async function issue(commonName: string, days: number) {
  const request = { commonName, hosts: ["127.0.0.1"], notBeforeMs, days };
  const { certificate, key } = await authority.issue(request);
  return {
    "tls-cert-file": await file(`${commonName}.pem`, certificate),
    "tls-key-file": await file(`${commonName}.key`, key),
  };
}

async function withTls(commonName: string, days: number) {
  const port = await freePort();
  const config = {
    port: "0",
    "tls-port": String(port),
    "tls-ca-cert-file": await file("redis-ca.pem", authority.certificate),
    ...(await issue(commonName, days)),
    "tls-auth-clients": "no",
    "tls-replication": "yes",
  };
  return { port, config, client: { tls: { ca: authority.certificate } } };
}

beforeAll(async () => {
  const rest = { nodes: 1, replicas: 0, lockMasters: 3, admin: true, days: 400 };
  region = stack.use(await layRegion({ instances: ["declared"], ...rest }));
  authority = await createAuthority({ commonName: "Redis CA", notBeforeMs, days: 500 });
  primary = stack.use(await RedisServer.start(await withTls("primary", 20)));
  const withReplica = { ...(await withTls("replica", 60)), replicaOf: primary };
  const replica = stack.use(await RedisServer.start(withReplica));
  await primary.replicasInStep(1);
  const sentinel = stack.use(
    await SentinelServer.watching(primary, 1, await withTls("sentinel", 40)),
  );
  await until("the Sentinel knows the replica", async () => {
    const flat = (await sentinel.command("sentinel", "master", sentinelName)) as string[];
    return flat[flat.indexOf("num-slaves") + 1] === "1";
  });
  const lockMaster = stack.use(await RedisServer.start(await withTls("locks", 5)));
  servers = [
    ["redis", primary.address, "primary", 20],
    ["redis", replica.address, "replica", 60],
    ["sentinel", sentinel.address, "sentinel", 40],
    ["lockMaster", lockMaster.address, "locks", 5],
    ["authority", "(store)", "Redis CA", 500],
  ];
  const tls = { ca: authority.certificate };
  node = region.node(0);
  await using root = await rootOf(node);
  await initStore({ address: primary.address, tls, replicas: 1, root });
  const config = parse(await readFile(node.configFile, "utf8"));
  const ca = join(region.folder, "redis-ca.pem");
  config.store = { sentinels: [sentinel.address], name: sentinelName, tls: { ca }, replicas: 1 };
  config.locks[2] = `rediss://${lockMaster.address}`;
  await writeFile(node.configFile, stringify(config));
  await node.start();
  const target = { node, ca: region.ca };
  admin = stack.use(adminClient(target, await firstToken(target)));
});

afterAll(() => stack.disposeAsync());

/** The series of a certificate, with its value. */
function series([kind, owner, name, days]: (typeof servers)[number]): RegExp {
  const labels = `kind="${kind}",owner="${owner.replace(/[()]/g, "\\$&")}",subject="CN=${name}"`;
  const end = (notBeforeMs + days * dayMs) / 1000;
  return new RegExp(
    `^holdfast_certificate_not_after_seconds\\{${labels},fingerprint="[0-9a-f]{64}"\\} ${end}$`,
    "m",
  );
}

test("metrics have the end of the certificate that each Redis, Sentinel and lock master shows", async () => {
  await until("every server's certificate", async () => {
    const text = await node.metrics();
    return servers.every((server) => series(server).test(text)) || text;
  });
  // Two of the three lock masters do not speak TLS.
  const masters = /^holdfast_certificate_not_after_seconds\{kind="lockMaster"/gm;
  expect((await node.metrics()).match(masters)).toHaveLength(1);
});

test("doctor names the servers whose certificates end within 45 days", async () => {
  const { items } = await patiently(admin).call("runChecks", {});
  const said = items.filter(({ name }) => name === "certificates").map(({ detail }) => detail);
  const ending = servers
    .filter(([, , , days]) => days < 45)
    .map(([kind, owner, name, days]) => {
      const end = new Date(notBeforeMs + days * dayMs).toISOString();
      return `${kind} certificate of ${owner}, CN=${name} ends ${end}`;
    });
  expect(said.toSorted()).toEqual(ending.toSorted());
});

test("a renewed certificate counts when Redis shows it at a new connection", async () => {
  const config = Object.entries(await issue("renewed", 300)).flat();
  await primary.command("config", "set", ...config);
  await primary.command("client", "kill", "type", "normal");
  await until("the renewed certificate alone", async () => {
    const text = await node.metrics();
    const [old, ...others] = servers as [(typeof servers)[number], ...(typeof servers)[number][]];
    const [kind, address] = old;
    const all = [...others, [kind, address, "renewed", 300] as const];
    return (all.every((one) => series(one).test(text)) && !series(old).test(text)) || text;
  });
});

test.each([
  ["of another authority", "its certificate does not come from an authority of store.tls.ca"],
  ["under a name that is not in its certificate", "its certificate does not name this host"],
  [
    "without TLS",
    "it closed the connection: does it want TLS (store.tls), is it in protected mode, or are its maxclients reached?",
  ],
])("a Redis %s is refused with the reason", async (what, reason) => {
  const other = await createAuthority({ commonName: "Other", notBeforeMs, days: 500 });
  const { certificate } = what === "of another authority" ? other : authority;
  const host = what.startsWith("under") ? "localhost" : primary.host;
  const address = `${host}:${primary.port}`;
  await using root = await rootOf(node);
  const tls = what === "without TLS" ? {} : { tls: { ca: certificate } };
  const opening = openStore({ address, root, ...tls });
  await expect(opening).rejects.toMatchObject({
    failure: "noLease",
    message: `no connection to Redis ${address}: ${reason}`,
  });
});

test("the error says that a Redis does not begin TLS", async () => {
  await using plain = await RedisServer.start();
  await using root = await rootOf(node);
  const opening = openStore({ address: plain.address, root, tls: { ca: authority.certificate } });
  const message = `Redis ${plain.address} did not begin TLS in time`;
  await expect(opening).rejects.toMatchObject({ failure: "timeout", message });
});
