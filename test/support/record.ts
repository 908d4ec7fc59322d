import type { RedisServer } from "./redis.ts";

/** An object's record, whose key is its partition's prefix and the identifier's 16 bytes. */
export async function recordOf(
  redis: RedisServer,
  id: string,
): Promise<{ key: Buffer; value: Buffer }> {
  const tail = Buffer.from(id.replaceAll("-", ""), "hex");
  for (let partition = 0; partition < 64; partition++) {
    const prefix = `{p${String(partition).padStart(2, "0")}}:o:`;
    const key = Buffer.concat([Buffer.from(prefix), tail]);
    if ((await redis.command("exists", key)) !== 1) continue;
    const [value] = await redis.buffers("mget", key);
    if (value !== undefined) return { key, value };
  }
  throw new Error(`${id} is not in the store`);
}
