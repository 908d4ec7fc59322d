import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, run, SetUpError } from "./common.mjs";

const lock = "package-lock.json";

/**
 * Installs into `home` the packages that `source/package-lock.json` names; npm refuses each whose SHA-512 differs from the
 * one in that file. Runs none of their scripts. Does nothing if `home` has them.
 * @param {string} name for messages and the log
 * @param {string} source
 * @param {string} home
 * @param {readonly string[]} [options] of npm
 */
export async function installLocked(name, source, home, options = []) {
  if (isInstalled(source, home)) return;
  const npm = findExecutable("npm");
  if (npm === undefined) {
    throw new SetUpError("npm is not on PATH: install npm (Debian: apt-get install npm)");
  }
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  for (const file of ["package.json", lock]) cpSync(join(source, file), join(home, file));
  const all = ["--ignore-scripts", "--include=optional", "--prefer-offline"];
  const quiet = ["--no-audit", "--no-fund"];
  const args = ["ci", ...all, ...quiet, ...options];
  const { ok, log, error } = await run(name, npm, args, { cwd: home });
  if (ok && isInstalled(source, home)) return;
  rmSync(home, { recursive: true, force: true });
  if (readFileSync(join(root, log), "utf8").includes("EINTEGRITY")) {
    throw new SetUpError(
      `${name} from the registry is not the one that ${relative(root, join(source, lock))} names (another SHA-512): nothing was installed (see ${log})`,
    );
  }
  throw new SetUpError(`${name} could not be installed: ${error} (see ${log})`);
}

/**
 * @param {string} source
 * @param {string} home
 */
function isInstalled(source, home) {
  // npm writes the second file last.
  const [installed, done] = [join(home, lock), join(home, "node_modules", `.${lock}`)];
  if (!existsSync(installed) || !existsSync(done)) return false;
  return readFileSync(installed, "utf8") === readFileSync(join(source, lock), "utf8");
}
