import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RedisServer } from "../support/redis.ts";

/** Starts a member without its data as a replica of another one, as `deploy/redis/start.sh` does with an empty disk. */
export async function joinAnew(member: RedisServer, primary: RedisServer): Promise<void> {
  await member.kill();
  const file = join(member.directory, "redis.conf");
  const lines = (await readFile(file, "utf8")).split("\n");
  const kept = lines.filter((line) => !/^(replicaof|slaveof)\b/i.test(line.trim()));
  await writeFile(file, [...kept, `replicaof ${primary.host} ${primary.port}`, ""].join("\n"));
  await member.restart({ empty: true });
}

/**
 * Lets no file of a Redis grow from now on, until it is started again; it ends at its next write, as on a full disk.
 * False where another fault of the same step has ended it.
 */
export async function fillDisk(server: RedisServer): Promise<boolean> {
  if (!server.running) return false;
  try {
    await promisify(execFile)("prlimit", [`--pid=${server.pid}`, "--fsize=1"]);
    return true;
  } catch (error) {
    if (server.running) throw error;
    return false;
  }
}
