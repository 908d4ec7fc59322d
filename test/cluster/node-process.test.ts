import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KmipClient } from "@holdfast/client";
import { createLocalRoot } from "@holdfast/root-of-trust";
import { answerOf, freePort, until } from "@holdfast/testing";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import { encode, enumeration, integer, structure } from "@holdfast/ttlv";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { kill, spawnBound } from "../support/child.ts";
import { hasAll } from "../support/containers.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { KmipSocket } from "../support/kmip-socket.ts";
import { NodeProcess, ownProgram } from "../support/node-process.ts";
import { program } from "../support/program.ts";
import { RedisServer } from "../support/redis.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

const entry = program();
const instance = "demo";

/** Runs a command and waits for its end. */
function run(...args: readonly string[]) {
  return new Promise<{ out: string; err: string; code: number }>((resolve) => {
    execFile(process.execPath, [entry, ...args], (error, out, err) => {
      resolve({ out, err, code: error === null ? 0 : Number(error.code) });
    });
  });
}

/** KMIP 1.1, Discover Versions without versions. */
function discoverVersions(): Uint8Array {
  const version = structure(0x42_0069, [integer(0x42_006a, 1), integer(0x42_006b, 1)]);
  const header = structure(0x42_0077, [version, integer(0x42_000d, 1)]);
  const item = structure(0x42_000f, [enumeration(0x42_005c, 0x1e), structure(0x42_0079, [])]);
  return encode(structure(0x42_0078, [header, item]));
}

/** Sends the message and ends one second later, so that a signal can reach the node in between. */
const slowNotify = `#!/bin/sh
PATH=\${PATH#*:}
systemd-notify "$@" && sleep 1
`;

/** Prints each message that arrives at a Unix datagram socket, which Node cannot open. */
const notifyReader = `
import socket, sys
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind(sys.argv[1])
while True: print(reader.recv(4096).decode(), flush=True)
`;

function notifySocket(path: string): AsyncDisposable & { readonly text: () => string } {
  const child = spawnBound("/usr/bin/python3", ["-c", notifyReader, path], {});
  let text = "";
  child.stdout?.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  return { text: () => text, [Symbol.asyncDispose]: () => kill(child) };
}

let region: Region;
beforeAll(async () => {
  region = await startRegion({ instances: [instance], nodes: 1, replicas: 1 });
});
afterAll(() => region[Symbol.asyncDispose]());

const configFile = () => join(region.folder, "a1.yaml");
const log = () => readFile(region.node(0).logFile, "utf8");

const openClient = () => letIn(region, instance, 0);
/** A connection; waits while a busy machine keeps the node from its store: then it refuses new ones. */
const connected = () =>
  answerOf(
    "a connection",
    () => region.connect(instance),
    () => true,
  );

const canNotify = hasAll("systemd-notify", "python3");

