import type { RedisServer } from "./redis.ts";

/** Puts these keys in the place of all that a Redis has, in one step. */
export async function replaceAll(redis: RedisServer, keys: readonly (readonly [Buffer, Buffer])[]) {
  const script =
    'redis.call("FLUSHALL") for at = 1, #ARGV, 2 do redis.call("RESTORE", ARGV[at], 0, ARGV[at + 1]) end';
  await redis.command("eval", script, 0, ...keys.flat());
}

/** Every key with its content. */
export async function dumpOf(redis: RedisServer): Promise<(readonly [Buffer, Buffer])[]> {
  const keys = await redis.buffers("keys", "*");
  return await Promise.all(
    keys.map(
      async (key) => [key, (await redis.buffers("dump", key)) as unknown as Buffer] as const,
    ),
  );
}
