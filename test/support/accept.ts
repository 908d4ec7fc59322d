import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { holdfast } from "./command-line.ts";
import { createKey } from "./keys.ts";
import { recordOf } from "./record.ts";
import type { RedisServer } from "./redis.ts";

/** Removes a record that a node remembers from Redis, and accepts that; its file has what it learned a second later. */
export async function acceptRemoved(
  client: KmipClient,
  redis: RedisServer,
  configFile: string,
): Promise<void> {
  const made: string[] = [];
  await until("an order", async () => {
    made.push(await createKey(client));
    const id = made.at(-3);
    if (id === undefined) return false;
    await redis.command("del", (await recordOf(redis, id)).key);
    const order = ["store", "accept", "--record", id, "--yes", "--config", configFile];
    return (await holdfast(...order)).out.includes("is accepted");
  });
}
