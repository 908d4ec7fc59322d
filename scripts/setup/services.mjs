import { join } from "node:path";
import {
  findExecutable,
  ownToolsDirectory,
  pathWithTools,
  valkeyDirectory,
} from "../redis-path.mjs";
import { localDirectory, say } from "./common.mjs";
import { makeLauncher, unpack, unpackedProgram } from "./unpack.mjs";

const home = join(localDirectory, "tools");

/**
 * Where a program is: on PATH, or unpacked here. Debian puts some where only root looks.
 * @param {string} name
 */
export function findTool(name) {
  return findExecutable(name, `${pathWithTools()}:/usr/sbin`);
}

/**
 * Brings programs that Debian installs as services of the system. They are unpacked into `.holdfast`: installed, they
 * would start and listen at once.
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

/** Brings Prometheus for the dashboards where that is possible; who needs it says what to do where not. */
export async function bringPrometheus() {
  if (findTool("prometheus") !== undefined) return;
  say("bringing Prometheus");
  await bringServices(["prometheus"], ["prometheus", "promtool"]);
}

/** Valkey under the names of Redis' programs, in a folder of its own. */
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
