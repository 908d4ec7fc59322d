import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { type ContainerName, composeSecrets, ShippedStore } from "../support/shipped-store.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-secrets-"));
let secrets = "";
const all: readonly ContainerName[] = ["primary", "replica", "sentinel1", "sentinel2", "sentinel3"];
const sentinels = all.slice(2);

beforeAll(() => {
  secrets = composeSecrets(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Loss {
  /** Whether the replica is promoted before, and the first primary joins it. */
  readonly swapped?: true;
  /** The members that stop. */
  readonly stop: readonly ContainerName[];
  /** The members that lose their volumes then. */
  readonly lose: readonly ContainerName[];
  /** The members that start again, in this order; each has `gapMs` before the next one starts. */
  readonly start: readonly ContainerName[];
  readonly gapMs?: number;
  readonly environment?: Readonly<Record<string, string>>;
}

const losses: Readonly<Record<string, Loss>> = {
  "the primary's volume, restarted at once": {
    stop: ["primary"],
    lose: ["primary"],
    start: ["primary"],
  },
  "the primary's volume, with INIT=1 left in its environment": {
    stop: ["primary"],
    lose: ["primary"],
    start: ["primary"],
    environment: { INIT: "1" },
  },
  "the primary's volume, everything restarted, the primary first, with INIT=1": {
    stop: all,
    lose: ["primary"],
    start: all,
    gapMs: 3_000,
    environment: { INIT: "1" },
  },
  "the primary's volume, everything restarted, the primary last": {
    stop: all,
    lose: ["primary"],
    start: all.toReversed(),
    gapMs: 2_000,
  },
  "the replica's volume, restarted at once": {
    stop: ["replica"],
    lose: ["replica"],
    start: ["replica"],
  },
  "the replica's volume, back while the primary is away": {
    stop: ["primary", "replica"],
    lose: ["replica"],
    start: ["replica", "primary"],
    gapMs: 12_000,
  },
  "the replica's volume, everything restarted, the replica first": {
    stop: all,
    lose: ["replica"],
    start: ["replica", ...sentinels, "primary"],
    gapMs: 2_000,
  },
  "the promoted member's volume, restarted at once": {
    swapped: true,
    stop: ["replica"],
    lose: ["replica"],
    start: ["replica"],
  },
  "the promoted member's volume, everything restarted, this member first": {
    swapped: true,
    stop: all,
    lose: ["replica"],
    start: ["replica", "primary", ...sentinels],
    gapMs: 2_000,
    environment: { INIT: "1" },
  },
  "the first primary's volume after a fail-over, everything restarted": {
    swapped: true,
    stop: all,
    lose: ["primary"],
    start: all,
    gapMs: 1_000,
    environment: { INIT: "1" },
  },
  "a Sentinel's volume after a fail-over": {
    swapped: true,
    stop: ["sentinel1"],
    lose: ["sentinel1"],
    start: ["sentinel1"],
  },
  "the primary's volume and a Sentinel's": {
    stop: all,
    lose: ["primary", "sentinel1"],
    start: ["sentinel1", "primary", "sentinel2", "sentinel3", "replica"],
    gapMs: 1_000,
  },
  "the replica's volume and a Sentinel's": {
    stop: ["replica", "sentinel2"],
    lose: ["replica", "sentinel2"],
    start: ["sentinel2", "replica"],
  },
  "the promoted member's volume and a Sentinel's": {
    swapped: true,
    stop: ["replica", "sentinel3"],
    lose: ["replica", "sentinel3"],
    start: ["sentinel3", "replica"],
  },
};

/** Promotes the replica; the first primary joins it. */
async function swap(store: ShippedStore): Promise<void> {
  await store.kill("primary");
  await store.promoted("replica");
  await store.containers.primary.start();
  await store.recovered();
}

describe("no acknowledged data is lost after the loss of", () => {
  test.concurrent.for(Object.entries(losses))("%s", async ([, loss], { expect }) => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    if (loss.swapped) await swap(store);
    await store.kill(...loss.stop);
    for (const name of loss.lose) await store.containers[name].lose();
    for (const name of loss.start) {
      await store.containers[name].start(loss.environment);
      await store.pause(loss.gapMs ?? 0);
    }
    await store.recovered();
    expect(await store.agreed()).toBe(true);
  });

  test.concurrent("the primary's append-only folder, if the Sentinels were started first", async () => {
    await using store = new ShippedStore(secrets);
    await store.begin({ sentinelsFirst: true });
    await store.kill("primary");
    await rm(join(store.containers.primary.data, "appendonlydir"), { recursive: true });
    await store.containers.primary.start();
    await store.recovered();
  });

  test.concurrent("the primary's volume, without Sentinels: it waits, and joins as the runbook says", async ({
    expect,
  }) => {
    await using store = new ShippedStore(secrets, { sentinels: false });
    await store.beginAlone();
    const { primary } = store.containers;
    await primary.kill();
    await primary.lose();
    await primary.start({ INIT: "1" });
    await store.says("primary", "the Sentinels promote it; without Sentinels promote it yourself");
    expect(await store.role("primary")).toBeUndefined();
    expect(store.cli("replica", "replica", "info", "keyspace")).toMatch(/^db0:keys=50,/m);
    expect(store.cli("replica", "sentinel", "replicaof", "no", "one")).toBe("OK");
    expect(store.cli("replica", "sentinel", "config", "rewrite")).toBe("OK");
    await store.recovered();
    expect(await store.role("replica")).toBe("master");
    // Both remember which member is the primary now.
    await store.kill("primary", "replica");
    for (const member of store.members) await member.start();
    await store.recovered();
    expect(await store.role("replica")).toBe("master");
  });

  test.concurrent("one of the primary's files", async ({ expect }) => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill("primary");
    const { data } = store.containers.primary;
    await rm(join(data, "appendonlydir", "appendonly.aof.1.incr.aof"));
    await store.containers.primary.start();
    await store.recovered();
    expect(store.containers.primary.log).toContain("moved the incomplete data to");
  });

  test.concurrent("the primary during a fail-over, if it comes back with older data", async () => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill("primary");
    await store.promoted("replica");
    await store.write("replica", 20);
    await store.containers.primary.start();
    await store.recovered();
  });

  test.concurrent("the primary, as soon as a replica that lost its volume has all data again", async () => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill("replica");
    await store.containers.replica.lose();
    await store.containers.replica.start();
    // The replica confirms a write while it still runs with priority 0.
    await store.acknowledge(5);
    await store.kill("primary");
    await store.promoted("replica");
    await store.containers.primary.start();
    await store.recovered();
  });

  test.concurrent("a replica that is stopped while Redis refuses SIGTERM, since it writes a copy", async ({
    expect,
  }) => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.copying();
    const { replica } = store.containers;
    const stopped = replica.stop();
    await store.says("replica", "Writing initial AOF, can't exit");
    expect(await stopped).toBe(143);
    expect(await store.role("replica")).toBeUndefined();
    await replica.start();
    await store.recovered();
  });

  test.concurrent("everything, while a replica that lost its volume is copied: it waits for the primary", async ({
    expect,
  }) => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.copying();
    const { primary, replica } = store.containers;
    await store.kill(...all);
    await replica.start();
    await store.says("replica", `this member can only join: start ${primary.address}`);
    expect(replica.log).not.toContain("restore it");
    for (const name of all) if (name !== "replica") await store.containers[name].start();
    await store.recovered();
  });

  test.concurrent("the primary and then the Sentinels, if they come back after it", async () => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill("primary");
    await store.promoted("replica");
    await store.write("replica", 20);
    await store.kill(...sentinels);
    await store.containers.primary.start();
    await store.says("primary", "start a majority of the Sentinels, or stop the wrong one");
    for (const name of sentinels) await store.containers[name].start();
    await store.recovered();
  });
});

