import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, run, SetUpError } from "./common.mjs";

const sha512 = /^sha512-[\w+/]{86}==$/;

/**
 * Installs packages without dependencies into `home`, in the version that a lock file of npm names; npm refuses each whose
 * SHA-512 differs from the one in that file. Runs none of their scripts. Does nothing if `home` has them.
 * @param {string} lockFile
 * @param {readonly string[]} names the first one is the name of the log
 * @param {string} home
 */
export async function installLocked(lockFile, names, home) {
  const { manifest, lock } = lockOf(lockFile, names);
  if (isInstalled(home, lock)) return;
  const [name = ""] = names;
  const npm = findExecutable("npm");
  if (npm === undefined) {
    throw new SetUpError("npm is not on PATH: install npm (Debian: apt-get install npm)");
  }
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "package.json"), manifest);
  writeFileSync(join(home, "package-lock.json"), lock);
  const args = ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
  const { ok, log, error } = await run(name, npm, args, { cwd: home });
  if (ok && isInstalled(home, lock)) return;
  rmSync(home, { recursive: true, force: true });
  if (readFileSync(join(root, log), "utf8").includes("EINTEGRITY")) {
    throw new SetUpError(
      `${name} from the registry is not the one that ${relative(root, lockFile)} names (another SHA-512): nothing was installed (see ${log})`,
    );
  }
  throw new SetUpError(`${name} could not be installed: ${error} (see ${log})`);
}

/**
 * A manifest and a lock file with these packages only; throws a `SetUpError` if the lock file lacks one of them or its SHA-512,
 * without which npm would check nothing. They are not optional in it: npm says nothing when it cannot install an
 * optional package.
 * @param {string} lockFile
 * @param {readonly string[]} names
 */
function lockOf(lockFile, names) {
  /** @type {Record<string, { version?: string, integrity?: string }>} */
  const all = JSON.parse(readFileSync(lockFile, "utf8")).packages;
  const rows = names.map((name) => {
    const { version, integrity } = all[`node_modules/${name}`] ?? {};
    if (version === undefined || !sha512.test(integrity ?? "")) {
      throw new SetUpError(
        `${relative(root, lockFile)} has no version and SHA-512 of ${name}: restore this file from the repository`,
      );
    }
    return { name, version, integrity };
  });
  const dependencies = Object.fromEntries(rows.map(({ name, version }) => [name, version]));
  const packages = Object.fromEntries(
    rows.map(({ name, ...pinned }) => [`node_modules/${name}`, pinned]),
  );
  return {
    manifest: JSON.stringify({ private: true, dependencies }),
    lock: JSON.stringify({
      lockfileVersion: 3,
      requires: true,
      packages: { "": { dependencies }, ...packages },
    }),
  };
}

/**
 * @param {string} home
 * @param {string} lock
 */
function isInstalled(home, lock) {
  // npm writes the second file last.
  const [installed, done] = ["package-lock.json", "node_modules/.package-lock.json"];
  if (!existsSync(join(home, installed)) || !existsSync(join(home, done))) return false;
  return readFileSync(join(home, installed), "utf8") === lock;
}
