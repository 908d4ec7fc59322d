import { execFile } from "node:child_process";
import { appendFile, chown, cp, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import * as Cdx from "@cyclonedx/cyclonedx-library";
import { answerOf } from "@holdfast/testing";
import { type MadeKey, playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeTarball } from "../../scripts/build/archives.ts";
import { makeDeb } from "../../scripts/build/debian.ts";
import { makeImage } from "../../scripts/build/image.ts";
import { ownTarget } from "../../scripts/build/tree.ts";
import { addOnIsThere } from "../../scripts/setup/add-on.mjs";
import { hasAll, Podman } from "../support/containers.ts";
import { say } from "../support/load.ts";
import { layRegion, type Region } from "../support/region.ts";

const instance = "vcenter";
const run = promisify(execFile);
/** Answers of a node that a busy machine keeps from its store. */
const busy = /try again|no answer within|connection refused|connection was reset/;

let region: Region;
let out: string;
/** The key of the last play: the next play, with another installation, must find it. */
let earlier: MadeKey | undefined;

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "holdfast-packages-"));
  region = await layRegion({ instances: [instance], nodes: 1, replicas: 1 });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
  if (out !== undefined) await rm(out, { recursive: true, force: true });
});

/** Runs the region's node with `program` and plays vCenter's sequence with it. */
async function playWith(program: readonly string[]): Promise<void> {
  const node = region.node(0);
  node.program = program;
  await node.start();
  try {
    const { host, port, ...tls } = region.target(instance);
    const kms = { name: node.name, region: region.name, endpoint: `${host}:${port}` };
    let rows: string[] = [];
    const before = earlier;
    const play = () => {
      rows = [];
      return playVcenter({
        nodes: [kms],
        tls,
        ...(before !== undefined && { earlier: before }),
        report: ({ step, result }) => rows.push(`${step}: ${result}`),
        answered: () => undefined,
      });
    };
    earlier = await answerOf("vCenter's sequence", play, (error) => busy.test(String(error)));
    expect(rows.length).toBeGreaterThan(3);
  } finally {
    expect(await node.stop(), node.logTail()).toBe(0);
  }
}

/** Gives a copy of the region's files to a user, as an administrator does with a node's secrets. */
async function giveTo(uid: number, folder: string): Promise<void> {
  await cp(region.folder, folder, { recursive: true, preserveTimestamps: true });
  await chown(folder, uid, uid);
  for (const name of await readdir(folder)) await chown(join(folder, name), uid, uid);
}

/** The components in the list of a documents' folder, which must be valid. */
async function componentsIn(
  folder: string,
): Promise<
  readonly { readonly name: string; readonly purl: string; readonly hashes?: readonly unknown[] }[]
> {
  const text = await readFile(join(folder, "sbom.cdx.json"), "utf8");
  const validator = new Cdx.Validation.JsonStrictValidator(Cdx.Spec.Version.v1dot6);
  expect(await validator.validate(text)).toBeNull();
  return JSON.parse(text).components;
}

test("the tarball runs where it is unpacked, lists its contents, and has no development cluster", async () => {
  const file = await makeTarball(ownTarget, join(out, "made"));
  const folder = join(out, "unpacked");
  await run("mkdir", [folder]);
  await run("tar", ["-xzf", file, "-C", folder, "--strip-components=1"]);
  const program = join(folder, "bin", "holdfast");
  await playWith([program]);
  const components = await componentsIn(join(folder, "doc"));
  const names = components.map(({ name }) => name);
  const node = `node-${ownTarget}`;
  expect(names).toEqual(expect.arrayContaining(["ioredis", "redlock", "pino", "grpc-js", node]));
  expect(names.includes("pkcs11js")).toBe(addOnIsThere());
  expect(components.filter(({ hashes }) => hashes?.length !== 1)).toEqual([]);
  const licences = await readFile(join(folder, "doc", "THIRD-PARTY-LICENSES.txt"), "utf8");
  for (const name of names) expect(licences).toContain(name);
  const dev = run(program, ["dev", "start"]);
  await expect(dev).rejects.toThrow(
    "dev is not in this installation: run holdfast from a checkout",
  );
});

