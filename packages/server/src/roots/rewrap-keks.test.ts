import { afterEach, beforeEach, expect, test } from "vitest";
import { namedRoots, rootChanges } from "../records/root-reference.ts";
import { namedRoot, TestRoots } from "../testing/roots.ts";
import { reportOf, rootStatusOf } from "./root-status.ts";

let world: TestRoots;

beforeEach(() => {
  world = new TestRoots();
});

afterEach(() => world.roots[Symbol.asyncDispose]());

const order = (to: string) => rootChanges("a", { next: namedRoot(to) });
const named = () => namedRoots(world.recordOf("i"), "a");
const makers = async () =>
  (await world.keks.list("i")).map(({ wraps }) => wraps.map(({ rootOfTrust }) => rootOfTrust));
const duty = () =>
  world.rewrap.run({
    epoch: 1,
    signal: new AbortController().signal,
    active: () => true,
  });

test("a move records the next root, wraps under it, makes it the current one, and drops the old one after a while", async () => {
  await world.instance("i", "x");
  const key = await world.seal("i");
  await world.write("i", order("y"));
  expect(await world.rewrap.settle("i")).toEqual({ rewrapped: 1, left: 0 });
  expect(await makers()).toEqual([["y"]]);
  expect(named()).toMatchObject({ current: { rootKey: "y" }, next: undefined });
  expect(named().left.map(({ reference }) => reference.rootKey)).toEqual(["x"]);
  world.manager("x").fail("gone");
  world.keyRing.drop();
  expect(await key.open()).toBe("secret");
  await world.rewrap.settle("i");
  world.nowMs += 31_000;
  await world.rewrap.settle("i");
  expect(named().left).toEqual([]);
});

test.each([3_600_000, -3_600_000])(
  "a wall clock that jumps by %d ms changes nothing about when the old root is dropped",
  async (ms) => {
    await world.instance("i", "x");
    await world.seal("i");
    await world.write("i", order("y"));
    await world.rewrap.settle("i");
    await world.rewrap.settle("i");
    world.wallAheadMs = ms;
    world.nowMs += 29_000;
    await world.rewrap.settle("i");
    expect(named().left).toHaveLength(1);
    world.nowMs += 2_000;
    await world.rewrap.settle("i");
    expect(named().left).toEqual([]);
  },
);

test.each(["before the first wrap", "after the wraps, before the record"])(
  "after a crash %s keys still open, and the leader completes the move",
  async (moment) => {
    await world.instance("i", "x");
    const key = await world.seal("i");
    await world.write("i", order("y"));
    if (moment.startsWith("after")) {
      const [kek] = await world.keks.list("i");
      if (kek === undefined) throw new Error("no KEK");
      await world.keyRing.rewrap("i", kek, await world.roots.of(namedRoot("y")), false);
    }
    world.keyRing.drop();
    expect(await key.open()).toBe("secret");
    await world.seeKeks("i");
    await duty();
    expect(named()).toMatchObject({ current: { rootKey: "y" }, next: undefined });
    expect(await makers()).toEqual([["y"]]);
    world.keyRing.drop();
    expect(await key.open()).toBe("secret");
  },
);

test("a move to a root of trust that refuses changes nothing, and another order replaces it", async () => {
  await world.instance("i", "x");
  const key = await world.seal("i");
  await world.write("i", order("y"));
  world.manager("y").fail("disabled");
  await expect(world.rewrap.settle("i")).rejects.toMatchObject({ failure: "disabled" });
  world.keyRing.drop();
  expect(await key.open()).toBe("secret");
  const shown = () => rootStatusOf(world.recordOf("i"), "a", "local");
  const { name: _, ...reference } = namedRoot("y");
  expect(shown()).toMatchObject({
    name: "x",
    next: { type: reference.type, name: "y", reference },
  });
  expect(reportOf(world.roots, "i", ["a"])).toMatchObject([{ root: "x", next: "y" }]);
  await world.write("i", order("x"));
  await world.rewrap.settle("i");
  expect(shown().next).toBeUndefined();
  expect(named().current?.rootKey).toBe("x");
  expect(await makers()).toEqual([["x"]]);
});

