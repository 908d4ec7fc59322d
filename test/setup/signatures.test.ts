import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findExecutable } from "../../scripts/redis-path.mjs";
import { blocksOf } from "../docs/blocks.ts";
import { type Ran, ranOf, spawnBound } from "../support/child.ts";

const root = join(import.meta.dirname, "../..");
const hasMinisign = findExecutable("minisign") !== undefined;
const program = `${process.execPath} ${root}/scripts/run.mjs scripts/build/sign.ts`;
const version = "0.1.0";
const blocks = blocksOf("docs/supply-chain.md");
/** The blocks of the page that this test runs, by a word of each. */
const named = (word: string) => {
  const found = blocks.filter(({ text, mark }) => text.includes(word) && /signatures/.test(mark));
  expect(found).toHaveLength(1);
  return found[0]?.text ?? "";
};

/** A folder with the files of a release, and media for the key. */
let place: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "holdfast-signatures-"));
  for (const folder of ["deploy", "dist/bundle/doc", "media/release", "media/backup"]) {
    mkdirSync(join(place, folder), { recursive: true });
  }
  for (const file of [
    `holdfast_${version}_amd64.deb`,
    `holdfast-${version}-linux-x64.tar.gz`,
    `holdfast-${version}-win-x64.zip`,
    "holdfast-0.0.9-linux-x64.tar.gz",
    "bundle/holdfast.mjs",
    "bundle/doc/sbom.cdx.json",
  ]) {
    writeFileSync(join(place, "dist", file), `content of ${file}`);
  }
  symlinkSync(join(root, "LICENSE"), join(place, "media/link.key"));
  writeFileSync(join(place, ".gitignore"), "/dist/\n/media/\n/download/\n");
  git("init", "--quiet");
  git("add", ".gitignore");
  git("commit", "--quiet", "--no-gpg-sign", "--message=start");
});

afterEach(() => {
  rmSync(place, { recursive: true, force: true });
});

/** Runs git in the release's repository, with none of the user's settings. */
function git(...args: readonly string[]): void {
  const who = ["-c", "user.name=test", "-c", "user.email=test@example"];
  const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
  const { status, stderr } = spawnSync("git", [...who, ...args], { cwd: place, env });
  expect(status, String(stderr)).toBe(0);
}

/** Runs commands of the page, with keys that have no password, and media that are folders. */
function shell(script: string, folder = place): Promise<Ran> {
  const here = script
    .replaceAll("/media/", `${place}/media/`)
    .replaceAll("minisign -G", "minisign -G -W")
    .replaceAll(/^npm run build .*$/gm, "true")
    .replaceAll("npm run sign --", program);
  const args = ["-e", "-c", here];
  return ranOf(spawnBound("sh", args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }));
}

async function works(script: string, folder?: string): Promise<string> {
  const ran = await shell(script, folder);
  expect(ran.code, ran.err + ran.out).toBe(0);
  return ran.out;
}

