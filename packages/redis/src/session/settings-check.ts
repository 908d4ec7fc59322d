import { StoreUnavailable } from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import { isReply, storeFailure } from "../connection/failure.ts";
import type { ConnectionSettings } from "../connection/options.ts";
import { readPairs } from "../connection/replies.ts";
import { readServerInfo, type ServerInfo } from "../connection/server-info.ts";

/**
 * Settings without which a Redis loses what it acknowledged, or makes clients wait. `INFO` shows two of them. It does not
 * show `appendfsync`, but `WAITAOF` counts what is on the disk regardless of that setting: under `everysec` each barrier
 * takes up to a second, and under `no` none is ever full, so nothing is acknowledged.
 */
const needed = {
  appendonly: "yes",
  appendfsync: "always",
  "maxmemory-policy": "noeviction",
} as const;

/** The first version with WAITAOF. */
const versionMin = [7, 2] as const;

/** Rejects with `StoreUnavailable("unsafe")` where a Redis would lose data; names the setting and its required value. */
export async function checkSettings(
  connection: Connection,
  settings: ConnectionSettings,
): Promise<void> {
  const { address, info } = connection;
  const wrong = wrongInfo(info) ?? (await wrongSetting(connection, settings.assumeSafe));
  if (wrong !== undefined) throw new StoreUnavailable("unsafe", `Redis ${address}: ${wrong}`);
}

/** What `INFO` alone shows to be wrong; no hosted Redis forbids `INFO`. */
export function wrongInfo(info: ServerInfo): string | undefined {
  const [major = 0, minor = 0] = info.version.split(".").map(Number);
  if (major < versionMin[0] || (major === versionMin[0] && minor < versionMin[1])) {
    return `version ${info.version} has no WAITAOF: use 7.2 or newer`;
  }
  if (info.cluster) return "Redis Cluster is not supported: set cluster-enabled no";
  if (!info.appendOnly) return mend("appendonly", "no");
  const policy = info.maxmemoryPolicy;
  if (policy !== undefined && policy !== needed["maxmemory-policy"]) {
    return mend("maxmemory-policy", policy);
  }
  return undefined;
}

async function wrongSetting(
  connection: Connection,
  assumeSafe: boolean,
): Promise<string | undefined> {
  const [outcome] = await connection.batch([["config", "GET", ...Object.keys(needed)]]);
  if (outcome === undefined || "error" in outcome) {
    // One that does not answer says nothing of its settings.
    if (!isReply(outcome?.error)) throw storeFailure(outcome?.error, connection.address);
    // The shipped users may not call CONFIG GET, since the settings include the replication
    // password.
    const info = readServerInfo(String(await connection.call("info")));
    if (assumeSafe || info.maxmemoryPolicy !== undefined) return wrongInfo(info);
    const why = "neither INFO nor CONFIG GET shows its settings, so they cannot be checked";
    return `${why}: allow CONFIG GET, or set assumeSafe when ${wanted()}`;
  }
  const found = readPairs(outcome.value);
  for (const name of Object.keys(needed) as (keyof typeof needed)[]) {
    const is = found.get(name);
    if (is !== needed[name]) return mend(name, is ?? "unknown");
  }
  return undefined;
}

function mend(name: keyof typeof needed, is: string): string {
  return `${name} is ${is}, which loses data: set ${name} ${needed[name]}`;
}

function wanted(): string {
  return Object.entries(needed)
    .map(([name, value]) => `${name} is ${value}`)
    .join(", ");
}

/** Checks replicas at their own addresses; returns those that could not be reached, or did not answer. */
export async function checkReplicas(
  settings: ConnectionSettings,
  addresses: readonly string[],
): Promise<readonly string[]> {
  const unreachable: string[] = [];
  await Promise.all(
    addresses.map(async (address) => {
      const connection = await settings.connections
        .to(settings, address, "check")
        .catch(() => undefined);
      if (connection === undefined) {
        unreachable.push(address);
        return;
      }
      try {
        await checkSettings(connection, settings);
      } catch (error) {
        if (error instanceof StoreUnavailable && error.failure === "unsafe") throw error;
        unreachable.push(address);
      } finally {
        connection.destroy("checked");
      }
    }),
  );
  return unreachable;
}
