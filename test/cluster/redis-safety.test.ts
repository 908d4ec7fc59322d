import { createHash, randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ObjectKekStore, StoreUnavailable } from "@holdfast/engine";
import { objectStoreConformance } from "@holdfast/engine/testing";
import { forgetReplica, listReplicas, RedisLocks } from "@holdfast/redis";
import { freePort, until } from "@holdfast/testing";
import { createAuthority } from "@holdfast/testing/pki";
import { describe, expect, test } from "vitest";
import { RedisServer, SentinelServer, sentinelName, startGroup } from "../support/redis.ts";
import { connected, patientLocks } from "../support/redis-locks.ts";
import {
  auditOf,
  create,
  initStore,
  installed,
  openNewStore,
  openStore,
  patientOptions,
  refusingOptions,
  retried,
  systemClock,
} from "../support/redis-store.ts";

const unsafe = { failure: "unsafe" };

describe("a Redis that would lose data is refused, with the setting and how to fix it:", () => {
  test.each([
    ["appendonly", "no", "set appendonly yes"],
    ["appendfsync", "everysec", "set appendfsync always"],
    ["maxmemory-policy", "allkeys-lru", "set maxmemory-policy noeviction"],
  ])("%s %s", async (name, value, mend) => {
    await using redis = await RedisServer.start({ config: { [name]: value } });
    const options = { address: redis.address };
    await expect(initStore(options)).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringContaining(mend),
    });
    await redis.command("config", "set", name, "appendonly" === name ? "yes" : (safe[name] ?? ""));
    await initStore(options);
    await redis.command("config", "set", name, value);
    await expect(openStore({ address: redis.address, ...refusingOptions })).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringContaining(name),
    });
  });

  test("a replica with such settings, even if it connects later", async () => {
    await using primary = await RedisServer.start();
    const options = { address: primary.address, ...refusingOptions };
    await using opened = await openNewStore(options);
    const config = { appendfsync: "everysec" };
    await using replica = await RedisServer.start({ replicaOf: primary, config });
    await until("the lease ends", () => opened.store.state() === "none");
    // A session begins before a slow replica has told its settings, and ends then.
    const isRefused = (work: () => Promise<unknown>) => async () => {
      const error = await work().catch((caught: unknown) => caught);
      if (!(error instanceof StoreUnavailable)) return false;
      return error.failure === "unsafe" && error.message.includes(replica.address);
    };
    const read = () => opened.store.read("x", [randomUUID()]);
    await until("a read is refused", isRefused(read));
    const open = async () => {
      await using _ = await openStore(options);
    };
    await until("another node is refused", isRefused(open));
    await replica.command("config", "set", "appendfsync", "always");
    await until("it is corrected", () => opened.store.state() === "full");
  });

  test("an unsafe change of a setting, which is seen on the next connection", async () => {
    await using redis = await RedisServer.start();
    await using opened = await openNewStore({ address: redis.address, ...refusingOptions });
    await redis.command("config", "set", "appendfsync", "no");
    await redis.command("client", "kill", "type", "normal", "skipme", "yes");
    await until("it is refused", async () => {
      const failure = await opened.store.read("i", [randomUUID()]).catch((error) => error.failure);
      return failure === "unsafe";
    });
  });

  test("Redis Cluster", async () => {
    // Otherwise it takes the port that is 10,000 higher, even if another process uses it.
    const config = { "cluster-enabled": "yes", "cluster-port": String(await freePort()) };
    await using redis = await RedisServer.start({ config });
    await expect(initStore({ address: redis.address })).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringContaining("Cluster"),
    });
  });

  test("Sentinels that could promote a replica within a lease", async () => {
    await using group = await startGroup({ replicas: 1, sentinels: 1, downAfterMs: 700 });
    const options = { sentinels: group.sentinels.map((s) => s.address), name: sentinelName };
    await expect(openNewStore(options)).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringContaining("down-after-milliseconds"),
    });
    await using opened = await retried(() => openStore({ ...options, storeLeaseMs: 500 }));
    await until("its lease", () => opened.store.state() === "full");
  });
});

