import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { holdfast } from "../support/command-line.ts";
import { type NodeProcess, ownProgram } from "../support/node-process.ts";
import { recordOf } from "../support/record.ts";
import { type RedisServer, sentinelName } from "../support/redis.ts";
import type { Region } from "../support/region.ts";
import type { RegionName, TwoRegions } from "../support/two-regions.ts";
import type { PacketFilter } from "./packet-filter.ts";
import type { FaultKind, PlannedFault } from "./plan.ts";
import { fillDisk, joinAnew } from "./store-members.ts";

/** What faults need, and the functions that report them. */
export interface FaultContext {
  readonly both: TwoRegions;
  readonly filter: PacketFilter;
  /** The usual delay each way between the regions. */
  readonly wanMs: number;
  /** The program of the other version. */
  readonly other: string | undefined;
  /** The identifier of an acknowledged object. */
  readonly anyObject: (dice: number) => string | undefined;
  /** Reads an object at every endpoint of a region, as clients do. */
  readonly readAt: (region: RegionName, id: string) => Promise<void>;
  /** Reports that a process was killed at this moment. */
  readonly died: (node: NodeProcess) => void;
  /** Reports that a region's store lost everything. */
  readonly emptied: (region: RegionName) => void;
  /** Reports that a time begins or ends in which the regions cannot agree. */
  readonly isolated: (name: string, isolated: boolean) => void;
  /** Reports that the fault took no effect: what it is about was down, or did not take it. */
  readonly idle: () => void;
  /** Adds a check that must become true once every node is healthy again, before the next fault. */
  readonly afterwards: (what: string, check: () => Promise<boolean>) => void;
  readonly stopped: AbortSignal;
}

/** Ends a fault; `revive` restarts what it killed. */
type Mend = () => Promise<void> | void;

type Maker = (fault: PlannedFault, region: Region, context: FaultContext) => Promise<Mend>;

/** Enough for a Sentinel's second try, which begins after twice its failover-timeout of 10 s. */
const promotionMs = 30_000;
/** What is added to the delay between the regions, at most; a node waits half a second for the other region. */
const lateMaxMs = 700;

