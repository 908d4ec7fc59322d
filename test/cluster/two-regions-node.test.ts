import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { say } from "../support/load.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { createPeerAuthority, issuePeer, writePeerCertificate } from "../support/region.ts";
import { ms } from "../support/region-watch.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { type ClientsOfAll, insist, startWithClients } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";

let both: TwoRegions;
let clients: ClientsOfAll;

beforeAll(async () => {
  ({ both, clients } = await startWithClients({ instances: [instance], replicas: 1 }));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
});

/** A node's report about itself, part by part. */
async function verbose(node: NodeProcess): Promise<string> {
  return (await node.details()).join("\n");
}

async function lineIs(node: NodeProcess, pattern: RegExp): Promise<void> {
  await until(`${node.name} says ${pattern}`, async () => {
    const text = await verbose(node);
    return pattern.test(text) || text;
  });
}

async function metric(node: NodeProcess, name: string): Promise<string[]> {
  return (await node.metrics()).split("\n").filter((line) => line.startsWith(name));
}

/** The parts of the server's gRPC library that this test uses. */
interface Grpc {
  readonly credentials: { createInsecure(): object };
  makeClientConstructor(
    service: object,
    name: string,
  ): new (
    target: string,
    credentials: object,
  ) => HealthClient;
}

interface HealthClient {
  list(
    request: object,
    done: (error: Error | null, reply: { statuses: Record<string, { status: string }> }) => void,
  ): void;
  close(): void;
}

const ofServer = createRequire(join(import.meta.dirname, "../../packages/server/package.json"));
const grpc = ofServer("@grpc/grpc-js") as Grpc;
const { service } = ofServer("grpc-health-check") as { readonly service: object };

/** The statuses that the gRPC health service lists, and the sorted times of the answers. */
async function listed(node: NodeProcess, times = 1) {
  const Client = grpc.makeClientConstructor(service, "Health");
  const client = new Client(`${node.host}:${node.health}`, grpc.credentials.createInsecure());
  const took: number[] = [];
  let statuses: Record<string, string> = {};
  try {
    for (let at = 0; at < times; at++) {
      const began = performance.now();
      const reply = await new Promise<Parameters<Parameters<HealthClient["list"]>[1]>[1]>(
        (resolve, reject) =>
          client.list({}, (error, answer) => (error === null ? resolve(answer) : reject(error))),
      );
      took.push(performance.now() - began);
      statuses = Object.fromEntries(
        Object.entries(reply.statuses).map(([name, { status }]) => [name, status]),
      );
    }
  } finally {
    client.close();
  }
  return { statuses, took: took.toSorted((a, b) => a - b) };
}

/** Waits until the health service lists a service with a status. */
async function statusIs(node: NodeProcess, name: string, status: string): Promise<void> {
  await until(`${name} of ${node.name} is ${status}`, async () => {
    const { statuses } = await listed(node);
    return statuses[name] === status || JSON.stringify(statuses);
  });
}