const safe: Readonly<Record<string, string>> = {
  appendfsync: "always",
  "maxmemory-policy": "noeviction",
};

describe("initialisation", () => {
  test("makes a store of a Redis that nodes refused before", async () => {
    await using redis = await RedisServer.start();
    const options = { address: redis.address, ...refusingOptions };
    await expect(openStore(options)).rejects.toMatchObject({
      failure: "notInitialised",
      message: expect.stringContaining("holdfast store init"),
    });
    const made = await initStore({ ...options });
    expect(made).toMatchObject({ address: redis.address, replicas: 0 });
    await using opened = await openStore(options);
    expect(opened.store.storeId).toBe(made.storeId);
  });

  test("binds the store to one region: a node of another region is refused, with both names", async () => {
    await using redis = await RedisServer.start();
    const options = { address: redis.address, ...refusingOptions };
    await initStore({ ...options, region: "a" });
    await expect(initStore({ ...options, region: "b" })).rejects.toMatchObject(unsafe);
    {
      await using first = await openStore({ ...options, region: "a" });
      expect(first.store.state()).toBe("full");
    }
    const mistaken = openStore({
      ...options,
      region: "b",
      openUnreachable: true,
      allowOtherStore: true,
    });
    await expect(mistaken).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringContaining("holds the store of region a, and this node is of region b"),
    });
    await using again = await openStore({ ...options, region: "a" });
    expect(again.store.state()).toBe("full");
  });

  test("finds an existing store, and is refused if there is any other key", async () => {
    await using redis = await RedisServer.start();
    const options = { address: redis.address, ...refusingOptions };
    await redis.command("set", "somebody's", "key");
    const refusal = {
      ...unsafe,
      message: expect.stringContaining("keys (1) that are not Holdfast's: use another Redis"),
    };
    await expect(initStore(options)).rejects.toMatchObject(refusal);
    expect(await redis.command("dbsize")).toBe(1);
    await redis.command("flushall");
    const { storeId } = await initStore(options);
    expect(await initStore(options)).toMatchObject({ storeId, already: true });
  });

  test("is refused while another member still holds a store, or does not answer", async () => {
    await using group = await startGroup({ replicas: 1, sentinels: 3, downAfterMs: 600_000 });
    const [replica] = group.replicas;
    if (replica === undefined) throw new Error("no replica");
    const sentinels = group.sentinels.map(({ address }) => address);
    // A frozen member must not keep the test for long.
    const options = { sentinels, name: sentinelName, commandTimeoutMs: 3_000 };
    const { storeId } = await initStore(options);
    replica.signal("SIGSTOP");
    await group.primary.restart({ empty: true });
    await expect(initStore(options)).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringMatching(
        `^Redis ${replica.address} .* does not answer, .*SENTINEL RESET`,
      ),
    });
    await group.primary.kill();
    replica.signal("SIGCONT");
    await until("the replica has its data", async () => {
      await replica.command("replicaof", "no", "one");
      return Number(await replica.command("dbsize")) > 0;
    });
    await using empty = await RedisServer.start({ port: group.primary.port });
    const held = {
      ...unsafe,
      message: expect.stringContaining(`Redis ${replica.address} still holds store ${storeId} (`),
    };
    await expect(initStore(options)).rejects.toMatchObject(held);
    expect(await empty.command("dbsize")).toBe(0);
    const given = { address: empty.address, members: [replica.address] };
    await expect(initStore(given)).rejects.toMatchObject(held);
    // A replica without its primary answers little more than INFO.
    await replica.command("config", "set", "replica-serve-stale-data", "no");
    await replica.command("replicaof", "127.0.0.1", await freePort());
    await expect(initStore(given)).rejects.toMatchObject({
      ...unsafe,
      message: expect.stringMatching(`^Redis ${replica.address} still holds \\d+ keys`),
    });
    await replica.command("replicaof", empty.host, empty.port);
    await until("the replica is empty", async () => {
      const link = await replica.info("master_link_status");
      return link === "up" && Number(await replica.command("dbsize")) === 0;
    });
    // After a full copy, a busy machine may write the replica's new AOF for longer than the three seconds.
    await empty.replicasInStep(1);
    expect(await initStore(options)).toMatchObject({ already: false, replicas: 1 });
  });

  test("says which replicas hold the store; a replica that does not acknowledge is an error", async () => {
    await using group = await startGroup({ replicas: 1 });
    const options = { address: group.primary.address };
    expect(await initStore(options)).toMatchObject({ replicas: 1 });
    await group.primary.command("flushall");
    await expect(initStore({ ...options, replicas: 2 })).rejects.toMatchObject({
      failure: "barrierShort",
      message: expect.stringMatching(/is marked as store \w{32}, but only 1 of 2 replicas have it/),
    });
    expect(await initStore({ ...options, replicas: 2 })).toMatchObject({ already: true });
  });
});