const canInstall = hasAll("mmdebstrap", "dpkg-deb", "chroot");
describe.skipIf(!canInstall)("the Debian package (needs root, mmdebstrap and dpkg)", () => {
  let root: string;
  const inside = (...command: readonly string[]) => run("chroot", [root, ...command]);
  const configFile = "/etc/holdfast/holdfast.yaml";

  beforeAll(async () => {
    root = join(out, "system");
    const base = ["--variant=minbase", "--quiet", "--include=adduser,libstdc++6", "trixie", root];
    await run("mmdebstrap", base, { maxBuffer: 16 * 1024 * 1024 });
  });

  async function install(version: string): Promise<string> {
    const file = await makeDeb(ownTarget, join(out, `deb-${version}`), version);
    await cp(file, join(root, "tmp", "holdfast.deb"));
    return (await inside("dpkg", "--install", "/tmp/holdfast.deb")).stdout;
  }

  test("is installed, configured, started, upgraded and removed; configuration and keys survive", async () => {
    expect(await install("0.1.0")).toContain("holdfast: write /etc/holdfast/holdfast.yaml");
    const listed = await componentsIn(join(root, "usr/share/doc/holdfast"));
    expect(listed.map(({ name }) => name)).toContain("ioredis");
    const { uid, gid, mode } = await stat(join(root, "var/lib/holdfast"));
    expect(uid).toBeGreaterThan(0);
    expect(mode & 0o777).toBe(0o700);
    await giveTo(uid, join(root, region.folder));
    await cp(region.node(0).configFile, join(root, configFile));
    await inside("chown", "root:holdfast", configFile);
    await inside("chmod", "0640", configFile);
    const program = ["chroot", `--userspec=${uid}:${gid}`, root, "/usr/bin/holdfast"];
    const [command = "", ...args] = program;
    const { stdout } = await run(command, [...args, "config", "check", "--config", configFile]);
    expect(stdout).toContain("holdfast.yaml");
    await playWith(program);
    expect(await install("0.1.1")).not.toContain("holdfast: write");
    await playWith(program);
    const { stdout: status } = await inside("dpkg-query", "--status", "holdfast");
    expect(status).toMatch(/^Version: 0\.1\.1$/m);
    await inside("dpkg", "--remove", "holdfast");
    await expect(stat(join(root, "usr/bin/holdfast"))).rejects.toThrow("ENOENT");
    const purged = await inside("dpkg", "--purge", "holdfast");
    expect(purged.stdout).toContain("delete them yourself");
    expect((await stat(join(root, configFile))).isFile()).toBe(true);
  });
});

const hasPodman = hasAll("mmdebstrap", "podman", "runc");
describe.skipIf(!hasPodman)("the container image (needs root, mmdebstrap, podman and runc)", () => {
  test("runs without root, on a file system that it cannot write to, also in FIPS mode", async () => {
    using podman = new Podman();
    const [command = "", ...args] = podman.command;
    const image = await makeImage(join(out, "image"), podman.command);
    const listed = await componentsIn(join(out, "image/usr/share/doc/holdfast"));
    expect(listed.map(({ name }) => name)).toEqual(expect.arrayContaining(["ioredis", "dash"]));
    const libc = listed.find(({ name }) => name === "libc6");
    expect(libc?.purl).toMatch(/^pkg:deb\/debian\/libc6@2\.\d\S*\?arch=/);
    const folder = join(out, "secrets");
    await giveTo(65_532, folder);
    const container = [
      ...podman.command,
      ...["run", "--rm", "--name", "holdfast-node", "--network=host", "--read-only"],
      ...["--cap-drop=all", "--security-opt=no-new-privileges", "--pull=never"],
      ...["--volume", `${folder}:${region.folder}:ro`, image],
    ];
    try {
      await playWith(container);
      await appendFile(join(folder, basename(region.node(0).configFile)), "fips: required\n");
      await playWith(container);
    } finally {
      await run(command, [...args, "rm", "--force", "--ignore", "holdfast-node"]);
      await run(command, [...args, "rmi", "--force", "--all"]);
    }
    const { stdout } = await run("du", ["-sm", join(out, "image")]);
    say(`the image's content: ${stdout.split("\t")[0]} MB`);
  });
});
