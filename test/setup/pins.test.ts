import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { type Ran, ranOf, spawnBound } from "../support/child.ts";
import { startRegistry, type TestRegistry } from "../support/registry.ts";

const root = join(import.meta.dirname, "../..");
const stryker = "test/mutants/mechanical/stryker";
const read = (file: string) => readFileSync(join(root, file), "utf8");

/** The packages of a lock file by `NAME@VERSION`, with the digest that it has of each. */
function lockedIn(file: string): ReadonlyMap<string, string | undefined> {
  if (file.endsWith(".json")) {
    const { packages } = JSON.parse(read(file));
    const rows = Object.entries<{ version: string; integrity?: string }>(packages);
    return new Map(
      rows.flatMap(([path, { version, integrity }]) =>
        path === "" ? [] : [[`${path.replace("node_modules/", "")}@${version}`, integrity]],
      ),
    );
  }
  return new Map(
    parseAllDocuments(read(file)).flatMap((document) =>
      Object.entries<{ resolution: { integrity?: string } }>(document.toJS().packages).map(
        ([name, { resolution }]) => [name, resolution.integrity] as const,
      ),
    ),
  );
}

describe("every package that a lock file names has a SHA-512 in it:", () => {
  test.each([
    ["pnpm-lock.yaml", 600],
    [`${stryker}/pnpm-lock.yaml`, 150],
    ["scripts/setup/pnpm/package-lock.json", 10],
    ["scripts/build/node/package-lock.json", 5],
  ])("%s", (file, least) => {
    const locked = lockedIn(file);
    expect(locked.size).toBeGreaterThanOrEqual(least);
    const wrong = [...locked].filter(
      ([, digest]) => digest === undefined || !/^sha512-[\w+/]{86}==$/.test(digest),
    );
    expect(wrong).toEqual([]);
  });
});

test("pnpm and Node have the same digest wherever they are pinned", () => {
  const all = lockedIn("pnpm-lock.yaml");
  const { packageManager } = JSON.parse(read("package.json"));
  const [, version = "", hex = ""] = /^pnpm@([\d.]+)\+sha512\.(\w+)$/.exec(packageManager) ?? [];
  const digest = `sha512-${Buffer.from(hex, "hex").toString("base64")}`;
  expect(all.get(`pnpm@${version}`)).toBe(digest);
  for (const [name, integrity] of lockedIn("scripts/setup/pnpm/package-lock.json")) {
    expect(all.get(name) ?? all.get(`'${name}'`), name).toBe(integrity);
  }
  const nodes = [...lockedIn("scripts/build/node/package-lock.json")].filter(([name]) =>
    name.startsWith("node-linux"),
  );
  expect(nodes).toHaveLength(2);
  for (const [name, integrity] of nodes) expect(all.get(name), name).toBe(integrity);
});