describe("an address without a store", () => {
  test("is an error within a bounded time, unless the node may wait for it", async () => {
    const port = await freePort();
    const options = { address: `127.0.0.1:${port}` };
    await expect(openStore(options)).rejects.toMatchObject({ failure: "noLease" });
    await using opened = await openStore({
      ...{ ...options, ...refusingOptions },
      openUnreachable: true,
    });
    expect(opened.store.state()).toBe("none");
    await expect(opened.store.read("i", [randomUUID()])).rejects.toMatchObject({
      failure: "noLease",
    });
    await using redis = await RedisServer.start({ port });
    await initStore({ address: redis.address });
    await until("it is found", () => opened.store.state() === "full");
  });

  test("is refused if it is a replica", async () => {
    await using group = await startGroup({ replicas: 1 });
    const address = group.replicas[0]?.address ?? "";
    await expect(initStore({ address })).rejects.toThrow("is a replica");
    await initStore({ address: group.primary.address });
    await expect(openStore({ address })).rejects.toMatchObject({
      failure: "noLease",
      message: expect.stringContaining("is a replica"),
    });
  });

  test.each([
    [{}, "address, or sentinels"],
    [{ address: "a:1", sentinels: ["b:1"], name: "n" }, "address, or sentinels"],
    [{ sentinels: ["b:1"] }, "name"],
    [{ sentinels: [], name: "n" }, "sentinels"],
    [{ address: "nonsense" }, '"nonsense" is not host:port'],
    [{ address: "a:70000" }, "is not host:port"],
  ])("options %j are refused", async (options, said) => {
    await expect(openStore(options)).rejects.toThrow(said);
  });
});

