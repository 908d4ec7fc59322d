import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeBundle } from "../../scripts/build/bundle.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
  await makeBundle(folder);
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

test("the bundle has zod's messages in English only", () => {
  const files = readdirSync(folder).filter((name) => name.endsWith(".mjs"));
  const locales = sourcesOf(files).filter((source) => source.includes("/zod/v4/locales/"));
  const names = locales.map((source) => source.split("/").at(-1));
  expect(new Set(names)).toEqual(new Set(["en.js", "index.js"]));
});