describe("with a registry of its own", () => {
  let folder: string;
  let registry: TestRegistry;
  /** No configuration and no cache of this user. */
  let env: NodeJS.ProcessEnv;
  const exe = `@pnpm/exe.linux-${process.arch}`;
  const version = "12.4.2";

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-pins-"));
    registry = await startRegistry();
    env = {
      PATH: process.env["PATH"],
      HOME: folder,
      CI: "true",
      npm_config_userconfig: join(folder, "npmrc"),
      npm_config_cache: join(folder, "cache"),
    };
    writeFileSync(join(folder, "npmrc"), `registry=${registry.url}\n`);
  });

  afterEach(async () => {
    await registry[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  function run(program: string, args: readonly string[], cwd: string): Promise<Ran> {
    return ranOf(spawnBound(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] }));
  }

  /** A checkout with this repository's scripts. */
  function checkout(): string {
    const here = join(folder, "checkout");
    cpSync(join(root, "scripts"), join(here, "scripts"), { recursive: true });
    mkdirSync(join(here, "packages"));
    writeFileSync(join(here, "package.json"), "{}");
    writeFileSync(join(here, "pnpm-lock.yaml"), "");
    return here;
  }

  /** Publishes another pnpm than the real one, which would leave a file. */
  function publishOther(): Readonly<Record<string, string>> {
    const script = `#!/bin/sh\necho "$@" >${join(folder, "it-ran")}\n`;
    return {
      pnpm: registry.publish({ name: "pnpm", version, optionalDependencies: { [exe]: version } }),
      [exe]: registry.publish({ name: exe, version }, { pnpm: script }),
    };
  }

  /** Makes these digests the pinned ones. */
  function pin(here: string, digests: Readonly<Record<string, string>>): void {
    const lockFile = join(here, "scripts/setup/pnpm/package-lock.json");
    const lock = JSON.parse(readFileSync(lockFile, "utf8"));
    for (const [name, digest] of Object.entries(digests)) {
      lock.packages[`node_modules/${name}`].integrity = digest;
    }
    writeFileSync(lockFile, JSON.stringify(lock));
  }

  test.each(["pnpm", exe])(
    "the set-up refuses pnpm if the SHA-512 of %s is not the pinned one, in one line, and keeps nothing of it",
    async (wrong) => {
      const { [wrong]: _, ...others } = publishOther();
      const here = checkout();
      pin(here, others);
      const { code, err } = await run(process.execPath, ["scripts/setup.mjs"], here);
      expect(err.trim().split("\n").at(-1)).toBe(
        "set-up: pnpm from the registry is not the one that scripts/setup/pnpm/package-lock.json names (another SHA-512): nothing was installed (see .holdfast/log/pnpm.log)",
      );
      expect(code).toBe(1);
      expect(() => readFileSync(join(folder, "it-ran"))).toThrow("ENOENT");
      expect(() => readFileSync(join(here, ".holdfast/pnpm/package.json"))).toThrow("ENOENT");
    },
  );

  test.each<[string, (row: Record<string, string>) => Record<string, string> | undefined]>([
    ["is missing", () => undefined],
    ["has no digest", ({ integrity: _, ...row }) => row],
    ["has a SHA-1", (row) => ({ ...row, integrity: "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=" })],
  ])("it installs nothing if the row of a package in the lock file %s", async (_, changed) => {
    publishOther();
    const here = checkout();
    const lockFile = join(here, "scripts/setup/pnpm/package-lock.json");
    const lock = JSON.parse(readFileSync(lockFile, "utf8"));
    lock.packages[`node_modules/${exe}`] = changed(lock.packages[`node_modules/${exe}`]);
    writeFileSync(lockFile, JSON.stringify(lock));
    const { code, err } = await run(process.execPath, ["scripts/setup.mjs"], here);
    expect(err.trim().split("\n").at(-1)).toBe(
      `set-up: scripts/setup/pnpm/package-lock.json has no version and SHA-512 of ${exe}: restore this file from the repository`,
    );
    expect(code).toBe(1);
    expect(() => readFileSync(join(folder, "it-ran"))).toThrow("ENOENT");
    expect(() => readFileSync(join(here, ".holdfast/pnpm/package.json"))).toThrow("ENOENT");
  });

  test("it runs the same pnpm if both have the pinned SHA-512", async () => {
    const digests = publishOther();
    const here = checkout();
    pin(here, digests);
    await run(process.execPath, ["scripts/setup.mjs"], here);
    expect(readFileSync(join(folder, "it-ran"), "utf8")).toBe("install --frozen-lockfile\n");
  });

  test.each([
    ["pnpm-workspace.yaml", 6, true],
    ["pnpm-workspace.yaml", 8, false],
    [`${stryker}/pnpm-workspace.yaml`, 6, true],
    [`${stryker}/pnpm-workspace.yaml`, 8, false],
  ])(
    "%s: pnpm uses a version that is %i days old only if that is at least a week",
    async (file, days, isRefused) => {
      registry.publish({ name: "young", version: "1.0.0" }, {}, Date.now() - days * 86_400_000);
      const here = join(folder, "project");
      mkdirSync(here);
      const settings = read(file).replace(/^packages:\n(?: {2}- .*\n)+/, "");
      writeFileSync(join(here, "pnpm-workspace.yaml"), settings);
      writeFileSync(join(here, "package.json"), `{ "dependencies": { "young": "^1.0.0" } }`);
      const pnpm = join(root, ".holdfast/pnpm/node_modules/pnpm/pnpm-native");
      const args = ["install", "--no-frozen-lockfile", "--lockfile-only", "--store-dir", folder];
      const { code, out, err } = await run(pnpm, args, here);
      expect(code, out + err).toBe(isRefused ? 1 : 0);
      if (isRefused) expect(out + err).toMatch(/ERR_PNPM_\w*MATUR|minimumReleaseAge/);
    },
  );
});