/** Starts a Redis with the shipped ACL file, with passwords filled in. */
async function withUsers(replicaOf?: RedisServer): Promise<RedisServer> {
  const server = await RedisServer.start({
    client: { username: "tester", password: "test" },
    config: { masteruser: "replica", masterauth: "pw-replica" },
    lines: ["user tester on >test ~* &* +@all"],
    ...(replicaOf !== undefined && { replicaOf }),
  });
  const file = await readFile(join(import.meta.dirname, "../../deploy/redis/users.acl"), "utf8");
  for (const line of file.trim().split("\n")) {
    const [, name = "", ...rules] = line.split(" ");
    const hash = createHash("sha256").update(`pw-${name}`).digest("hex");
    const filled = rules.map((rule) => rule.replace(/^#0{64}$/, `#${hash}`));
    await server.command("acl", "setuser", name, ...filled);
  }
  return server;
}

const user = { username: "holdfast", password: "pw-holdfast" };

objectStoreConformance("RedisStore with the shipped users", async () => {
  const primary = await withUsers();
  const replica = await withUsers(primary);
  await primary.replicasInStep(1);
  const opened = await openNewStore({
    ...{ address: primary.address, ...user, replicas: 1 },
    ...patientOptions,
  });
  return {
    subject: opened.store,
    instances: { ensure: (instance: string) => opened.store.install(instance) },
    auditOf: (instance) => auditOf(primary, instance),
    async close() {
      await opened[Symbol.asyncDispose]();
      for (const server of [replica, primary]) await server[Symbol.asyncDispose]();
    },
  };
});

describe("the shipped users", () => {
  test("may run operators' commands and use KEKs and locks, and nothing more", async () => {
    await using primary = await withUsers();
    const options = { address: primary.address, ...user, ...patientOptions };
    await using opened = await openNewStore(options);
    const instance = await installed(opened.store);
    const id = randomUUID();
    const wrap = { region: "a", rootOfTrust: "local", rootKeyVersion: "1", blob: Buffer.of(1) };
    const keks = new ObjectKekStore(opened.store, { clock: systemClock, region: "a" });
    await keks.add(instance, { id, createdMs: 1, check: Buffer.of(1), wraps: [wrap] }, true);
    const blob = Buffer.of(2);
    expect(await keks.rewrap(instance, id, wrap.blob, { ...wrap, blob })).toBe(true);
    expect((await keks.list(instance))[0]?.wraps[0]?.blob).toEqual(Uint8Array.of(2));
    {
      await using _replica = await withUsers(primary);
      await primary.replicasInStep(1);
      await until("it is noted", async () => (await listReplicas(options)).length === 1);
      await create(opened.store, instance);
    }
    const [replica] = await listReplicas(options);
    expect(await forgetReplica(options, replica?.address ?? "")).toBe(true);
    const results: string[] = [];
    await using locks = await RedisLocks.open({
      urls: [`redis://holdfast:pw-holdfast@${primary.address}`],
      ...patientLocks,
      observe: (event) => results.push(event.type === "lock" ? event.result : event.type),
    });
    await connected(locks, results);
    expect(await locks.withLock("r", async () => 1)).toBe(1);
    expect(await locks.withLock("r", async () => 2)).toBe(2);
    expect(results).toEqual(["acquired", "acquired"]);
  });

  test("may run no other command, and no other user can log in", async () => {
    await using redis = await withUsers();
    await using opened = await openNewStore({
      ...{ address: redis.address, ...user },
      ...patientOptions,
    });
    await create(opened.store, await installed(opened.store));
    for (const [name, ...args] of [
      ["flushall"],
      ["flushdb"],
      ["keys", "*"],
      ["randomkey"],
      ["config", "set", "appendfsync", "no"],
      ["config", "get", "masterauth"],
      ["config", "rewrite"],
      ["debug", "sleep", "0"],
      ["shutdown"],
      ["replicaof", "no", "one"],
      ["script", "flush"],
      ["acl", "list"],
      ["monitor"],
      ["get", "other"],
      ["set", "other", "1"],
      ["eval", "return redis.call('set', 'other', '1')", "0"],
      ["eval", "return redis.call('flushall')", "0"],
      ["del", "other"],
    ] as const) {
      const dry = await redis.command("acl", "dryrun", "holdfast", name, ...args);
      if (name === "eval") continue;
      expect(String(dry), `${name} ${args.join(" ")}`).toContain("has no permissions");
    }
    for (const other of [{}, { username: "holdfast", password: "wrong" }]) {
      await expect(openStore({ address: redis.address, ...other })).rejects.toMatchObject(unsafe);
    }
  });

  test("cannot log in with the file as it is shipped", async () => {
    const file = join(import.meta.dirname, "../../deploy/redis/users.acl");
    await using redis = await RedisServer.start();
    const loaded = join(redis.directory, "users.acl");
    await writeFile(loaded, await readFile(file));
    await using locked = await RedisServer.start({ config: { aclfile: loaded } });
    for (const username of ["default", "holdfast", "replica", "sentinel"]) {
      for (const password of ["", "0".repeat(64)]) {
        const options = { address: locked.address, username, password };
        await expect(openStore(options), username).rejects.toMatchObject(unsafe);
      }
    }
    await expect(openStore({ address: locked.address })).rejects.toMatchObject(unsafe);
  });

  test("need no CONFIG: the settings are checked by INFO and WAITAOF", async () => {
    await using redis = await withUsers();
    const options = { address: redis.address, ...user };
    await using opened = await openNewStore(options);
    await create(opened.store, await installed(opened.store));
    for (const [name, wrong, right] of [
      ["maxmemory-policy", "allkeys-lru", "noeviction"],
      ["appendonly", "no", "yes"],
    ] as const) {
      await redis.command("config", "set", name, wrong);
      const said = { ...unsafe, message: expect.stringContaining(name) };
      await expect(openStore(options)).rejects.toMatchObject(said);
      await redis.command("config", "set", name, right);
    }
    await until("the lease is full", () => opened.store.state() === "full");
    // Nothing is written to the disk on purpose, so no barrier is full and nothing is acknowledged.
    await redis.command("config", "set", "appendfsync", "no");
    await until("the lease ends", () => opened.store.state() === "none");
    await redis.command("config", "set", "appendfsync", "always");
    await until("the lease is full again", () => opened.store.state() === "full");
  });

  test("are told which permission is missing, and how to fix it", async () => {
    await using redis = await withUsers();
    const options = { address: redis.address, ...user };
    await initStore({ ...options });
    const commands = ["zadd", "xadd", "setrange", "hset", "evalsha", "waitaof", "role", "mget"];
    for (const command of commands) {
      await redis.command("acl", "setuser", "holdfast", `-${command}`);
      const said = { ...unsafe, message: expect.stringContaining("users.acl") };
      const used = async () => {
        await using opened = await openStore(options);
        await opened.store.read("i", [randomUUID()]);
      };
      await expect(used(), command).rejects.toMatchObject(said);
      await redis.command("acl", "setuser", "holdfast", `+${command}`);
    }
  });
});

describe("TLS", () => {
  test("works to Redis, its replicas, Sentinels and lock masters; an unknown certificate is refused", async () => {
    const notBeforeMs = Date.now() - 60_000;
    const authority = await createAuthority({ commonName: "ca", notBeforeMs, days: 1 });
    const issued = await authority.issue({
      commonName: "redis",
      notBeforeMs,
      days: 1,
      hosts: ["127.0.0.1", "localhost"],
    });
    await using files = await RedisServer.start();
    const path = (name: string) => join(files.directory, name);
    await writeFile(path("ca.pem"), authority.certificate);
    await writeFile(path("cert.pem"), issued.certificate);
    await writeFile(path("key.pem"), issued.key);
    const config = async () => {
      const port = await freePort();
      return {
        port,
        config: {
          port: "0",
          "tls-port": String(port),
          "tls-ca-cert-file": path("ca.pem"),
          "tls-cert-file": path("cert.pem"),
          "tls-key-file": path("key.pem"),
          "tls-auth-clients": "no",
          "tls-replication": "yes",
        },
        client: { tls: { ca: authority.certificate } },
      };
    };
    await using primary = await RedisServer.start(await config());
    await using _replica = await RedisServer.start({ ...(await config()), replicaOf: primary });
    await primary.replicasInStep(1);
    const tls = { ca: authority.certificate };
    await using opened = await openNewStore({
      ...{ address: primary.address, tls, replicas: 1 },
      ...patientOptions,
    });
    await create(opened.store, await installed(opened.store));
    await expect(openStore({ address: primary.address })).rejects.toMatchObject({
      failure: expect.stringMatching(/noLease|timeout/),
    });
    const stranger = await createAuthority({ commonName: "other", notBeforeMs, days: 1 });
    await expect(
      openStore({ address: primary.address, tls: { ca: stranger.certificate } }),
    ).rejects.toMatchObject({ failure: "noLease" });
    await using sentinel = await SentinelServer.watching(primary, 1, await config());
    const sentinels = [sentinel.address];
    const watched = { sentinels, name: sentinelName, tls, sentinelTls: tls };
    await until("the Sentinel knows the replica", async () => {
      const flat = (await sentinel.command("sentinel", "master", sentinelName)) as string[];
      return flat[flat.indexOf("num-slaves") + 1] === "1";
    });
    await using through = await retried(() => openStore(watched));
    await until("the lease", () => through.store.state() === "full");
    const instance = await installed(through.store);
    await retried(() => create(through.store, instance));
    const results: string[] = [];
    await using locks = await RedisLocks.open({
      urls: [`rediss://${primary.address}`],
      tls,
      ...patientLocks,
      observe: (event) => results.push(event.type === "lock" ? event.result : event.type),
    });
    await connected(locks, results);
    await locks.withLock("r", async () => undefined);
    expect(results).toEqual(["acquired"]);
  });
});
