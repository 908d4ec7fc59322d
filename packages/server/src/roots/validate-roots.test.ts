import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { namedRoot, otherRecord, TestRoots } from "../testing/roots.ts";
import type { RootHealth } from "./open/guarded-root.ts";
import { rootStatusOf } from "./root-status.ts";
import { nodeState, RootWatch } from "./root-watch.ts";

let world: TestRoots;

beforeEach(() => {
  world = new TestRoots();
});

afterEach(() => world.roots[Symbol.asyncDispose]());

const stateOf = (instance = "i") => world.recordOf(instance).state["a"];

describe("the leader's record of an instance", () => {
  test("shows a usable root of trust after the first KEK was created, then each refusal, and the recovery", async () => {
    await world.instance("i", "x");
    await world.validate.all(() => true);
    expect(stateOf()).toMatchObject({
      status: "Installed",
      crkState: "usable",
      reason: "",
      root: "x",
      version: "1",
    });
    expect(await world.keks.list("i")).toHaveLength(1);
    for (const failure of ["denied", "disabled", "gone"] as const) {
      world.manager("x").fail(failure);
      await world.validate.all(() => true);
      expect(stateOf()).toMatchObject({ status: "Inactive", crkState: failure, root: "x" });
    }
    world.manager("x").fail(undefined);
    await world.validate.all(() => true);
    expect(stateOf()).toMatchObject({ status: "Installed", crkState: "usable" });
  });

  test("shows an unreachable root of trust, and Installed until the end of the grace time", async () => {
    await world.instance("i", "x");
    await world.seal("i");
    await world.validate.all(() => true);
    const lastMs = world.nowMs;
    world.manager("x").fail("unavailable");
    world.nowMs += 5_000;
    await world.validate.all(() => true);
    expect(stateOf()).toMatchObject({
      status: "Installed",
      crkState: "unreachable",
      graceUntilMs: lastMs + 60_000,
    });
    expect(rootStatusOf(world.recordOf("i"), "a", "local")).toMatchObject({
      type: "key-protect",
      origin: "instance",
      state: "unreachable",
      graceUntil: new Date(lastMs + 60_000).toISOString(),
    });
    world.nowMs = lastMs + 61_000;
    await world.validate.all(() => true);
    expect(stateOf()).toMatchObject({ status: "Inactive", crkState: "unreachable" });
  });

  test("shows Inactive, without a KEK, if the root of trust was never usable", async () => {
    await world.instance("i", "x");
    world.manager("x").fail("unavailable");
    await world.validate.all(() => true);
    expect(stateOf()?.status).toBe("Inactive");
    expect(await world.keks.list("i")).toEqual([]);
  });

  test("is not written again before its time if nothing changed", async () => {
    await world.instance("i", "x");
    await world.validate.all(() => true);
    await world.seeKeks("i");
    expect(await world.validate.all(() => true)).toEqual({ done: 0, left: 0 });
    world.nowMs += 300_000;
    expect(await world.validate.all(() => true)).toEqual({ done: 1, left: 0 });
  });

  test("needs only one call to a root of trust for all of its instances", async () => {
    for (const instance of ["i", "j", "k"]) await world.instance(instance, "x");
    let asked = 0;
    const root = world.manager("x");
    const { validate } = root;
    root.validate = async () => {
      asked += 1;
      await validate.call(root);
    };
    await world.validate.all(() => true);
    expect(asked).toBe(1);
    expect(["i", "j", "k"].map((instance) => stateOf(instance)?.status)).toEqual(
      Array.from({ length: 3 }, () => "Installed"),
    );
  });
});

describe("each node", () => {
  function watch(): RootWatch {
    return new RootWatch({
      region: "a",
      roots: world.roots,
      keyRing: world.keyRing,
      view: { records: () => [otherRecord], onChange: (listener) => world.view.onChange(listener) },
      health: { rootOfTrust: () => undefined },
      clock: { wallMs: () => world.nowMs, monotonicMs: () => world.nowMs },
      revalidateMs: 1_000,
    });
  }
  const order = (id: string) => ({ id, atMs: world.nowMs, by: "somebody" });

  test("carries out the orders in the record", async () => {
    await world.instance("i", "x");
    using _ = watch();
    const key = await world.seal("i");
    await world.write("i", { shredded: { b: order("1") } });
    await expect(key.open()).rejects.toThrow("shredded");
    const another = { revalidated: order("2"), opened: { b: { ...order("2"), ends: "0" } } };
    await world.write("i", another);
    await expect(key.open()).rejects.toThrow("shredded");
    await world.write("i", { opened: { b: { ...order("3"), ends: "1" } } });
    expect(await key.open()).toBe("secret");
  });

  test("checks its keys again when the leader found the root key refused", async () => {
    await world.instance("i", "x");
    using _ = watch();
    const key = await world.seal("i");
    await world.validate.one("i");
    world.manager("x").fail("gone");
    expect(await key.open()).toBe("secret");
    await world.validate.one("i");
    await expect.poll(() => key.open().catch(({ refused }) => refused)).toBe(true);
    world.manager("x").fail(undefined);
    await world.validate.one("i");
    await expect.poll(() => key.open().catch(() => "closed")).toBe("secret");
  });
});

describe("the combined state of a node's roots of trust", () => {
  const root = (reference: string | undefined, failure?: RootHealth["failure"], kind = "hpcs") => ({
    reference: reference === undefined ? undefined : namedRoot(reference),
    root: {
      kind,
      lastDescription: undefined,
      health: { ok: failure === undefined, failure, reason: failure ?? "" } as RootHealth,
    } as never,
  });

  test.each([
    ["ok", [root("x"), root("y")]],
    ["degraded", [root("x", "unavailable"), root("y")]],
    ["degraded", [root("x", "gone"), root("y", "disabled")]],
    ["degraded", [root(undefined, "denied")]],
    ["unreachable", [root("x", "unavailable"), root("y", "unavailable")]],
    ["refused", [root(undefined, "denied", "local"), root("y")]],
  ])("is %s", (state, all) => {
    expect(nodeState(all)?.state).toBe(state);
  });

  test("is unknown before the first call", () => {
    expect(nodeState([])).toBeUndefined();
  });
});
