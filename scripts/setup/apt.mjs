import { readdirSync } from "node:fs";
import { findExecutable } from "../redis-path.mjs";
import { run } from "./common.mjs";

/** Whether this user may install system packages here. */
export function canInstallSystemPackages() {
  return process.getuid?.() === 0 && findExecutable("apt-get") !== undefined;
}

/**
 * Installs Debian packages; refreshes the package lists where they are missing or outdated.
 * @param {readonly string[]} names
 * @returns {Promise<boolean>}
 */
export async function aptInstall(names) {
  const install = () =>
    apt("apt-install", ["install", "-y", "-qq", "--no-install-recommends", ...names]);
  if (hasPackageLists() && (await install())) return true;
  return (await apt("apt-update", ["update", "-qq"])) && (await install());
}

/**
 * @param {string} log
 * @param {readonly string[]} args
 */
async function apt(log, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  return (await run(log, "apt-get", [...lock, ...args], { env })).ok;
}

function hasPackageLists() {
  try {
    return readdirSync("/var/lib/apt/lists").some((name) => name.includes("_Packages"));
  } catch {
    return false;
  }
}
