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

/** The libraries in files of the bundle. */
function librariesIn(files: Iterable<string>): ReadonlySet<string> {
  const sources = [...files].flatMap((file): string[] => {
    const map = JSON.parse(readFileSync(join(folder, `${file}.map`), "utf8"));
    return map.sources;
  });
  return new Set(
    sources.flatMap((source) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []),
  );
}

test("a node without a management API does not load its web server, nor a client of it", () => {
  const serve = readdirSync(folder).find((name) => /^serve-\w+\.mjs$/.test(name)) ?? "";
  const loaded = librariesIn(loadedWith(serve));
  expect([...loaded]).toEqual(expect.arrayContaining(["ioredis", "@grpc/grpc-js"]));
  for (const library of ["fastify", "jose", "undici"]) {
    expect([...loaded]).not.toContain(library);
  }
  const all = librariesIn(readdirSync(folder).filter((name) => name.endsWith(".mjs")));
  expect([...all]).toEqual(expect.arrayContaining([...loaded, "fastify", "undici"]));
});