describe("a node", () => {
  test.skipIf(!canNotify)("notifies systemd when it serves and stops (needs systemd)", async () => {
    const node = region.node(0);
    await node.stop();
    const socket = join(region.folder, "notify");
    await using listener = notifySocket(socket);
    await until("the socket", () => existsSync(socket));
    await writeFile(join(region.folder, "systemd-notify"), slowNotify, { mode: 0o755 });
    const path = `PATH=${region.folder}:${process.env["PATH"]}`;
    node.program = ["env", `NOTIFY_SOCKET=${socket}`, path, ...ownProgram];
    await node.start();
    await until("READY=1", () => listener.text().includes("READY=1"));
    // The sender waits until systemd has read it: systemd drops the message of a process that has ended.
    await until("BARRIER=1", () => listener.text().includes("BARRIER=1"));
    await node.stop();
    await until("STOPPING=1", () => listener.text().includes("STOPPING=1"));
    node.program = ownProgram;
    await node.start();
  });

  test("answers a request over TLS, counts it, and logs who made each change", async () => {
    const client = await openClient();
    const id = await answered(() => createKey(client));
    expect(await answered(() => keyBytes(client, id))).toMatch(/^[0-9a-f]{64}$/);
    await client.close();
    const metrics = await region.node(0).metrics();
    expect(metrics).toMatch(
      /holdfast_requests_total\{operation="Create",version="[\d.]+",result="Success"\} 1/,
    );
    expect(metrics).toMatch(/holdfast_barrier_seconds_count\{full="true"\} [1-9]/);
    const line = (await log()).split("\n").find((text) => text.includes('"operation":"Create"'));
    expect(JSON.parse(line ?? "{}")).toMatchObject({
      result: "Success",
      uniqueIdentifier: id,
      requestId: expect.any(String),
      fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
      instance: expect.any(String),
    });
  });

  test("refuses connections while its Redis is frozen, keeps open ones, and accepts new ones afterwards", async () => {
    const node = region.node(0);
    const kept = await connected();
    await kept.exchange(discoverVersions());
    region.redis.primary.signal("SIGSTOP");
    try {
      await until("not ready", async () => !(await node.ready()));
      // The listener closes a moment after health changes; until then it may accept a connection.
      await until("connections are refused", () =>
        region.connect(instance).then(
          (late) => late[Symbol.asyncDispose]().then(() => false),
          (error: Error) => error.message.includes("ECONNREFUSED"),
        ),
      );
      expect((await kept.exchange(discoverVersions())).length).toBeGreaterThan(8);
      expect(await node.metrics()).toContain('holdfast_store_lease{state="none"} 1');
      expect((await fetch(`http://${node.host}:${node.http}/livez`)).status).toBe(200);
    } finally {
      region.redis.primary.signal("SIGCONT");
    }
    await until("ready", () => node.ready());
    await using again = await connected();
    await again.exchange(discoverVersions());
    await kept.exchange(discoverVersions());
    await kept[Symbol.asyncDispose]();
  });

  test("reads its instances again on SIGHUP: accepts new clients and cuts off removed ones", async () => {
    const node = region.node(0);
    const target = region.target(instance);
    const newcomer = await selfSigned({
      commonName: "newcomer",
      notBeforeMs: Date.now() - 60_000,
      days: 1,
    });
    const before = await readFile(configFile(), "utf8");
    const config = parse(before);
    const other = { name: "other", certificates: [newcomer.certificate] };
    const reload = async (instances: unknown) => {
      const reloads = (await log()).split("instances reloaded").length;
      await writeFile(configFile(), stringify({ ...config, instances }));
      node.signal("SIGHUP");
      await until("reload", async () => (await log()).split("instances reloaded").length > reloads);
    };
    const old = await connected();
    await old.exchange(discoverVersions());
    await reload([...config.instances, other]);
    const open = () => KmipSocket.open({ ...target, ...newcomer });
    await using added = await answerOf("a connection of the newcomer", open, () => true);
    await added.exchange(discoverVersions());
    await old.exchange(discoverVersions());
    const cut = once(old.socket, "close");
    await reload([other]);
    await cut;
    await using refused = await connected();
    await expect(refused.exchange(discoverVersions())).rejects.toThrow(/closed|reset|ended/i);
    await added.exchange(discoverVersions());
    await writeFile(configFile(), "region: [");
    node.signal("SIGHUP");
    await until("refusal", async () => (await log()).includes("instances are kept as they were"));
    await added.exchange(discoverVersions());
    await reload(config.instances);
    await writeFile(configFile(), before);
  });

  test("cuts off removed clients on SIGHUP even if Redis is frozen", async () => {
    const before = await readFile(configFile(), "utf8");
    const old = await connected();
    await old.exchange(discoverVersions());
    const cut = once(old.socket, "close");
    region.redis.primary.signal("SIGSTOP");
    try {
      await writeFile(configFile(), stringify({ ...parse(before), instances: [] }));
      region.node(0).signal("SIGHUP");
      await cut;
    } finally {
      region.redis.primary.signal("SIGCONT");
      await writeFile(configFile(), before);
    }
    await until("ready", () => region.node(0).ready());
    region.node(0).signal("SIGHUP");
    await until("trusted again", async () => {
      await using client = await connected();
      return await client.exchange(discoverVersions()).then(
        () => true,
        () => false,
      );
    });
  });

  test("refuses to start on a port in use, with code 3", async () => {
    const { err, code } = await run("serve", "--config", configFile());
    const { host, http } = region.node(0);
    expect(err).toBe(
      `holdfast: http.listen: ${host}:${http} is in use; stop what listens there or choose another port\n`,
    );
    expect(code).toBe(3);
  });

  test("answers open requests on SIGTERM, closes connections cleanly, and exits with 0", async () => {
    const node = region.node(0);
    const idle = await connected();
    await idle.exchange(discoverVersions());
    const client = await openClient();
    const pending = Promise.allSettled(Array.from({ length: 20 }, () => createKey(client)));
    await until("load", async () =>
      /operation="Create"[^}]*\} ([2-9]|\d\d)/.test(await node.metrics()),
    );
    const closed = once(idle.socket, "close");
    expect(await node.stop()).toBe(0);
    await closed;
    const outcomes = await pending;
    await client.close();
    await node.start();
    const reader = await openClient();
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") await answered(() => keyBytes(reader, outcome.value));
    }
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBeGreaterThan(0);
    await reader.close();
  });
});

