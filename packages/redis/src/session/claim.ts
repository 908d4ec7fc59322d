import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import { type Connection, runScript } from "../connection/connection.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import { readReply } from "../connection/replies.ts";
import type { Scripts } from "../connection/scripts.ts";

/**
 * Assigns a store without an owner to a region. Refuses another region's store: data that is only
 * there would count as kept in both regions.
 */
export async function claim(
  connection: Connection,
  scripts: Scripts,
  region: string,
): Promise<void> {
  const keys = [partitionKeys(sysPartition).head, sysKeys.region];
  const { rest } = readReply(await runScript(connection, scripts.claim, keys, [region]));
  const owner = rest[0] === undefined ? region : String(rest[0]);
  if (owner === region) return;
  throw new StoreUnavailable(
    "unsafe",
    `Redis ${connection.address} holds the store of region ${owner}, and this node is of region ${region}: each region needs a Redis of its own`,
  );
}
