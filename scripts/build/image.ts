import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findExecutable } from "../redis-path.mjs";
import { root, SetUpError } from "../setup/common.mjs";
import { must } from "./archives.ts";
import { productVersion, writeContents } from "./bundle.ts";
import type { SystemPackage } from "./contents.ts";
import { settle } from "./settle.ts";
import { installed, makeTree, ownTarget } from "./tree.ts";

/**
 * Distribution packages that a node needs: Node's C and C++ libraries, a shell that sets its limits, and what `fips: required`
 * starts with.
 */
const packages = [
  ...["base-files", "base-passwd", "libc6", "libstdc++6", "dash", "netbase", "tzdata"],
  ...["openssl", "openssl-provider-fips"],
];

/** Prints a line for each Debian package: name, version, architecture and the SHA-256 of its archive. */
const listing = `cd "$1/var/cache/apt/archives" && for file in *.deb; do
  dpkg-deb --show --showformat='\${Package}\\t\${Version}\\t\${Architecture}\\t' "$file"
  sha256sum < "$file"
done`;

function systemIn(list: string): readonly SystemPackage[] {
  const lines = readFileSync(list, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [name = "", version = "", architecture = "", digest = ""] = line.split(/[\t ]+/);
    return { name, version, architecture, digest };
  });
}

/**
 * Builds the image `holdfast:VERSION` with podman or docker; returns its name. `folder` is the build context.
 */
export async function makeImage(folder: string, command: readonly string[] = []): Promise<string> {
  const [program, ...options] = command.length > 0 ? command : [containerProgram()];
  await makeContext(folder);
  const name = `holdfast:${productVersion()}`;
  // Podman's own format has no health check; docker has no other format.
  const format = [program, ...options].includes("podman") ? ["--format=docker"] : [];
  await must(program ?? "", [...options, "build", ...format, "-t", name, folder]);
  return name;
}

/**
 * Creates the build context of the image: `usr`, `base.tar` and the Dockerfile. mmdebstrap builds the base from Debian
 * packages, so no image is pulled.
 */
export async function makeContext(folder: string): Promise<void> {
  if (findExecutable("mmdebstrap") === undefined) {
    throw new SetUpError("mmdebstrap is not on PATH: run apt-get install mmdebstrap");
  }
  const inside = await makeTree(ownTarget, folder, installed);
  const base = join(folder, "base.tar");
  const list = join(folder, "packages.tsv");
  await must("mmdebstrap", [
    "--variant=extract",
    "--quiet",
    `--extract-hook=${listing} > '${list.replaceAll("'", "'\\''")}'`,
    `--include=${packages.join(",")}`,
    "trixie",
    base,
  ]);
  writeContents(join(folder, installed.doc), inside, systemIn(list));
  settle(join(folder, installed.doc));
  rmSync(list);
  cpSync(join(root, "deploy", "Dockerfile"), join(folder, "Dockerfile"));
}

function containerProgram(): string {
  const found = ["podman", "docker"].find((name) => findExecutable(name) !== undefined);
  if (found === undefined)
    throw new SetUpError("neither podman nor docker is on PATH: install one");
  return found;
}
