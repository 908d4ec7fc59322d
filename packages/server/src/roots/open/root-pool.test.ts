import { randomBytes, randomUUID } from "node:crypto";
import { RootOfTrustError } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { namedRoot } from "../../testing/roots.ts";
import { keyOf, RootPool } from "./root-pool.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };

function world() {
  const opened: string[] = [];
  const closed: string[] = [];
  const time = { nowMs: 0 };
  const state = { fails: false };
  const roots = new RootPool({
    clock: { wallMs: () => 0, monotonicMs: () => time.nowMs },
    changed: () => undefined,
    open: async (reference) => {
      if (state.fails) throw new RootOfTrustError("unavailable", "not now");
      const name = reference?.rootKey ?? "default";
      opened.push(name);
      const root = new MemoryRootOfTrust(ids, name);
      return Object.assign(root, { close: async () => void closed.push(name) });
    },
  });
  return { roots, opened, closed, time, state };
}

test("references to the same root of trust share one, even if only one of them has its name", async () => {
  const { roots, opened } = world();
  const { name: _, ...bare } = namedRoot("x");
  const all = await Promise.all([roots.of(namedRoot("x")), roots.of(bare), roots.of(undefined)]);
  expect(all[0]).toBe(all[1]);
  expect(all[2]).not.toBe(all[0]);
  expect(opened).toEqual(["x", "default"]);
  expect(roots.all()).toHaveLength(2);
});

test("a failed opening is tried again at the next use", async () => {
  const { roots, state } = world();
  state.fails = true;
  await expect(roots.of(namedRoot("x"))).rejects.toThrow("not now");
  state.fails = false;
  await expect(roots.of(namedRoot("x"))).resolves.toBeDefined();
});

test("a root of trust that no record names any more is closed after a while, unless it is used again", async () => {
  const { roots, closed, time } = world();
  await roots.of(namedRoot("x"));
  await roots.of(namedRoot("y"));
  await roots.keep(new Set([keyOf(namedRoot("y"))]));
  time.nowMs += 29_000;
  await roots.keep(new Set([keyOf(namedRoot("y"))]));
  expect(closed).toEqual([]);
  await roots.of(namedRoot("x"));
  time.nowMs += 2_000;
  await roots.keep(new Set([keyOf(namedRoot("y"))]));
  expect(closed).toEqual([]);
  time.nowMs += 30_000;
  await roots.keep(new Set([keyOf(namedRoot("y"))]));
  expect(closed).toEqual(["x"]);
  await roots[Symbol.asyncDispose]();
  expect(closed).toEqual(["x", "y"]);
});
