import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const site = join(root, ".holdfast", "site-test");

describe("the site of the documents", () => {
  let built: ReturnType<typeof spawnSync>;
  let pages: readonly string[];

  beforeAll(() => {
    const vitepress = join(root, "docs/node_modules/vitepress/bin/vitepress.js");
    // A broken link fails the build.
    built = spawnSync(process.execPath, [vitepress, "build", "docs", "--outDir", site], {
      cwd: root,
      encoding: "utf8",
    });
    pages = readdirSync(site, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".html"),
    );
  });

  afterAll(() => rmSync(site, { recursive: true, force: true }));

  test("is built without an error", () => {
    expect(built.status, String(built.stderr)).toBe(0);
    expect(`${built.stdout}${built.stderr}`).not.toMatch(/Error/);
  });

  test("has every document, and its sidebar has a link to each", () => {
    const index = readFileSync(join(site, "index.html"), "utf8");
    const documents = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
    const missing = documents
      .map((name) => `docs/${name.replace(/md$/, "html")}`)
      .filter((page) => !pages.includes(page) || !index.includes(`href="/${page}"`));
    expect(missing).toEqual([]);
    for (const file of ["deploy/haproxy/haproxy.cfg", "docs/openapi.json", "LICENSE"]) {
      expect(existsSync(join(site, file)), file).toBe(true);
    }
  });

  test("loads nothing from other hosts", () => {
    const loading = /<(?:script|img|link|iframe)[^>]+(?:src|href)="(?:https?:)?\/\/[^"]*"/g;
    const foreign = pages.flatMap((page) => readFileSync(join(site, page), "utf8").match(loading));
    expect(foreign.filter(Boolean)).toEqual([]);
  });
});
