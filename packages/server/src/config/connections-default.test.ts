import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connectionsFor, memoryLimit } from "./connections-default.ts";

const mib = 1024 * 1024;
/** Measured memory of an idle node, and of one connection. */
const idleBytes = 180e6;
const connectionBytes = 74_000;

test.each([
  [256, 256],
  [512, 1450],
  [1024, 4352],
  [2048, 10_000],
  [65_536, 10_000],
])("%s MiB of memory allow %s connections", (memory, connections) => {
  expect(Math.abs(connectionsFor(memory * mib) - connections)).toBeLessThan(25);
});

test("a node with the most connections and data in flight stays within the memory limit of the Kubernetes manifest", () => {
  const path = join(import.meta.dirname, "../../../../deploy/kubernetes/base/nodes.yaml");
  const [, gib] = /limits: \{ memory: (\d+)Gi \}/.exec(readFileSync(path, "utf8")) ?? [];
  const limit = Number(gib) * 1024 * mib;
  const full = idleBytes + connectionsFor(limit) * 1.25 * connectionBytes + 128 * mib;
  expect(full).toBeLessThan(0.75 * limit);
});

test("this machine's memory limit is found", () => {
  expect(memoryLimit()).toBeGreaterThan(64 * mib);
  expect(Number.isFinite(memoryLimit())).toBe(true);
});
