import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Where the set-up puts Redis if the system has none that is new enough. */
export const ownRedisDirectory = join(root, ".holdfast", "redis", "bin");

/** Where the set-up puts Valkey under the names of Redis' programs, for tests. */
export const valkeyDirectory = join(root, ".holdfast", "valkey", "bin");

/** Where the set-up puts programs that Debian would install as services. */
export const ownToolsDirectory = join(root, ".holdfast", "tools", "bin");

/** The oldest Redis with WAITAOF, without which nothing durable can be promised. */
const redisVersionMin = "7.2.0";

/**
 * The first executable with this name on a search path.
 * @param {string} name
 * @param {string} path
 * @returns {string | undefined}
 */
export function findExecutable(name, path = process.env["PATH"] ?? "") {
  return path
    .split(delimiter)
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

/**
 * Absolute path of `redis-server`, `redis-sentinel` or `redis-cli`. The set-up's own copy comes
 * first: it exists only if the system's was missing or too old.
 * @param {"redis-server" | "redis-sentinel" | "redis-cli"} name
 * @returns {string | undefined}
 */
export function findRedis(name, path = process.env["PATH"] ?? "") {
  return findExecutable(name, ownRedisDirectory + delimiter + path);
}

/**
 * A search path on which `node` is the pinned Node 24 and `redis-server` is the one that the set-up chose. The tools
 * that it unpacked come last: they are for systems without these tools.
 * @param {string} path
 * @returns {string}
 */
export function pathWithTools(path = process.env["PATH"] ?? "") {
  const first = [join(root, "node_modules", ".bin"), ownRedisDirectory];
  const own = [...first, ownToolsDirectory];
  const rest = path.split(delimiter).filter((directory) => !own.includes(directory));
  return [...first, ...rest, ownToolsDirectory].join(delimiter);
}

/**
 * The version that a redis-server reports; undefined if it does not run.
 * @param {string} server
 * @returns {string | undefined}
 */
export function redisVersion(server) {
  const { stdout } = spawnSync(server, ["--version"], { encoding: "utf8", timeout: 10_000 });
  return /\bv=(\d+\.\d+\.\d+)/.exec(stdout ?? "")?.[1];
}

/**
 * @param {string} version
 * @returns {boolean}
 */
export function isRedisNewEnough(version) {
  return version.localeCompare(redisVersionMin, "en", { numeric: true }) >= 0;
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