/** How to make each kind of fault. */
export const makers: Readonly<Record<FaultKind, Maker>> = {
  "kill-node": async ({ node: at }, region, context) => {
    const node = region.node(at);
    if (!node.running) context.idle();
    await killNode(node, context);
    return () => undefined;
  },
  "replace-node": async ({ node: at }, region, { other }) => {
    const node = region.node(at);
    await node.stop();
    const isOther = node.program !== ownProgram;
    if (other !== undefined) node.program = isOther ? ownProgram : [process.execPath, other];
    return () => undefined;
  },
  "freeze-node": async ({ node: at }, region, { idle }) => {
    const node = region.node(at);
    if (node.running) node.signal("SIGSTOP");
    else idle();
    return () => {
      if (node.running) node.signal("SIGCONT");
    };
  },
  "kill-redis": async (_fault, region, { idle }) => {
    const primary = await primaryOf(region);
    if (!primary.running) idle();
    await primary.kill();
    return async () => {
      if (!primary.running) await primary.restart();
      await follow(primary, region);
    };
  },
  "freeze-redis": async (_fault, region, { idle }) => freeze(await primaryOf(region), idle),
  "depose-redis": async ({ forMs }, region, { idle, stopped }) => {
    const primary = await primaryOf(region);
    const thaw = freeze(primary, idle);
    if (!(await promotedFrom(primary, region, stopped))) idle();
    await sleep(forMs);
    return thaw;
  },
  failover: async (_fault, region, { idle }) => {
    for (const sentinel of region.redis.sentinels) {
      const told = sentinel.command("sentinel", "failover", sentinelName);
      if ((await told.catch(() => undefined)) === "OK") return () => undefined;
    }
    idle();
    return () => undefined;
  },
  partition: async ({ node: at }, region, { filter, idle }) => {
    const node = region.node(at);
    const { primary, replicas, sentinels } = region.redis;
    const ports = [primary, ...replicas, ...sentinels].map(({ port }) => port);
    if (node.groupId === undefined || !filter.cut(node.groupId, ports)) idle();
    return () => filter.heal();
  },
  cut: async (_fault, _region, { both, isolated }) => {
    await both.cut();
    isolated("cut", true);
    return async () => {
      isolated("cut", false);
      await both.heal();
    };
  },
  "cut-one-way": async (_fault, region, { both, isolated }) => {
    await both.cut(region.name === "a" ? "a→b" : "b→a");
    return async () => {
      // Together with another one-way cut it may have been a cut in both ways.
      isolated("cut", false);
      await both.heal();
    };
  },
  "reset-links": async ({ forMs }, _region, { both }) => {
    for (let leftMs = forMs; leftMs > 0; leftMs -= 100) {
      await both.reset();
      await sleep(100);
    }
    return () => undefined;
  },
  "slow-links": async ({ dice }, _region, { both, wanMs }) => {
    await both.delay(wanMs + Math.round(dice * lateMaxMs));
    return () => both.delay(wanMs);
  },
  "kill-region": async (_fault, region, context) => {
    const { isolated } = context;
    await Promise.all([
      ...region.nodes.map((node) => killNode(node, context)),
      ...serversOf(region).map((server) => server.kill()),
    ]);
    isolated(`kill ${region.name}`, true);
    return async () => {
      isolated(`kill ${region.name}`, false);
      const dead = serversOf(region).filter(({ running }) => !running);
      await Promise.all(dead.map((server) => server.restart()));
    };
  },
  "full-memory": async (_fault, region, { idle }) => {
    await (await primaryOf(region)).command("config", "set", "maxmemory", "1mb").catch(idle);
    return async () => {
      const { primary, replicas } = region.redis;
      for (const server of [primary, ...replicas]) {
        await server.command("config", "set", "maxmemory", "0").catch(() => undefined);
      }
    };
  },
  "full-disk": async (_fault, region, { idle }) => {
    const primary = await primaryOf(region);
    if (!(await fillDisk(primary))) idle();
    return async () => {
      if (!primary.running) await primary.restart();
      else await primary.kill().then(() => primary.restart());
      await follow(primary, region);
    };
  },
  "lose-disk": async ({ dice, forMs }, region, { idle, stopped }) => {
    const primary = await primaryOf(region);
    const { redis } = region;
    const replicas = [redis.primary, ...redis.replicas].filter((one) => one !== primary);
    const lost = dice < 0.5 ? primary : replicas[Math.floor((2 * dice - 1) * replicas.length)];
    if (lost === undefined) {
      idle();
      return () => undefined;
    }
    await lost.kill();
    await sleep(forMs);
    if (lost === primary) await promotedFrom(primary, region, stopped);
    return async () => {
      const now = await primaryOf(region);
      // Where no other member was promoted, this one has the only data that counts.
      if (now !== lost) return await joinAnew(lost, now);
      idle();
      await lost.restart();
    };
  },
  "stale-replica": async ({ forMs }, region, { idle, stopped }) => {
    const primary = await primaryOf(region);
    const { redis } = region;
    const replica = [redis.primary, ...redis.replicas].find((one) => one !== primary);
    if (replica === undefined) {
      idle();
      return () => undefined;
    }
    await replica.kill();
    await sleep(forMs);
    await primary.kill();
    await replica.restart();
    if (!(await promotedFrom(primary, region, stopped))) idle();
    return async () => {
      if (!primary.running) await primary.restart();
      await follow(primary, region);
    };
  },
  "change-members": async (_fault, region, { idle, stopped }) => {
    const primary = await primaryOf(region);
    const { redis } = region;
    const gone = [redis.primary, ...redis.replicas].find((one) => one !== primary);
    if (gone === undefined) {
      idle();
      return () => undefined;
    }
    await gone.kill();
    for (const sentinel of redis.sentinels.filter(({ running }) => running)) {
      await sentinel.command("sentinel", "reset", sentinelName);
    }
    const config = region.node(0).configFile;
    const forget = ["store", "replicas", "--forget", gone.address, "--config", config];
    await until(`${gone.address} forgotten`, async () => {
      const { code, err } = await holdfast(...forget);
      return code === 0 || err;
    });
    return async () => {
      await joinAnew(gone, await primaryOf(region));
      await known(gone, region, stopped);
    };
  },
  "corrupt-record": async ({ dice }, region, { anyObject, afterwards, idle, readAt }) => {
    const id = anyObject(dice);
    const primary = await primaryOf(region);
    const record =
      id === undefined ? undefined : await recordOf(primary, id).catch(() => undefined);
    if (id === undefined || record === undefined) {
      idle();
      return () => undefined;
    }
    const noise = randomBytes(record.value.length);
    await primary.command("set", record.key, noise).catch(idle);
    // Damage is found when the record is read: before the other region's copy can be lost too.
    afterwards(`${id} repaired in region ${region.name}`, async () => {
      await readAt(region.name as RegionName, id);
      const [now] = await (await primaryOf(region)).buffers("mget", record.key);
      return now?.equals(noise) === false;
    });
    return () => undefined;
  },
  flush: async (_fault, region, { emptied }) => {
    emptied(region.name as RegionName);
    await (await primaryOf(region)).command("flushall");
    return async () => {
      const config = region.node(0).configFile;
      for (let tries = 60; tries > 0; tries--) {
        const { code } = await holdfast("store", "init", "--config", config);
        if (code === 0) return;
        await sleep(500);
      }
      throw new Error(`store init of region ${region.name} does not succeed`);
    };
  },
  "kill-locks": async (_fault, region) => {
    await Promise.all(region.lockMasters.map((one) => one.kill()));
    return async () => {
      const dead = region.lockMasters.filter(({ running }) => !running);
      await Promise.all(dead.map((one) => one.restart()));
    };
  },
};

