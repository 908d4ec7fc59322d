import type { RedisServer } from "./redis.ts";

/** An object's record, whose key is its partition's prefix and the identifier's 16 bytes. */
export async function recordOf(
  redis: RedisServer,
  id: string,
): Promise<{ key: Buffer; value: Buffer }> {
  const tail = Buffer.from(id.replaceAll("-", ""), "hex");
  const partitions = Array.from({ length: 64 }, (_, at) => `p${String(at).padStart(2, "0")}`);
  for (const partition of [...partitions, "sys"]) {
    const key = Buffer.concat([Buffer.from(`{${partition}}:o:`), tail]);
    if ((await redis.command("exists", key)) !== 1) continue;
    const [value] = await redis.buffers("mget", key);
    if (value !== undefined) return { key, value };
  }
  throw new Error(`${id} is not in the store`);
}
