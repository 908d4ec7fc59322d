import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  findExecutable,
  findRedis,
  isRedisNewEnough,
  ownRedisDirectory,
  redisVersion,
} from "../redis-path.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { localDirectory, run, SetUpError, say } from "./common.mjs";

const home = join(localDirectory, "redis");
const programs = /** @type {const} */ (["redis-server", "redis-sentinel", "redis-cli"]);
const aptPackages = ["redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];
const byHand =
  "run: sudo apt-get update && sudo apt-get install -y --no-install-recommends redis-tools";

/** True when a Redis server and Sentinel new enough for WAITAOF can be started. */
export function redisIsThere() {
  const server = findRedis("redis-server");
  if (server === undefined || findRedis("redis-sentinel") === undefined) return false;
  const version = redisVersion(server);
  return version !== undefined && isRedisNewEnough(version);
}

/** Brings Redis: by apt for root, otherwise unpacked into `.holdfast` without root. */
export async function bringRedis() {
  if (findExecutable("apt-get") === undefined) {
    throw new SetUpError(
      "Redis 7.2 or newer is needed: put redis-server and redis-sentinel on PATH",
    );
  }
  say("bringing Redis");
  if (canInstallSystemPackages() && (await aptInstall(["redis-tools"]))) {
    useServerInside("/usr/bin");
    if (redisIsThere()) return;
  }
  if (await unpack()) {
    useServerInside(join(home, "files/usr/bin"));
    if (redisIsThere()) return;
  }
  rmSync(ownRedisDirectory, { recursive: true, force: true });
  throw new SetUpError(`Redis 7.2 or newer could not be brought here; ${byHand}`);
}

/** Downloads the Debian packages as any user may and unpacks them; with lists of our own if need be. */
async function unpack() {
  const downloads = join(home, "download");
  const lists = join(home, "apt");
  rmSync(home, { recursive: true, force: true });
  for (const folder of ["state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(lists, folder), { recursive: true });
  }
  mkdirSync(downloads, { recursive: true });
  const own = [
    ...["-o", `Dir::State=${join(lists, "state")}`, "-o", `Dir::Cache=${join(lists, "cache")}`],
    ...["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="],
  ];
  /** @param {readonly string[]} options */
  const download = (options) =>
    run("redis-download", "apt-get", [...options, "-qq", "download", ...aptPackages], {
      cwd: downloads,
    });
  const done =
    (await download([])).ok ||
    ((await run("redis-lists", "apt-get", [...own, "-qq", "update"])).ok &&
      (await download(own)).ok);
  const unpacked = done && (await unpackAll(downloads));
  rmSync(lists, { recursive: true, force: true });
  rmSync(downloads, { recursive: true, force: true });
  return unpacked;
}

/** @param {string} downloads */
async function unpackAll(downloads) {
  for (const file of readdirSync(downloads)) {
    const args = ["-x", join(downloads, file), join(home, "files")];
    if (!(await run("redis-unpack", "dpkg-deb", args)).ok) return false;
  }
  return true;
}

/**
 * Debian's redis-tools holds the server too: one program that acts by the name it was started
 * under. The package redis-server would add nothing but that name and a daemon of the system's.
 * @param {string} binaries
 */
function useServerInside(binaries) {
  const names = join(home, "names");
  rmSync(ownRedisDirectory, { recursive: true, force: true });
  rmSync(names, { recursive: true, force: true });
  mkdirSync(ownRedisDirectory, { recursive: true });
  mkdirSync(names, { recursive: true });
  for (const name of programs) {
    const program = join(binaries, name === "redis-cli" ? name : "redis-check-rdb");
    const named = join(names, name);
    symlinkSync(program, named);
    const launcher = join(ownRedisDirectory, name);
    writeFileSync(launcher, `#!/bin/sh\n${libraries()}exec "${named}" "$@"\n`);
    chmodSync(launcher, 0o755);
  }
}

/** The unpacked shared libraries, for the unpacked server only. */
function libraries() {
  const parent = join(home, "files/usr/lib");
  if (!existsSync(parent)) return "";
  const folders = readdirSync(parent).filter((name) => name.endsWith("-linux-gnu"));
  const path = folders.map((name) => join(parent, name)).join(":");
  return `export LD_LIBRARY_PATH="${path}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n`;
}
