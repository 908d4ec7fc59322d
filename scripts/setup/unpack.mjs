import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { root, run } from "./common.mjs";

/** Dependencies of Debian packages that are not shared libraries and that no program needs. */
const notNeeded = /^(fonts-|libjs-|adduser$|lsb-base$)/;

/**
 * Downloads Debian packages with their missing dependencies, and unpacks them into `home`. Any user may do that.
 * Nothing is installed, so no service starts.
 * @param {string} home
 * @param {readonly string[]} names
 */
export async function unpack(home, names) {
  const downloads = join(home, "download");
  const lists = join(home, "apt");
  for (const folder of ["state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(lists, folder), { recursive: true });
  }
  rmSync(downloads, { recursive: true, force: true });
  mkdirSync(downloads);
  const own = [
    ...["-o", `Dir::State=${join(lists, "state")}`, "-o", `Dir::Cache=${join(lists, "cache")}`],
    ...["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="],
  ];
  const done =
    (await download(downloads, names, [])) ||
    ((await run("unpack-lists", "apt-get", [...own, "-qq", "update"])).ok &&
      (await download(downloads, names, own)));
  const unpacked = done && (await unpackAll(home, downloads));
  rmSync(lists, { recursive: true, force: true });
  rmSync(downloads, { recursive: true, force: true });
  return unpacked;
}

/**
 * Without package lists apt can neither resolve dependencies nor download.
 * @param {string} folder
 * @param {readonly string[]} names
 * @param {readonly string[]} options
 */
async function download(folder, names, options) {
  const install = ["--simulate", "--no-install-recommends", "install", ...names];
  const { ok, log } = await run("unpack-simulate", "apt-get", [...options, ...install]);
  if (!ok) return false;
  const lacking = [...readFileSync(join(root, log), "utf8").matchAll(/^Inst (\S+)/gm)]
    .map(([, name = ""]) => name)
    .filter((name) => !notNeeded.test(name));
  const all = [...new Set([...names, ...lacking])];
  const args = [...options, "-qq", "download", ...all];
  return (await run("unpack-download", "apt-get", args, { cwd: folder })).ok;
}

/**
 * @param {string} home
 * @param {string} downloads
 */
async function unpackAll(home, downloads) {
  for (const file of readdirSync(downloads)) {
    const args = ["-x", join(downloads, file), join(home, "files")];
    if (!(await run("unpack", "dpkg-deb", args)).ok) return false;
  }
  return true;
}

/**
 * The unpacked program with this name.
 * @param {string} home
 * @param {string} name
 */
export function unpackedProgram(home, name) {
  return ["usr/bin", "usr/sbin"]
    .map((folder) => join(home, "files", folder, name))
    .find((file) => existsSync(file));
}

/**
 * Creates `launcher`, which runs a program with the shared libraries in `home` and under the launcher's own name, since
 * the role of some programs depends on it.
 * @param {string} launcher
 * @param {string} program
 * @param {string} home
 */
export function makeLauncher(launcher, program, home) {
  const folder = dirname(launcher);
  const named = join(dirname(folder), "names", launcher.slice(folder.length + 1));
  for (const file of [launcher, named]) {
    mkdirSync(dirname(file), { recursive: true });
    rmSync(file, { force: true });
  }
  symlinkSync(program, named);
  writeFileSync(launcher, `#!/bin/sh\n${libraries(home)}exec "${named}" "$@"\n`);
  chmodSync(launcher, 0o755);
}

/** @param {string} home */
function libraries(home) {
  const parent = join(home, "files/usr/lib");
  if (!existsSync(parent)) return "";
  const folders = readdirSync(parent).filter((name) => name.endsWith("-linux-gnu"));
  if (folders.length === 0) return "";
  const path = folders.map((name) => join(parent, name)).join(":");
  return `export LD_LIBRARY_PATH="${path}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n`;
}