/** The configuration of a node with another root key. */
async function strangerConfig(): Promise<string> {
  const path = join(region.folder, "stranger.yaml");
  const file = join(region.folder, "stranger.json");
  await rm(file, { force: true });
  await createLocalRoot(file, { clock: systemClock, ids: systemIds });
  const config = parse(await readFile(configFile(), "utf8"));
  await writeFile(path, stringify({ ...config, rootOfTrust: { type: "local", file } }));
  return path;
}

test("a node whose root key is not the one of the store's keys refuses to start, with code 2", async () => {
  const path = await strangerConfig();
  const { err, code } = await run("serve", "--config", path);
  expect(err).toMatch(
    /^holdfast: rootOfTrust: the configured root key does not open storage key 1 of store [0-9a-f]{32}, which root key "local [0-9a-f]+" wrapped: give every node of the region that root key; if it is lost for good, docs\/storage-key\.md says what to do\n$/,
  );
  expect(code).toBe(2);
});

test("a start warns of a Redis user that can read the replication password", async () => {
  // Its ports are in use: it opens the store, and ends.
  const path = configFile();
  const { primary } = region.redis;
  const warned = /"level":"warn".*can read the replication password .* deploy\/redis\/users\.acl/;
  expect((await run("serve", "--config", path)).out).not.toMatch(warned);
  await primary.command("config", "set", "masterauth", "s3cret");
  try {
    const { out, err } = await run("serve", "--config", path);
    expect(out).toMatch(warned);
    expect(out + err).not.toContain("s3cret");
  } finally {
    await primary.command("config", "set", "masterauth", "");
  }
});

