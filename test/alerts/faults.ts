import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "@holdfast/testing";
import { holdfast } from "../support/command-line.ts";
import { createKey, keyBytes } from "../support/keys.ts";
import type { RedisServer } from "../support/redis.ts";
import { startRootRegions } from "../support/root-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";

/** Two regions under load, with key managers, audit sinks and backups. */
export interface AlertWorld extends AsyncDisposable {
  readonly both: TwoRegions;
}

/** Ends a fault; the caller starts the processes again that the fault killed. */
type Mend = () => Promise<void> | void;

/** One fault and what it must raise: exactly these alerts, and no others. */
export interface Fault {
  readonly name: string;
  /** What happens, for people. */
  readonly text: string;
  /** `NAME WHAT`: the alert and the node, region, certificate owner or backup that it is about. */
  readonly alerts: readonly string[];
  /** Seconds within which all of them arrive, with the times as they are shipped. */
  readonly boundS: number;
  readonly make: (world: AlertWorld) => Promise<Mend>;
}

const instance = "vcenter";
const nothing: Mend = () => undefined;
const certificateDays = 400;

/** In the order in which they are made. */
export const faults: readonly Fault[] = [
  {
    name: "kill-node",
    text: "kill -9 of a node",
    alerts: ["HoldfastNodeGone a2"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("a2");
      return nothing;
    },
  },
  {
    name: "freeze-node",
    text: "a node is stopped (SIGSTOP) and keeps its connections",
    alerts: ["HoldfastNodeGone b2"],
    boundS: 120,
    make: async ({ both }) => {
      both.freeze("b2");
      return () => both.thaw("b2");
    },
  },
  {
    name: "freeze-redis",
    text: "a region's primary Redis is stopped (SIGSTOP)",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      both.freeze("redis-a");
      return () => both.thaw("redis-a");
    },
  },
  {
    name: "kill-redis",
    text: "kill -9 of a region's primary Redis",
    alerts: ["HoldfastStoreCarriedByOtherRegion b"],
    boundS: 90,
    make: async ({ both }) => {
      await both.kill("redis-b");
      return nothing;
    },
  },
  {
    name: "kill-replica",
    text: "kill -9 of a Redis replica",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      await replicaOf(both, "a").kill();
      return nothing;
    },
  },
  {
    name: "cut-one-way",
    text: "region a's nodes do not reach region b's; b's reach a's",
    alerts: ["HoldfastOtherRegionUnreachable a"],
    boundS: 120,
    make: async ({ both }) => {
      await both.cut("a→b");
      return () => both.heal();
    },
  },
  {
    name: "cut",
    text: "the line between the regions is cut",
    alerts: ["HoldfastOtherRegionUnreachable a", "HoldfastOtherRegionUnreachable b"],
    boundS: 120,
    make: async ({ both }) => {
      await both.cut();
      return () => both.heal();
    },
  },
  {
    name: "kill-locks",
    text: "kill -9 of a region's lock masters",
    alerts: ["HoldfastNoLeader a"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("lock-a");
      return nothing;
    },
  },
  {
    name: "kill-region",
    text: "kill -9 of everything of a region",
    alerts: ["HoldfastRegionGone b"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("b");
      return nothing;
    },
  },
  {
    name: "kill-all",
    text: "kill -9 of everything of both regions",
    alerts: ["HoldfastAllGone"],
    boundS: 120,
    make: async ({ both }) => {
      await Promise.all([both.kill("a"), both.kill("b")]);
      return nothing;
    },
  },
  {
    name: "slow-disk",
    text: "a replica's disk is slow: it stands still for 0.4 s again and again",
    alerts: ["HoldfastStoreSlow a"],
    boundS: 300,
    make: async ({ both }) => pulse(replicaOf(both, "a"), 400, 150),
  },
  {
    name: "memory-nearly-full",
    text: "a region's Redis uses 85 % of maxmemory",
    alerts: ["HoldfastStoreMemory a"],
    boundS: 90,
    make: async ({ both }) => {
      const { primary } = both.a.redis;
      const used = Number(await primary.info("used_memory"));
      return memory(primary, String(Math.round(used / 0.85)));
    },
  },
  {
    name: "disk-full",
    text: "a region's primary Redis cannot append to its file: it ends itself",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      const { primary } = both.a.redis;
      limitFiles(primary, 1);
      await until("Redis to end", () => !primary.running);
      return nothing;
    },
  },
];

/** Starts two regions of two nodes with everything, and clients that make and read keys at each node. */
export async function startAlertWorld(): Promise<AlertWorld> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-alert-world-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await Promise.all(["audit-a", "audit-b", "backups"].map((name) => mkdir(join(folder, name))));
  const keyFile = join(folder, "backup-key.json");
  const times = { kekCacheMs: 10_000, graceMs: 3_600_000, revalidateMs: 2_000, deadlineMs: 5_000 };
  const audit = (region: string) => ({
    audit: { file: { path: join(folder, `audit-${region}`, "events.jsonl") } },
  });
  const backup = { keyFile, directory: join(folder, "backups"), everyMs: 60_000 };
  const roots = stack.use(
    await startRootRegions(
      [instance],
      times,
      2,
      {},
      {
        replicas: 1,
        days: certificateDays,
        // A busy machine is slower than the line between regions, and a change that waits too long is alone.
        settings: { backup, peer: { pushTimeoutMs: 10_000 } },
        only: { a: audit("a"), b: audit("b") },
        prepare: async ({ a }) => {
          const made = await holdfast("backup", "key", "init", "--config", a.node(0).configFile);
          if (made.code !== 0) throw new Error(made.err);
        },
      },
    ),
  );
  const { both } = roots;
  const clients = stack.use(await ClientsOfAll.open(both, instance));
  const objects: string[] = [];
  const stopping = new AbortController();
  const load = clients.all.map(async (client) => {
    while (!stopping.signal.aborted) {
      const id = await createKey(client).catch(() => undefined);
      if (id !== undefined) objects.push(id);
      await keyBytes(client, objects.at(-1) ?? "").catch(() => undefined);
      await sleep(100);
    }
  });
  stack.defer(async () => {
    stopping.abort();
    await Promise.all(load);
  });
  await until("an object", () => objects.length > 0);
  const all = stack.move();
  return {
    both,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function replicaOf(both: TwoRegions, region: "a" | "b"): RedisServer {
  const [replica] = both.region(region).redis.replicas;
  if (replica === undefined) throw new Error("the region has no replica");
  return replica;
}

/** Stops a Redis for a moment again and again, as a disk that is too slow does. */
function pulse(server: RedisServer, stoppedMs: number, runningMs: number): Mend {
  const ended = new AbortController();
  const pulses = (async () => {
    while (!ended.signal.aborted) {
      server.signal("SIGSTOP");
      await sleep(stoppedMs);
      server.signal("SIGCONT");
      await sleep(runningMs);
    }
  })();
  return async () => {
    ended.abort();
    await pulses;
  };
}

async function memory(primary: RedisServer, bytes: string): Promise<Mend> {
  await primary.command("config", "set", "maxmemory", bytes);
  return async () => {
    await primary.command("config", "set", "maxmemory", "0");
  };
}

/** How large a file the process may write: beyond that a write fails, as on a full disk. */
function limitFiles({ pid }: RedisServer, bytes: number | "unlimited"): void {
  execFileSync("prlimit", ["--pid", `${pid}`, `--fsize=${bytes}:unlimited`]);
}
