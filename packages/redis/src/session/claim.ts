import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import { readReply } from "../connection/replies.ts";
import type { Scripts } from "../connection/scripts.ts";

/**
 * Makes a store a region's where it is nobody's yet. Refuses another region's: what one region keeps there alone would
 * count as kept in both.
 */
export async function claim(
  connection: Connection,
  scripts: Scripts,
  region: string,
): Promise<void> {
  const keys = [partitionKeys(sysPartition).head, sysKeys.region];
  const { rest } = readReply(await connection.run(scripts.claim, keys, [region]));
  const owner = rest[0] === undefined ? region : String(rest[0]);
  if (owner === region) return;
  throw new StoreUnavailable(
    "unsafe",
    `Redis ${connection.address} holds the store of region ${owner}, and this node is of region ${region}: each region needs a Redis of its own`,
  );
}
