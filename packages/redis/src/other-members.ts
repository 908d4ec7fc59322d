import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Connection } from "./connection/connection.ts";
import { partitionKeys } from "./connection/keys.ts";
import type { ConnectionSettings } from "./connection/options.ts";
import { readPartitionHead } from "./connection/record-header.ts";
import { sleep } from "./connection/timers.ts";
import { sentinelMembers } from "./session/sentinels.ts";

/**
 * How often a member is tried before it counts as silent: a Sentinel that reconfigures a replica
 * closes its connections.
 */
const attempts = 4;
const pauseMs = 500;

/**
 * Asks every other member that is known (replicas of this empty primary, what the Sentinels know, `given` addresses)
 * whether it still holds a store. Rejects with `StoreUnavailable("unsafe")` if one does, or does not answer.
 */
export async function refuseOverStore(
  own: string,
  settings: ConnectionSettings,
  connected: readonly string[],
  given: readonly string[],
): Promise<void> {
  const listed = await sentinelMembers(settings);
  const others = new Set([...connected, ...listed, ...given]);
  others.delete(own);
  await Promise.all([...others].map((address) => refuseOver(address, settings, listed)));
}

async function refuseOver(
  address: string,
  settings: ConnectionSettings,
  listed: readonly string[],
): Promise<void> {
  const member = await reach(address, settings).catch((error: unknown) => error as Error);
  if (member instanceof Error) {
    const lost = listed.includes(address)
      ? `; if it is lost for good, run SENTINEL RESET ${settings.name} on each Sentinel`
      : "";
    throw new StoreUnavailable(
      "unsafe",
      `Redis ${address} belongs to this store and does not answer, so it may still hold the data: start it first${lost}`,
      { cause: member },
    );
  }
  try {
    const { keys } = member.info;
    if (keys === 0) return;
    // A replica that has lost its primary answers only INFO.
    const head = await member.call("get", partitionKeys(sysPartition).head).catch(() => null);
    const id = readPartitionHead(head as Buffer | null)?.storeId;
    const what = id === undefined ? `${keys} keys` : `store ${id} (${keys} keys)`;
    throw new StoreUnavailable(
      "unsafe",
      `Redis ${address} still holds ${what}, and a new store would erase that: promote it instead (docs/runbook.md, "A Redis lost its disk")`,
    );
  } finally {
    member.destroy("asked");
  }
}

async function reach(address: string, settings: ConnectionSettings): Promise<Connection> {
  for (let attempt = 1; attempt < attempts; attempt++) {
    try {
      return await settings.connections.to(settings, address, "check");
    } catch {
      await sleep(settings.timers, pauseMs);
    }
  }
  return settings.connections.to(settings, address, "check");
}
