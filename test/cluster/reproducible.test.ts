import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { canCompile } from "../../scripts/setup/add-on.mjs";
import { ranOf, spawnBound } from "../support/child.ts";

const root = join(import.meta.dirname, "../..");
const commitTime = 1_790_000_000;

/** What differs between the machines of two people who build the same commit. */
interface Builder {
  readonly folder: string;
  readonly umask: string;
  readonly env: Readonly<Record<string, string>>;
  /** Before the build. */
  readonly prepare: string;
}

const compile = `rm -rf packages/root-of-trust/node_modules/pkcs11js/build
  node scripts/setup.mjs --for=pkcs11`;

const builders: readonly Builder[] = [
  { folder: "a", umask: "022", env: { TZ: "UTC", LC_ALL: "C" }, prepare: "true" },
  {
    folder: "another/and-much-longer/folder",
    umask: "077",
    env: { TZ: "Pacific/Auckland", LC_ALL: "", LANG: "de_DE.UTF-8", GZIP: "-1", TAR_OPTIONS: "-v" },
    // Files of another time, and an add-on that is compiled here.
    prepare: `find . -path ./node_modules -prune -o -type f -exec touch -d 2001-02-03 {} +
      ${canCompile() ? compile : ""}`,
  },
];

let place: string;
beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "holdfast-reproducible-"));
});
afterAll(() => {
  rmSync(place, { recursive: true, force: true });
});

/** Makes a clean copy of the sources with one commit, installs the packages, and builds; returns the copy's `dist`. */
async function build({ folder, umask, env, prepare }: Builder): Promise<string> {
  const copy = join(place, folder);
  mkdirSync(copy, { recursive: true });
  const listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const names = execFileSync("git", listed, { cwd: root });
  const tar = ["--null", "--files-from=-", "--ignore-failed-read", "-cf", "-"];
  const sources = execFileSync("tar", tar, {
    cwd: root,
    input: names,
    maxBuffer: 256 * 1024 * 1024,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const zip = `import { makeZip } from "./scripts/build/archives.ts";
    import { ownTarget } from "./scripts/build/tree.ts";
    await makeZip(ownTarget, process.cwd() + "/dist");`;
  const script = `set -e
    umask ${umask}
    tar -x --no-same-permissions
    git init -q
    git add .
    git -c user.name=a -c user.email=a@example.com commit -q -m sources
    node scripts/setup.mjs
    ${prepare}
    node scripts/run.mjs scripts/build/main.ts bundle tarball deb
    node_modules/node-linux-*/bin/node --input-type=module -e '${zip}'`;
  const time = `${commitTime} +0000`;
  const child = spawnBound("sh", ["-c", script], {
    cwd: copy,
    env: {
      ...{ ...process.env, ...env, SOURCE_DATE_EPOCH: undefined },
      ...{ GIT_AUTHOR_DATE: time, GIT_COMMITTER_DATE: time },
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin?.end(sources);
  const { code, out, err } = await ranOf(child);
  expect(code, out + err).toBe(0);
  return join(copy, "dist");
}

/** SHA-256 of the archives, and of every file of the bundle with its mode and time. */
function digestsIn(dist: string): Readonly<Record<string, string>> {
  const paths = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((path) => {
    const isWanted = path.startsWith("bundle/") || /^[^/]*\.(deb|gz|zip)$/.test(path);
    return isWanted && statSync(join(dist, path)).isFile();
  });
  const rows = paths.toSorted().map((path) => {
    const { mode, mtimeMs } = statSync(join(dist, path));
    const of = path.startsWith("bundle/") ? `${mode.toString(8)} ${mtimeMs / 1000} ` : "";
    const digest = createHash("sha256").update(readFileSync(join(dist, path)));
    return [path, `${of}${digest.digest("hex")}`] as const;
  });
  return Object.fromEntries(rows);
}

test("bundle, tarball, zip and Debian package are the same bytes in two folders, with another umask, time, time zone and locale", async () => {
  const digests: Readonly<Record<string, string>>[] = [];
  for (const builder of builders) digests.push(digestsIn(await build(builder)));
  const names = Object.keys(digests[0] ?? {});
  for (const kind of [
    /^bundle\/holdfast\.mjs$/,
    /^bundle\/doc\/sbom/,
    /\.deb$/,
    /\.gz$/,
    /\.zip$/,
  ]) {
    expect(names.filter((name) => kind.test(name))).toHaveLength(1);
  }
  expect(digests[0]?.["bundle/holdfast.mjs"]).toContain(`100644 ${commitTime} `);
  expect(digests[1]).toEqual(digests[0]);
});
