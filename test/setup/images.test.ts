import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { blocksOf } from "../docs/blocks.ts";
import { ranOf, spawnBound } from "../support/child.ts";

const root = join(import.meta.dirname, "../..");
const own = /^holdfast:\d+\.\d+\.\d+$/;
const pinned = /@sha256:[0-9a-f]{64}$/;

/** Images of others that have no digest yet. This list may only get shorter. */
const withoutDigest = [
  "grafana/grafana:12.1.1",
  "haproxy:3.0",
  "prom/alertmanager:v0.28.1",
  "prom/prometheus:v2.53.3",
  "redis:8.0",
];

/** Every image that a deployed file names; those in `FROM` without `scratch`, which is no image. */
function imagesIn(folder: string): readonly string[] {
  const all = readdirSync(join(folder, "deploy"), { recursive: true, encoding: "utf8" });
  const files = ["docker-compose.yml", ...all.map((path) => join("deploy", path))];
  return files
    .filter((path) => /(\.ya?ml|(^|\/)[\w.]*Dockerfile[\w.]*)$/.test(path))
    .flatMap((path) => [
      ...readFileSync(join(folder, path), "utf8").matchAll(
        /^\s*(?:- )?(?:image:\s*|FROM (?:--\S+ )?)["']?([^\s"']+)/gm,
      ),
    ])
    .flatMap(([, image = ""]) => (image === "scratch" ? [] : [image]));
}

/** The images of others that can be moved to other content. */
function movable(folder: string): readonly string[] {
  const images = imagesIn(folder).filter((image) => !own.test(image) && !pinned.test(image));
  return [...new Set(images)].toSorted();
}

test("every image is Holdfast's own, or has a digest, apart from the listed ones", () => {
  expect(imagesIn(root).filter((image) => own.test(image)).length).toBeGreaterThan(2);
  expect(movable(root)).toEqual(withoutDigest);
});

test("Compose pulls no image by the name of Holdfast's own", () => {
  const text = readFileSync(join(root, "docker-compose.yml"), "utf8");
  const after = [...text.matchAll(/^( *)image: holdfast:.*\n(.*)$/gm)].map(([, indent, next]) =>
    next?.replace(indent ?? "", ""),
  );
  expect(after.length).toBeGreaterThan(0);
  expect(new Set(after)).toEqual(new Set(["pull_policy: never"]));
});

describe("in a copy of the deployed files", () => {
  let copy: string;
  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), "holdfast-images-"));
    cpSync(join(root, "deploy"), join(copy, "deploy"), { recursive: true });
    cpSync(join(root, "docker-compose.yml"), join(copy, "docker-compose.yml"));
  });
  afterEach(() => {
    rmSync(copy, { recursive: true, force: true });
  });

  test.each([
    ["deploy/Dockerfile", "FROM debian:13\n", "debian:13"],
    ["deploy/Dockerfile", "FROM --platform=linux/amd64 debian:13 AS base\n", "debian:13"],
    ["deploy/kubernetes/base/nodes.yaml", "        - image: busybox\n", "busybox"],
    ["docker-compose.yml", "    image: redis:8.1\n", "redis:8.1"],
    ["docker-compose.yml", "    image: redis:8.0@sha256:1234\n", "redis:8.0@sha256:1234"],
  ])("%s: another image without a digest is found: %s", (file, line, image) => {
    writeFileSync(join(copy, file), `${readFileSync(join(copy, file), "utf8")}\n${line}`);
    expect(movable(copy)).toContain(image);
  });

  test("the command of docs/supply-chain.md gives each of them its digest", async () => {
    const [block] = blocksOf("docs/supply-chain.md").filter(({ text }) => text.includes("skopeo"));
    const skopeo = join(copy, "skopeo");
    // The registry's answer: a digest that depends on the image's name.
    writeFileSync(
      skopeo,
      `#!/bin/sh\nfor last; do :; done\nprintf 'sha256:%s\\n' "$(printf %s "$last" | sha256sum | cut -c1-64)"\n`,
    );
    chmodSync(skopeo, 0o755);
    const env = { ...process.env, PATH: `${copy}:${process.env["PATH"]}` };
    const child = spawnBound("sh", ["-e", "-c", block?.text ?? "false"], {
      cwd: copy,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(await ranOf(child)).toEqual({ code: 0, out: "", err: "" });
    expect(movable(copy)).toEqual([]);
    const digests = imagesIn(copy).filter((image) => pinned.test(image));
    expect(new Set(digests).size).toBe(withoutDigest.length);
  });
});