test.concurrent("with TLS, members, Sentinels and clients speak nothing else, through a lost volume, a promotion and a renewed certificate", async ({
  expect,
}) => {
  await using store = new ShippedStore(secrets);
  await store.encrypt();
  await store.begin();
  await swap(store);
  await store.kill("sentinel1", "replica");
  await store.containers.replica.lose();
  for (const name of ["sentinel1", "replica"] as const) await store.containers[name].start();
  await store.recovered();
  expect(await store.agreed()).toBe(true);
  for (const { address } of store.members) {
    const plain = connect({ host: address, port: 6379 }).on("error", () => undefined);
    plain.write("PING\r\n");
    // The connection is reset, or closed after an alert.
    await new Promise((resolve) => plain.once("close", resolve));
    expect(plain.bytesRead).toBeLessThan(20);
  }
  const before = await store.serial("primary");
  await store.renewCertificate("primary");
  expect(await store.serial("primary")).not.toBe(before);
  await store.recovered();
});

test.concurrent("passwords that were replaced count at the next start, although Redis and Sentinel wrote the old ones into their configuration", async ({
  expect,
}) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-replaced-"));
  try {
    const own = composeSecrets(folder);
    await using store = new ShippedStore(own);
    await store.begin();
    await swap(store);
    expect(store.cli("primary", "operator", "config", "rewrite")).toBe("OK");
    await store.kill(...all);
    for (const name of ["redis-replication", "redis-sentinel", "sentinel"]) {
      rmSync(join(own, `${name}-password`));
    }
    composeSecrets(folder);
    for (const name of all) await store.containers[name].start();
    await store.recovered();
    await store.kill("replica");
    await store.promoted("primary");
    await store.containers.replica.start();
    await store.recovered();
    expect(await store.agreed()).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.concurrent("a Sentinel without a password of its own does not start", async ({ expect }) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-open-"));
  try {
    await using store = new ShippedStore(folder);
    const { sentinel1 } = store.containers;
    await sentinel1.start();
    await store.says("sentinel1", "it needs a line 'requirepass PASSWORD'");
    expect(existsSync(join(sentinel1.data, "sentinel.conf"))).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.concurrent("a member whose address changes is known by the address that it announces", async ({
  expect,
}) => {
  await using store = new ShippedStore(secrets);
  const { address } = store.containers.replica;
  const [first, second] = [address.replace(/11$/, "21"), address.replace(/11$/, "22")];
  await using service = await forward(address, first);
  await store.begin({ replica: { ADDRESS: first, ANNOUNCE: address } });
  await store.kill("replica");
  service.to = second;
  await store.containers.replica.start({ ADDRESS: second, ANNOUNCE: address });
  await store.recovered();
  expect(await store.replicas()).toEqual([`${address}:6379`]);
});

/** Forwards connections to the member's current address, as a Kubernetes Service does. */
async function forward(from: string, to: string) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const member = connect({ host: forwarder.to, port: 6379 });
    for (const [socket, other] of [[client, member] as const, [member, client] as const]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy()).on("close", () => other.destroy());
      socket.pipe(other);
    }
  });
  const forwarder = {
    to,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
  server.listen(6379, from);
  await once(server, "listening");
  return forwarder;
}

describe("an empty primary does not start", () => {
  test.concurrent.for([
    ["no INIT", {}],
    ["INIT=1 left in its environment", { INIT: "1" }],
  ] as const)("when both volumes are lost, with %s", async ([, environment], { expect }) => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill("primary", "replica");
    for (const member of store.members) await member.lose();
    await store.containers.replica.start(environment);
    await store.containers.primary.start(environment);
    await store.says("primary", "restore it (docs/backup.md)");
    await store.until("the script ends", () => store.containers.primary.exits.includes(1));
    await store.pause(2_000);
    expect(await store.role("primary")).toBeUndefined();
    expect(await store.role("replica")).not.toBe("master");
  });

  test.concurrent("without INIT, nor before every other member has answered", async ({
    expect,
  }) => {
    await using store = new ShippedStore(secrets);
    const { primary, replica } = store.containers;
    await primary.start({ WAIT: "2" });
    await store.says("primary", "this member has no data and can only join");
    await store.until("the script ends", () => primary.exits.includes(1));
    await primary.kill();
    await primary.start({ INIT: "1" });
    await store.says("primary", "INIT=1 waits until every other member answers");
    expect(await store.role("primary")).toBeUndefined();
    expect(existsSync(join(primary.data, "primary.conf"))).toBe(false);
    await replica.start();
    await store.until("a new store", async () => (await store.role("replica")) === "slave");
  });

  test.concurrent("with INIT but no list of the members", async () => {
    await using store = new ShippedStore(secrets, { members: false });
    await store.containers.replica.start();
    await store.containers.primary.start({ INIT: "1" });
    await store.says("primary", "INIT=1 needs MEMBERS");
  });

  test.concurrent("over a snapshot that Redis cannot read", async () => {
    await using store = new ShippedStore(secrets);
    const { primary, replica } = store.containers;
    await replica.start();
    await primary.start({ WAIT: "1" });
    await store.says("primary", "no member has data");
    await primary.kill();
    writeFileSync(join(primary.data, "dump.rdb"), Buffer.alloc(2_000));
    await primary.start({ INIT: "1" });
    await store.says("primary", "holds an incomplete store");
  });

  test.concurrent("if a member with data would follow it", async () => {
    await using store = new ShippedStore(secrets);
    await store.begin();
    await store.kill(...all);
    await using empty = await store.emptyRedisAt("primary");
    await store.containers.replica.start();
    await store.says("replica", "is an empty primary, and this member has data");
    await empty.kill();
    for (const name of all) if (name !== "replica") await store.containers[name].start();
    await store.recovered();
  });
});