test("every node lists its four services, and reports the state of its parts", async () => {
  const services = ["", "holdfast.read", "holdfast.write", "holdfast.peer"];
  for (const node of both.nodes) {
    // The regions may not have found each other yet.
    let statuses: Record<string, string> = {};
    await until(`${node.name} serves`, async () => {
      ({ statuses } = await listed(node));
      return services.every((name) => statuses[name] === "SERVING");
    });
    expect(Object.keys(statuses).toSorted()).toEqual(services.toSorted());
    await lineIs(
      node,
      /^ok\nread: ok\nwrite: ok\nserving: own store\nstore: full .*\nstore round trip: ok .*\nstorage key: ok\nmemory: no \(store.memoryFile is not set.*\nroot of trust: ok\npeer [ab]: up .*\nleader: .+\nsystem records: ok\ncertificates: ok\nevent loop: ok/,
    );
  }
});

test("region status shows both regions", async () => {
  const args = ["region", "status", "--config", both.node("b1").configFile];
  // On a busy machine a region may lose its lease for a moment, and both report it.
  await until("both regions serve", async () => {
    const { out, err, code } = await settled(() => holdfast(...args));
    expect({ err, code }).toEqual({ err: "", code: 0 });
    expect(out).toMatch(/^region b +generation 1\n {2}store +[0-9a-f]{32} at /);
    const a = /\nregion a +generation 1\n {2}reached +yes; it serves from its own store\n/;
    return a.test(out) || out;
  });
});

test("a short barrier is reported with its replica, and the nodes serve from the other region's store", async () => {
  const [replica] = both.a.redis.replicas;
  const node = both.node("a1");
  await replica?.kill();
  try {
    await lineIs(node, /\nserving: the other region's store/);
    await lineIs(node, new RegExp(`\\nstore: \\w+ \\(.*${replica?.address} not connected`));
    await statusIs(node, "holdfast.write", "SERVING");
    await lineIs(both.node("a2"), /\nserving: the other region's store/);
    let id = "";
    await insist(async () => {
      id = await createKey(clients.at("a1"));
    });
    const bytes = await answered(() => keyBytes(clients.at("a2"), id));
    expect(await answered(() => keyBytes(clients.at("b2"), id))).toBe(bytes);
  } finally {
    await replica?.restart();
  }
  await allWell(both);
});

test("with a frozen Redis, probes are answered at once", async () => {
  const node = both.node("a1");
  both.freeze("redis-a");
  try {
    await lineIs(node, /\nserving: the other region's store/);
    // Redis is frozen during these requests: the answers come from memory.
    const { took } = await listed(node, 41);
    say(`List while Redis is frozen: p50 ${ms(took[20] ?? 0)}`);
    await statusIs(node, "holdfast.read", "SERVING");
  } finally {
    both.thaw("redis-a");
  }
  await allWell(both);
});

test("a node starts while its own Redis is down, and serves from the other region's store", async () => {
  await both.kill("redis-a");
  const node = both.node("a2");
  await node.kill();
  await node.start();
  await until("it serves from the other region's store", async () => {
    const { from, lease } = await vitalsOf(node);
    return (from === "remote" && lease === "none") || `${from}, ${lease}`;
  });
  await insist(() => createKey(clients.at("a2")));
  await both.restart("redis-a");
  await allWell(both);
  await answered(() => createKey(clients.at("a2")));
});

test("a node that can use no store accepts no client until it can use one", async () => {
  const node = both.node("b1");
  await both.cut();
  both.freeze("redis-b");
  try {
    await lineIs(node, /^not ready\nread: no \(no store: /);
    await until("the listener shut", async () =>
      (await metric(node, "holdfast_listener_open")).includes("holdfast_listener_open 0"),
    );
    await statusIs(node, "", "NOT_SERVING");
  } finally {
    both.thaw("redis-b");
    await both.heal();
  }
  await allWell(both);
  await insist(() => createKey(clients.at("b1")));
});

test("with both stores frozen no node accepts a client, even if the regions reach each other", async () => {
  for (const { name } of both.regions) both.freeze(`redis-${name}`);
  try {
    for (const node of both.nodes) {
      await lineIs(node, /^not ready\nread: no \(no store: region . does not serve/);
      await until(`${node.name}'s listener shut`, async () =>
        (await metric(node, "holdfast_listener_open")).includes("holdfast_listener_open 0"),
      );
    }
  } finally {
    for (const { name } of both.regions) both.thaw(`redis-${name}`);
  }
  await allWell(both);
  await insist(() => createKey(clients.at("a1")));
});

/** Longer than every lease. */
const pastLeasesMs = 6_000;

test.each([
  [["redis-a", "redis-b", "a1", "a2", "b1", "b2"]],
  [["redis-a", "redis-b", "a1", "b1"]],
  [["redis-a", "a1", "b2"]],
])("with %j frozen past their leases, every node serves again afterwards", async (parts) => {
  for (const part of parts) both.freeze(part);
  await sleep(pastLeasesMs);
  for (const part of parts) both.thaw(part);
  await allWell(both);
  for (const { name } of both.nodes) await insist(() => createKey(clients.at(name)));
});

test("on SIGTERM the leader hands over at once, and the node exits with 0", async () => {
  const leads = async (node: NodeProcess) => (await vitalsOf(node)).leads;
  const [one, other] = both.a.nodes as [NodeProcess, NodeProcess];
  await until("a leader", async () => (await leads(one)) || (await leads(other)));
  const leader = (await leads(one)) ? one : other;
  const next = leader === one ? other : one;
  const began = performance.now();
  const code = leader.stop();
  await until("the next leader", () => leads(next));
  say(`the next node leads ${ms(performance.now() - began)} after SIGTERM`);
  expect(await code).toBe(0);
  await leader.start();
  await allWell(both);
});

test("peer certificates and their authority are replaced without a restart or a gap", async () => {
  const next = await createPeerAuthority();
  const write = (folder: string, name: string, text: string) =>
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  const before = both.nodes.map((node) => node.logText().length);
  const old = readFileSync(join(both.a.folder, "peer-ca.pem"), "utf8");
  for (const { folder } of both.regions) write(folder, "peer-ca.pem", old + next.certificate);
  await both.readFiles();
  for (const { folder, name, nodes } of both.regions) {
    for (const node of nodes) {
      const issued = await issuePeer(next, name, undefined, node.name);
      await writePeerCertificate(folder, node.name, issued);
    }
  }
  await both.readFiles();
  for (const { folder } of both.regions) write(folder, "peer-ca.pem", next.certificate);
  await both.readFiles();
  await allWell(both);
  for (const [at, node] of both.nodes.entries()) {
    await answered(() => createKey(clients.at(node.name)));
    // Connections under the old authority are cut when it is removed; no others are refused. What a busy machine did
    // not finish in time is no refusal.
    const refused = node
      .logText()
      .slice(before[at])
      .split("\n")
      .filter((line) => line.includes("refused at the link between the regions"))
      .filter((line) => !/its authority is no longer trusted|took too long|it closed/.test(line));
    expect(refused).toEqual([]);
    const peers = await metric(node, "holdfast_certificate_not_after_seconds");
    expect(peers.filter((line) => line.includes('owner="(peer)"'))).toHaveLength(2);
  }
  await allWell(both);
});

test("after a power cut nodes that start before any Redis answer probes, and later all works as before", async () => {
  const id = await answered(() => createKey(clients.at("a1")));
  const bytes = await answered(() => keyBytes(clients.at("b1"), id));
  await Promise.all([both.kill("a"), both.kill("b")]);
  for (const node of both.nodes) node.launch();
  await until("every node answers probes", async () => {
    const asked = both.nodes.map((node) => verbose(node).catch(() => ""));
    return (await Promise.all(asked)).every((text) => text.startsWith("not ready\n"));
  });
  const started = performance.now();
  const redis = both.regions.flatMap((region) => [
    region.redis.primary,
    ...region.redis.replicas,
    ...region.lockMasters,
  ]);
  await Promise.all(redis.map((server) => server.restart()));
  await allWell(both);
  say(`all well ${ms(performance.now() - started)} after every Redis was started`);
  for (const node of both.nodes) {
    const client = clients.at(node.name);
    await insist(async () => expect(await keyBytes(client, id)).toBe(bytes));
    await answered(() => createKey(client));
  }
});
