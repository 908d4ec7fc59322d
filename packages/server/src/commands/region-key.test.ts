import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publicHalf, readPeerKey, readRegionKey } from "@holdfast/regions";
import { afterAll, expect, test } from "vitest";
import { initRegionKey, showRegionKey } from "./region-key.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-region-key-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tls = "{ ca: c, certificate: c, key: p }";
function configure(name: string, peer: string): string {
  const file = join(folder, name);
  writeFileSync(
    file,
    `{
      region: a, node: a1, rootOfTrust: { file: r }, store: { address: "127.0.0.1:1" },
      tls: { certificate: c, key: k }${peer}
    }`,
  );
  return file;
}
const peer = `, peer: { region: b, addresses: ["127.0.0.1:2"], tls: ${tls}, regionKeyFile: region.key, keys: [b.pub] }`;
const config = configure("node.yaml", peer);
const file = join(folder, "region.key");

test("a region key is made once, with its public half for the other region, and never overwritten", () => {
  const [line = "", half = ""] = initRegionKey(config);
  const pem = readFileSync(file, "utf8");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(line).toContain("give this file to every node of the region, keep a copy");
  expect(`${half}\n`).toBe(publicHalf(readRegionKey(pem)));
  expect(() => readPeerKey(half)).not.toThrow();
  expect(line + half).not.toContain("PRIVATE");
  expect(() => initRegionKey(config)).toThrow(
    `peer.regionKeyFile: ${file}: exists already; a region key that the other region knows must not be lost: to replace it, make the next one with --out FILE`,
  );
  expect(readFileSync(file, "utf8")).toBe(pem);
  expect(showRegionKey(config)).toEqual([half]);
  const [next = ""] = initRegionKey(config, join(folder, "next.key"));
  expect(next).toContain("next.key: made");
  expect(() => initRegionKey(config, join(folder, "no", "next.key"))).toThrow(/^--out: .*ENOENT/);
});

test("a region alone has none, and a broken file is named", () => {
  expect(() => showRegionKey(configure("alone.yaml", ""))).toThrow(
    "a region alone needs no region key",
  );
  writeFileSync(file, "nothing");
  expect(() => showRegionKey(config)).toThrow(
    `peer.regionKeyFile: ${file}: holds no usable private key in PEM`,
  );
});
