import { systemInstance } from "@holdfast/engine";
import { expect, test } from "vitest";
import { changedRegion, retireRegion } from "../operations/region-operations.ts";
import { rejoinRegion } from "../operations/rejoin.ts";
import { adding, instance, must, newKey, put, regionsWithInstance } from "../testing/test-keys.ts";
import { copyOf, type TestRegion, type TestRegions, toolsOf } from "../testing/test-regions.ts";

const fact = { time: 9, region: "b" };

/**
 * Stops a node of a region before its next commit or reservation in the own store: who must agree is decided by then.
 * Returns when it has stopped there, and how to resume it.
 */
function paused({ own }: TestRegion, method: "commit" | "reserve" = "commit") {
  const [gate, reached] = [signal(), signal()];
  const original = own[method].bind(own) as (...all: unknown[]) => Promise<never>;
  let first = true;
  Object.assign(own, {
    [method]: async (...all: unknown[]) => {
      if (all[0] === instance && first) {
        first = false;
        reached.give();
        await gate.given;
      }
      return original(...all);
    },
  });
  return { reached: reached.given, resume: gate.give };
}

function signal() {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

/** Region a is retired, and a node of b is paused in the middle of a Destroy that it began alone. */
async function pausedDestroy() {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  const key = newKey(regions);
  for (const region of [a, b]) await put(region, key);
  link.open = false;
  await time.pass(200);
  await time.until(retireRegion("a", { endpointsAreOff: true }, toolsOf(regions, b)));
  await time.pass(1_200);
  const destroy = adding(await must(b.store, key), "destroyed", fact);
  const node = paused(b);
  const late = b.store.commit(instance, [destroy], [], { agreed: true });
  late.catch(() => undefined);
  await time.until(node.reached);
  return { regions, key, node, late };
}

test("a node that was paused while it was alone destroys nothing alone once the other region has rejoined", async () => {
  const { regions, key, node, late } = await pausedDestroy();
  const { a, b, time, link } = regions;

  link.open = true;
  await time.pass(200);
  await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a), { settleMs: 5_000 }));
  await time.pass(1_500);
  await regions.bothLevel();
  expect(a.store.serving()).toMatchObject({ from: "local", writes: true });
  // The region that is back is cut off, and makes the key Active: nobody can ask it.
  link.open = false;
  await time.pass(200);
  const before = await must(a.store, key);
  const activated = { ...before.object, facts: { activated: { time: 8, region: "a" } } };
  await time.until(a.store.commit(instance, [{ kind: "update", before, after: activated }], []));

  node.resume();
  await expect(time.until(late)).rejects.toMatchObject({ failure: "noAgreement" });
  expect((await copyOf(b, key))?.facts.destroyed).toBeUndefined();
  await regions.close();
});

test("where all can be reached, the paused node decides again, with the region that has rejoined", async () => {
  const { regions, key, node, late } = await pausedDestroy();
  const { a, time, link } = regions;
  link.open = true;
  await time.pass(200);
  await time.until(rejoinRegion(a.other.peer, toolsOf(regions, a), { settleMs: 0 }));
  await time.pass(1_500);
  await regions.bothLevel();
  node.resume();
  expect(await time.until(late)).toEqual({ kind: "committed", regions: ["a", "b"] });
  expect((await copyOf(a, key))?.facts.destroyed).toEqual(fact);
  await regions.close();
});

/** Region a was retired and has rejoined, which its own store knows. */
async function noteRejoin({ a, time }: TestRegions): Promise<void> {
  const generations = { generation: 2, retired: 1 };
  const again = changedRegion(undefined, "a", "b", time.wallMs(), () => generations);
  await a.own.commit(systemInstance, [{ kind: "create", after: again }], []);
}

test("a late reservation from before a retirement and a rejoin holds nothing", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  for (const region of [a, b]) await put(region, key);
  const destroy = adding(await must(a.store, key), "destroyed", { ...fact, region: "a" });
  const node = paused(a, "reserve");
  const late = a.store.commit(instance, [destroy], [], { agreed: true });
  late.catch(() => undefined);
  await time.until(node.reached);
  await noteRejoin(regions);
  node.resume();
  await expect(time.until(late)).rejects.toMatchObject({ failure: "noAgreement" });
  expect(a.other.calls).not.toContain("reserve");
  expect(await a.own.reservations()).toEqual([]);
  await regions.close();
});

test("a late write of an agreed operation from before a retirement and a rejoin decides nothing", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  for (const region of [a, b]) await put(region, key);
  const destroy = adding(await must(a.store, key), "destroyed", { ...fact, region: "a" });
  const node = paused(a);
  const late = a.store.commit(instance, [destroy], [], { agreed: true });
  late.catch(() => undefined);
  await time.until(node.reached);
  // Meanwhile b activates the key.
  await noteRejoin(regions);
  const operations = [...(await a.own.reservations()), ...(await b.own.reservations())];
  for (const { operation } of operations) await b.own.release(instance, operation);
  const before = await must(b.own, key);
  const activated = { ...before.object, facts: { activated: { time: 8, region: "b" } } };
  await b.own.commit(instance, [{ kind: "update", before, after: activated }], []);
  node.resume();
  const outcome = await time.until(
    late.then(
      ({ kind }) => kind,
      (error: unknown) => (error as { readonly failure?: string }).failure,
    ),
  );
  expect(["conflict", "reserved", "noAgreement"]).toContain(outcome);
  expect((await copyOf(a, key))?.facts.destroyed).toBeUndefined();
  expect((await copyOf(b, key))?.facts.destroyed).toBeUndefined();
  await regions.close();
});

test("a retired region that has caught up serves nothing, although it only met a node that was paused meanwhile", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  a.own.setState("none");
  await time.pass(100);
  // Another node of b retires a; this one has read the records just before.
  await time.until(b.store.records.refresh());
  const generations = { generation: 1, retired: 1 };
  const retired = changedRegion(undefined, "a", "b", time.wallMs(), () => generations);
  await b.own.commit(systemInstance, [{ kind: "create", after: retired }], []);
  a.own.setState("full");
  await time.pass(100);
  a.events.length = 0;
  await regions.levelOf(a);
  expect(a.store.serving().from).toBe("none");
  expect(a.events.filter((one) => one.type === "serving" && one.from === "local")).toEqual([]);
  await regions.close();
});

test("a retired region that was greeted by a node that does not know of it serves nothing once another node says so", async () => {
  const regions = await regionsWithInstance();
  const { a } = regions;
  const hello = await a.other.peer.hello();
  expect(hello).toMatchObject({ generation: 1, retired: 0 });
  a.other.probed(hello);
  expect(a.store.serving().from).toBe("local");
  a.other.probed({ ...hello, generation: 2, retired: 1 });
  expect(a.store.serving().from).toBe("none");
  // The node that does not know answers again.
  a.other.probed(hello);
  expect(a.store.records.isRetired("a")).toBe(true);
  await regions.close();
});

test("a region that was retired and is back stays present, although a node says which generation it had before", async () => {
  const regions = await regionsWithInstance();
  const { b, time } = regions;
  const generations = { generation: 1, retired: 1 };
  const retired = changedRegion(undefined, "a", "b", time.wallMs(), () => generations);
  await b.own.commit(systemInstance, [{ kind: "create", after: retired }], []);
  await time.until(b.store.records.refresh());
  const hello = await b.other.peer.hello();
  b.other.probed(hello);
  expect(b.store.records.isRetired("a")).toBe(true);
  b.other.probed({ ...hello, generation: 2 });
  b.other.probed(hello);
  expect(b.store.records.isRetired("a")).toBe(false);
  await regions.close();
});