describe("a start at a Redis", () => {
  async function configAt(redis: RedisServer, more = {}): Promise<string> {
    const config = parse(await readFile(configFile(), "utf8"));
    const any = "127.0.0.1:0";
    const path = join(region.folder, "other.yaml");
    const store = { address: redis.address, ...more };
    const listeners = { kmip: { listen: any }, http: { listen: any }, health: { listen: any } };
    await writeFile(path, stringify({ ...config, ...listeners, store }));
    return path;
  }

  test("that is not a store yet says what to run; store init makes it a store, once", async () => {
    await using redis = await RedisServer.start();
    const path = await configAt(redis);
    const refused = await run("serve", "--config", path);
    expect(refused.err).toMatch(
      new RegExp(
        `^holdfast: store\\.address: ${redis.address}: .*restore its data .*; only if the store is new, run \`holdfast store init --config ${path}\``,
      ),
    );
    expect(refused.err.split("\n")).toHaveLength(2);
    expect(refused.code).toBe(3);
    const made = await run("store", "init", "--config", path);
    expect(made.out).toMatch(/^store [0-9a-f]{32} made at 127\.0\.0\.1:\d+, held by 0 replicas\n$/);
    expect(made.code).toBe(0);
    const again = await run("store", "init", "--config", path);
    const id = /^store (\S+)/.exec(made.out)?.[1];
    const out = `${redis.address} is already store ${id} (nothing to do)\n`;
    expect(again).toEqual({ out, err: "", code: 0 });
    expect(await run("store", "replicas", "--config", path)).toEqual({ out: "", err: "", code: 0 });
  });

  test.each([
    ["appendfsync", "everysec"],
    ["maxmemory-policy", "allkeys-lru"],
  ])("that is unsafe (%s %s) names the setting, with code 3", async (name, value) => {
    await using redis = await RedisServer.start({ config: { [name]: value } });
    const { err, code } = await run("serve", "--config", await configAt(redis));
    expect(err).toContain(`store.address: ${redis.address}: `);
    expect(err).toContain(name);
    expect(err.split("\n")).toHaveLength(2);
    expect(code).toBe(3);
  });

  test("that speaks TLS under a private authority can use it as store and as lock master", async () => {
    const since = { notBeforeMs: Date.now() - 60_000, days: 1 };
    const authority = await createAuthority({ commonName: "Redis CA", ...since });
    const issued = await authority.issue({ commonName: "redis", hosts: ["127.0.0.1"], ...since });
    const write = async (name: string, text: string) => {
      await writeFile(join(region.folder, name), text, { mode: 0o600 });
      return join(region.folder, name);
    };
    const ca = await write("redis-ca.pem", authority.certificate);
    const port = await freePort();
    await using redis = await RedisServer.start({
      port,
      config: {
        port: "0",
        "tls-port": String(port),
        "tls-ca-cert-file": ca,
        "tls-cert-file": await write("redis.pem", issued.certificate),
        "tls-key-file": await write("redis.key", issued.key),
        "tls-auth-clients": "no",
      },
      client: { tls: { ca: authority.certificate } },
    });
    const path = await configAt(redis, { tls: { ca } });
    expect((await run("store", "init", "--config", path)).code).toBe(0);
    await using node = new NodeProcess("other", [0, await freePort(), 0], region.folder);
    const config = parse(await readFile(path, "utf8"));
    config.http.listen = `127.0.0.1:${node.http}`;
    const kmip = await freePort();
    config.kmip.listen = `127.0.0.1:${kmip}`;
    await writeFile(path, stringify(config));
    await node.start();
    const { ca: serverCa, certificate, key } = region.target(instance);
    const tls = { ca: serverCa, certificate, key };
    const connect = () => KmipClient.connect({ endpoints: [`127.0.0.1:${kmip}`], tls });
    await using client = await answerOf("a connection", connect, () => true);
    // A lock master may take 50 ms, which a busy machine does not always give: then the node works without the lock.
    await until("a lock", async () => {
      const uniqueIdentifier = await answered(() => createKey(client));
      await answered(() => client.activate({ uniqueIdentifier }));
      return /^holdfast_locks_total\{result="acquired"\} [1-9]/m.test(await node.metrics());
    });
  });

  test("store replicas lists the replicas that changes wait for, and forgets only one that is not connected", async () => {
    const path = configFile();
    const listed = await run("store", "replicas", "--config", path);
    expect(listed.out).toMatch(/^127\.0\.0\.1:\d+ connected, known since 20/);
    const replica = listed.out.split(" ")[0] as string;
    const kept = await run("store", "replicas", "--config", path, "--forget", replica);
    expect(kept.err).toContain("is connected: stop it first");
    expect(kept.code).toBe(2);
    const unknown = await run("store", "replicas", "--config", path, "--forget", "127.0.0.1:9");
    expect(unknown.err).toBe("holdfast: --forget 127.0.0.1:9: no such replica is known\n");
    expect(unknown.code).toBe(2);
  });
});