describe("npm run sign refuses in one line, and leaves no signature:", () => {
  test.each([
    [
      "no key",
      "",
      /^sign: name the file of the private key: --key FILE \(minisign -G .* makes one\)$/,
    ],
    [
      "a key that does not exist",
      "--key /nowhere/a.key",
      /^sign: \/nowhere\/a\.key does not exist/,
    ],
    ["a key inside the repository", `--key ${root}/LICENSE`, /is inside the repository/],
    ["a link to a key inside the repository", "--key media/link.key", /is inside the repository/],
    [
      "no public key",
      "--key dist/bundle/holdfast.mjs",
      /^sign: deploy\/minisign\.pub does not exist/,
    ],
    ["an option that it does not have", "--kye a", /^sign: Unknown option '--kye'/],
  ])("%s", async (_, args, line) => {
    const { code, out, err } = await shell(`${program} ${args}`);
    expect([code, out, err.trim().split("\n").length]).toEqual([1, "", 1]);
    expect(err.trim()).toMatch(line);
    expect(() => readFileSync(join(place, "dist/SHA256SUMS.minisig"))).toThrow("ENOENT");
  });

  test.each<[string, () => void, RegExp]>([
    [
      "files that were changed since the commit",
      () => writeFileSync(join(place, ".gitignore"), "/dist/\n/media/\n/other/\n"),
      /^sign: files of the repository were changed since its last commit: commit or undo/,
    ],
    [
      "a folder outside a repository",
      () => rmSync(join(place, ".git"), { recursive: true }),
      /^sign: git finds no commit for dist: sign in a clone of the repository$/,
    ],
  ])("%s", async (_, change, line) => {
    writeFileSync(join(place, "deploy/minisign.pub"), "");
    writeFileSync(join(place, "media/a.key"), "");
    change();
    const { code, out, err } = await shell(`${program} --key media/a.key`);
    expect([code, out, err.trim().split("\n").length]).toEqual([1, "", 1]);
    expect(err.trim()).toMatch(line);
    expect(() => readFileSync(join(place, "dist/SHA256SUMS"))).toThrow("ENOENT");
  });

  test.skipIf(!hasMinisign)("nothing of this version (needs minisign)", async () => {
    await works(named("cp /media/release"));
    const sign = `${program} --key media/release/holdfast.key --from deploy`;
    const { code, err } = await shell(sign);
    expect([code, err]).toEqual([
      1,
      `sign: deploy contains nothing of version ${version}: run npm run build first\n`,
    ]);
  });

  test.skipIf(!hasMinisign)(
    "the lines are shown before minisign asks (needs minisign)",
    async () => {
      writeFileSync(join(place, "deploy/minisign.pub"), "");
      writeFileSync(join(place, "media/a.key"), "no key");
      const { code, out } = await shell(`${program} --key media/a.key`);
      expect(code).toBe(1);
      expect(
        out
          .trim()
          .split("\n")
          .slice(1)
          .map((line) => line.slice(66)),
      ).toContain(`holdfast-${version}-win-x64.zip`);
    },
  );

  test.skipIf(!hasMinisign)("a key that users do not know (needs minisign)", async () => {
    await works(named("cp /media/release"));
    await works("minisign -G -p other.pub -s media/release/other.key");
    const { code, err } = await shell(`${program} --key media/release/other.key`);
    expect(code).toBe(1);
    expect(err.trim().split("\n").at(-1)).toMatch(/other\.key is not the private key of deploy/);
    expect(() => readFileSync(join(place, "dist/SHA256SUMS.minisig"))).toThrow("ENOENT");
  });
});

describe.skipIf(!hasMinisign)("the commands of docs/supply-chain.md (needs minisign)", () => {
  beforeEach(async () => {
    await works(named("cp /media/release"));
  });

  test("sign every file of this version, and verify a download of some of them", async () => {
    const said = await works(named("npm run sign"));
    const sums = readFileSync(join(place, "dist/SHA256SUMS"), "utf8");
    expect(said).toMatch(/^to sign as holdfast 0\.1\.0 commit [0-9a-f]{40}:\n/);
    expect(said).toContain(`:\n${sums}dist/SHA256SUMS\n`);
    expect(sums.split("\n").map((line) => line.slice(66))).toEqual([
      "bundle/doc/sbom.cdx.json",
      "bundle/holdfast.mjs",
      `holdfast-${version}-linux-x64.tar.gz`,
      `holdfast-${version}-win-x64.zip`,
      `holdfast_${version}_amd64.deb`,
      "",
    ]);
    const download = join(place, "download");
    mkdirSync(download);
    const deb = `holdfast_${version}_amd64.deb`;
    await works(`cp dist/SHA256SUMS* dist/${deb} deploy/minisign.pub download/`);
    const verify = named("sha256sum --check --ignore-missing");
    const out = await works(verify, download);
    expect(out).toContain("Signature and comment signature verified");
    expect(out).toMatch(/holdfast 0\.1\.0 commit [0-9a-f]{40}/);
    expect(out).toContain(`${deb}: OK`);
    writeFileSync(join(download, deb), "something else");
    expect((await shell(verify, download)).code).not.toBe(0);
    await works(`cp dist/${deb} download/`);
    writeFileSync(
      join(download, "SHA256SUMS"),
      sums.replace(/^./, (first) => `${first}0`),
    );
    expect((await shell(verify, download)).code).not.toBe(0);
  });

  test("pass the drill with the copy of the key, and fail it with another", async () => {
    const drill = named("drill.txt");
    await works(drill);
    await works("minisign -G -f -p other.pub -s media/backup/holdfast.key");
    expect((await shell(drill)).code).not.toBe(0);
  });

  test("rotate the key, and sign with the new one", async () => {
    await works(named("minisign-2.pub"));
    const again = named("npm run sign");
    expect((await shell(again)).err).toContain("is not the private key of deploy/minisign.pub");
    await works(again.replace("holdfast.key", "holdfast-2.key"));
    // The release that brings the new key is signed with the old one.
    const old = "/media/release/minisign-old.pub";
    await works(again.replace(/(holdfast\.key)$/m, `$1 --public ${old}`));
    await works(`cp ${old} deploy/old.pub && cd deploy && minisign -V -p old.pub -m minisign.pub`);
    await works(named("drill.txt").replace("holdfast.key", "holdfast-2.key"));
  });
});