test("keys under a lost root of trust are restored from the other region's copy, but only by order", async () => {
  await world.instance("i", "x");
  const key = await world.seal("i");
  const [kek] = await world.seeKeks("i");
  const id = kek?.id ?? "";
  world.plain.set(id, Uint8Array.from(await world.keyRing.plaintextFor("i", id)));
  world.manager("x").fail("gone");
  world.keyRing.drop();
  await expect(key.open()).rejects.toMatchObject({ refused: true });
  world.nowMs += 2_000;
  expect(await duty()).toEqual({ done: 0, left: 1 });
  expect(await makers()).toEqual([["x"]]);
  await world.write("i", order("y"));
  expect(await world.rewrap.settle("i")).toEqual({ rewrapped: 1, left: 0 });
  await world.keyRing.revalidate("i");
  expect(await key.open()).toBe("secret");
});

test("an instance whose old root of trust is lost keeps no others from their turn, and the duty says so after that", async () => {
  for (const instance of ["i", "j", "k"]) {
    await world.instance(instance, instance === "i" ? "x" : "y");
    await world.seal(instance);
    await world.seeKeks(instance);
    if (instance === "i") await world.write("i", order("y"));
  }
  expect(world.roots.instances()).toEqual(["i", "j", "k"]);
  world.manager("x").fail("unavailable");
  world.manager("y").rotate();
  world.keyRing.drop();
  world.nowMs += 2_000;
  const versions = async () =>
    (await Promise.all(["j", "k"].map((instance) => world.keks.list(instance))))
      .flat()
      .map(({ wraps }) => wraps[0]?.rootKeyVersion);
  await expect(duty()).rejects.toThrow(/^instance i: .*no other region/);
  expect(await versions()).toEqual(["2", "2"]);
  expect(await makers()).toEqual([["x"]]);
  world.manager("x").fail(undefined);
  expect(await duty()).toMatchObject({ done: 1, left: 0 });
  expect(await makers()).toEqual([["y"]]);
});

test("a root of trust that fails while keys are moved to it is asked no more in that run", async () => {
  for (const instance of ["i", "j"]) {
    await world.instance(instance, "x");
    await world.seal(instance);
    await world.seeKeks(instance);
    await world.write(instance, order("y"));
  }
  await (await world.roots.of(namedRoot("y"))).describe();
  world.manager("y").fail("disabled");
  expect(await duty()).toMatchObject({ done: 0, left: 1 });
});

test("a new secret for the same root key rewraps nothing", async () => {
  await world.instance("i", "x");
  await world.seal("i");
  const reference = { ...namedRoot("x"), secret: { env: "HOLDFAST_ROOT_KEY" } };
  await world.write("i", rootChanges("a", { next: reference }));
  expect(await world.rewrap.settle("i")).toEqual({ rewrapped: 0, left: 0 });
  expect(named().current).toEqual(reference);
});

test("after a rotation the leader rewraps every instance's KEKs, and the report shows what is left", async () => {
  for (const instance of ["i", "j", "k"]) {
    await world.instance(instance, instance === "k" ? "y" : "x");
    await world.seal(instance);
    await world.seeKeks(instance);
    await world.validate.one(instance);
  }
  world.manager("x").rotate();
  world.nowMs += 2_000;
  await world.validate.all(() => true);
  const stale = () =>
    ["i", "j", "k"].map((instance) => reportOf(world.roots, instance, ["a"])[0]?.stale);
  expect(stale()).toEqual([1, 1, 0]);
  expect(reportOf(world.roots, "i", ["a"])).toMatchObject([
    { region: "a", root: "x", currentVersion: "2", versions: { "1": 1 } },
  ]);
  expect(await duty()).toEqual({ done: 2, left: 0 });
  for (const instance of ["i", "j", "k"]) await world.seeKeks(instance);
  expect(stale()).toEqual([0, 0, 0]);
  expect(await duty()).toEqual({ done: 0, left: 0 });
});

test("instances that name the same root key share one root of trust", async () => {
  for (const instance of ["i", "j"]) {
    await world.instance(instance, "x");
    await world.seal(instance);
  }
  expect(world.opened).toEqual(["x"]);
  expect(world.roots.inUse()).toMatchObject([{ instances: ["i", "j"] }]);
});

test("a storage key that cannot be wrapped makes the duty fail, after it has done the rest", async () => {
  await world.instance("i", "x");
  await world.seal("i");
  await world.seeKeks("i");
  world.manager("x").rotate();
  world.nowMs += 2_000;
  world.rewrapStorageKeys = () => Promise.reject(new Error("as the test said"));
  await expect(duty()).rejects.toThrow("as the test said");
  const versions = (await world.keks.list("i")).map(({ wraps }) => wraps[0]?.rootKeyVersion);
  expect(versions).toEqual(["2"]);
});
