import { rmSync } from "node:fs";
import { join } from "node:path";
import {
  findExecutable,
  findRedis,
  isRedisNewEnough,
  ownRedisDirectory,
  redisVersion,
} from "../redis-path.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { localDirectory, SetUpError, say } from "./common.mjs";
import { makeLauncher, unpack } from "./unpack.mjs";

const home = join(localDirectory, "redis");
const programs = /** @type {const} */ (["redis-server", "redis-sentinel", "redis-cli"]);
const byHand =
  "run: sudo apt-get update && sudo apt-get install -y --no-install-recommends redis-tools";

/** Whether a Redis server and a Sentinel that are new enough for WAITAOF can be started. */
export function redisIsThere() {
  const server = findRedis("redis-server");
  if (server === undefined || findRedis("redis-sentinel") === undefined) return false;
  const version = redisVersion(server);
  return version !== undefined && isRedisNewEnough(version);
}

/** Installs Redis: with apt for root, otherwise unpacked into `.holdfast`. */
export async function bringRedis() {
  if (findExecutable("apt-get") === undefined) {
    throw new SetUpError(
      "Redis 7.2 or newer is needed: put redis-server and redis-sentinel on PATH",
    );
  }
  say("installing Redis");
  rmSync(home, { recursive: true, force: true });
  if (canInstallSystemPackages() && (await aptInstall(["redis-tools"]))) {
    useServerInside("/usr/bin");
    if (redisIsThere()) return;
  }
  if (await unpack(home, ["redis-tools"])) {
    useServerInside(join(home, "files/usr/bin"));
    if (redisIsThere()) return;
  }
  rmSync(ownRedisDirectory, { recursive: true, force: true });
  throw new SetUpError(`Redis 7.2 or newer could not be installed here; ${byHand}`);
}

/**
 * Debian's redis-tools also contains the server: one program whose role depends on the name that it is started
 * with. The package redis-server would only add that name and a system service.
 * @param {string} binaries
 */
function useServerInside(binaries) {
  for (const name of programs) {
    const program = join(binaries, name === "redis-cli" ? name : "redis-check-rdb");
    makeLauncher(join(ownRedisDirectory, name), program, home);
  }
}
