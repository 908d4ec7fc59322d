import { createHash } from "node:crypto";
import { existsSync, linkSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { localDirectory, root, run, SetUpError, say } from "./common.mjs";
import { installLocked } from "./npm.mjs";

const pnpmHome = join(localDirectory, "pnpm");
/** The package with pnpm's program for this machine. */
const pnpmExecutable = `@pnpm/exe.linux-${process.arch}`;
const stampFile = join(root, "node_modules", ".holdfast-stamp");

/** The pinned Node that runs Holdfast; the one that started npm may be older. */
export const node24 = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");

/** Whether node_modules matches the lock file, and was installed in this same folder. */
export function packagesAreThere() {
  if (!existsSync(node24) || !existsSync(stampFile)) return false;
  return readFileSync(stampFile, "utf8") === stamp();
}

/** Installs the locked packages, including Node 24. */
export async function installPackages() {
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    throw new SetUpError(
      `Holdfast runs on Linux, x64 or arm64, and this is ${process.platform} ${process.arch}: use a container or a virtual machine`,
    );
  }
  say("installing packages (the first time this takes up to a minute)");
  const { ok, log, error } = await runPnpm("packages", ["install", "--frozen-lockfile"]);
  if (!ok) throw new SetUpError(`packages could not be installed: ${error} (see ${log})`);
  if (!existsSync(node24)) {
    throw new SetUpError(`the package with Node 24 was not installed (see ${log})`);
  }
  writeFileSync(stampFile, stamp());
}

/**
 * Runs pnpm in the version, and with the SHA-512, that `pnpm/package-lock.json` names; installs it if it is missing.
 * @param {string} log name of the log in `.holdfast/log`
 * @param {readonly string[]} args
 * @param {string} [cwd]
 */
export async function runPnpm(log, args, cwd = root) {
  const lockFile = join(root, "scripts", "setup", "pnpm", "package-lock.json");
  await installLocked(lockFile, ["pnpm", pnpmExecutable], pnpmHome);
  const env = { ...process.env, CI: "true", ...nodeHeaders() };
  return run(log, pnpmProgram(), args, { cwd, env });
}

/** pnpm's program, beside its node-gyp: the package's own install script, which does not run, would put it there. */
function pnpmProgram() {
  const packages = join(pnpmHome, "node_modules");
  const program = join(packages, "pnpm", "pnpm-native");
  if (!existsSync(program)) {
    linkSync(join(packages, pnpmExecutable, "pnpm"), program);
  }
  return program;
}

/** A digest that changes with the lock file, with any manifest, and with the folder, since the links are absolute. */
function stamp() {
  const manifests = readdirSync(join(root, "packages")).map((name) => `packages/${name}`);
  const files = [
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    ...["", "docs", "test", ...manifests.sort()].map((folder) => join(folder, "package.json")),
  ];
  const hash = createHash("sha256").update(`${root}\0${process.platform}\0${process.arch}\0`);
  for (const file of files.filter((name) => existsSync(join(root, name)))) {
    hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  }
  return hash.digest("hex");
}

/** Environment with which native packages compile against the headers that came with the pinned Node. */
function nodeHeaders() {
  return { npm_config_nodedir: dirname(dirname(node24)) };
}