/** Restarts everything that does not run, as a supervisor does; does not wait for nodes. */
export async function revive(both: TwoRegions): Promise<void> {
  for (const region of both.regions) {
    const dead = serversOf(region).filter(({ running }) => !running);
    await Promise.all(dead.map((server) => server.restart()));
    for (const node of region.nodes) if (!node.running) node.launch();
  }
}

async function killNode(node: NodeProcess, { died }: FaultContext): Promise<void> {
  await node.kill();
  died(node);
}

function freeze(server: RedisServer, idle: () => void): Mend {
  if (server.running) server.signal("SIGSTOP");
  else idle();
  return () => {
    if (server.running) server.signal("SIGCONT");
  };
}

function serversOf({ redis, lockMasters }: Region): readonly RedisServer[] {
  return [redis.primary, ...redis.replicas, ...redis.sentinels, ...lockMasters];
}

/** Waits until another member is promoted, for a bounded time; whether one was. */
async function promotedFrom(
  primary: RedisServer,
  region: Region,
  stopped: AbortSignal,
): Promise<boolean> {
  for (let leftMs = promotionMs; leftMs > 0 && !stopped.aborted; leftMs -= 200) {
    if ((await primaryOf(region)) !== primary) return true;
    await sleep(200);
  }
  return false;
}

/** The Redis that a Sentinel names as primary; the first server if no Sentinel answers. */
export async function primaryOf({ redis }: Region): Promise<RedisServer> {
  for (const sentinel of redis.sentinels) {
    if (!sentinel.running) continue;
    const asked = sentinel.command("sentinel", "get-master-addr-by-name", sentinelName);
    const address = await asked.catch(() => undefined);
    if (Array.isArray(address)) return redis.at(address.join(":"));
  }
  return redis.primary;
}

/** Waits until the Sentinels list a new replica, as an operator does: one that they do not know follows no fail-over. */
async function known(
  { address }: RedisServer,
  { redis }: Region,
  stopped: AbortSignal,
): Promise<void> {
  await until(`the Sentinels know ${address}`, async () => {
    const lists = redis.sentinels
      .filter(({ running }) => running)
      .map((one) => one.command("sentinel", "replicas", sentinelName).catch(() => []));
    const listed = (await Promise.all(lists)).map((list) => JSON.stringify(list));
    return stopped.aborted || listed.every((list) => list.includes(`"${address}"`));
  });
}

/** Makes a returned Redis follow the primary that the Sentinels name, as a supervisor does. */
async function follow(server: RedisServer, region: Region): Promise<void> {
  const primary = await primaryOf(region);
  if (primary === server) return;
  await server.command("replicaof", primary.host, primary.port).catch(() => undefined);
}
