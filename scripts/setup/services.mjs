import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  findExecutable,
  ownToolsDirectory,
  pathWithTools,
  valkeyDirectory,
} from "../redis-path.mjs";
import { localDirectory, run, say } from "./common.mjs";
import { makeLauncher, unpack, unpackedProgram } from "./unpack.mjs";

const home = join(localDirectory, "tools");

/**
 * Finds a program on PATH or among those unpacked here. Debian puts some into /usr/sbin, which is on root's PATH only.
 * @param {string} name
 */
export function findTool(name) {
  return findExecutable(name, `${pathWithTools()}:/usr/sbin`);
}

/**
 * Gets programs that Debian installs as system services. They are unpacked into `.holdfast`, because an installation
 * would start them at once.
 * @param {readonly string[]} packages
 * @param {readonly string[]} programs
 */
export async function bringServices(packages, programs) {
  if (findExecutable("apt-get") === undefined || !(await unpack(home, packages))) return;
  for (const name of programs) {
    const program = unpackedProgram(home, name);
    if (program !== undefined) makeLauncher(join(ownToolsDirectory, name), program, home);
  }
}

const policy = "/usr/sbin/policy-rc.d";
const refusal =
  "#!/bin/sh\n# Holdfast's set-up installs packages, and starts no service.\nexit 101\n";

/**
 * Installs Debian packages without starting their services, now or at the next boot.
 * @param {() => Promise<unknown>} install
 * @param {readonly string[]} units services that would start at the next boot
 */
export async function withoutServices(install, units) {
  // A killed set-up may have left its own file.
  const isOwn = !existsSync(policy) || readFileSync(policy, "utf8") === refusal;
  const end = () => isOwn && rmSync(policy, { force: true });
  const stop = () => {
    end();
    process.exit(130);
  };
  const known = units.filter((unit) => !hasUnit(unit));
  if (isOwn) writeFileSync(policy, refusal, { mode: 0o755 });
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await install();
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    end();
  }
  const fresh = known.filter(hasUnit);
  if (fresh.length > 0 && findExecutable("systemctl") !== undefined) {
    await run("disable", "systemctl", ["disable", ...fresh]);
  }
}

/** @param {string} unit */
function hasUnit(unit) {
  return existsSync(`/usr/lib/systemd/system/${unit}.service`);
}

/** Gets Prometheus for the dashboards if possible; otherwise the code that needs it says what to do. */
export async function bringPrometheus() {
  if (findTool("prometheus") !== undefined) return;
  say("installing Prometheus");
  await bringServices(["prometheus"], ["prometheus", "promtool"]);
}

/** Provides Valkey under the names of Redis' programs, in a separate folder. */
export function nameValkey() {
  const programs = {
    "redis-server": "valkey-server",
    "redis-sentinel": "valkey-server",
    "redis-cli": "valkey-cli",
  };
  for (const [name, valkeys] of Object.entries(programs)) {
    const program = unpackedProgram(home, valkeys) ?? findExecutable(valkeys);
    if (program !== undefined) makeLauncher(join(valkeyDirectory, name), program, home);
  }
}
