import { randomBytes, randomUUID } from "node:crypto";
import { RootOfTrustError } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { expect, test, vi } from "vitest";
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

test("a root of trust that allows more calls at once, and longer ones, gets them", async () => {
  vi.useFakeTimers();
  const root = new MemoryRootOfTrust(ids, "large");
  let calls = 0;
  const validate = () => {
    calls += 1;
    return new Promise<void>((resolve) => setTimeout(resolve, 29_000));
  };
  const limits = { deadlineMs: 30_000, inFlightMax: 20 };
  await using roots = new RootPool({
    clock: { wallMs: () => 0, monotonicMs: () => 0 },
    changed: () => undefined,
    open: async () => Object.assign(root, { validate, limits }),
  });
  try {
    const guarded = await roots.of(undefined);
    const all = Promise.allSettled(Array.from({ length: 25 }, () => guarded.validate()));
    await vi.advanceTimersByTimeAsync(0);
    expect(calls).toBe(20);
    await vi.advanceTimersByTimeAsync(35_000);
    const done = (await all).filter(({ status }) => status === "fulfilled");
    // The others waited for a turn, and then had no time left.
    expect(done).toHaveLength(20);
  } finally {
    vi.useRealTimers();
  }
});
