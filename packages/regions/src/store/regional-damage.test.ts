import { expect, test } from "vitest";
import {
  adding,
  creation,
  get,
  instance,
  must,
  newKey,
  put,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { copyOf } from "../testing/test-regions.ts";

const activation = { time: 8, region: "a" };

function failing(failure: string) {
  return expect.objectContaining({ name: "StoreUnavailable", failure });
}

test("a record that does not decode is repaired from the other region", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  const [key, fine] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(key), creation(fine)], []));
  a.own.damage(key.uniqueIdentifier);
  link.open = false;
  await expect(time.until(get(a.store, key))).rejects.toEqual(failing("corrupt"));
  expect((await time.until(get(a.store, fine)))?.object).toEqual(fine);
  link.open = true;
  await time.pass(200);
  const ids = [key.uniqueIdentifier, fine.uniqueIdentifier];
  const found = await time.until(a.store.read(instance, ids));
  expect(found.map((stored) => stored?.object)).toEqual([key, fine]);
  expect(await copyOf(a, key)).toEqual(key);
  expect(await a.own.quarantined()).toBe(1);
  const lost = newKey(regions);
  await put(b, lost);
  b.own.damage(lost.uniqueIdentifier);
  await expect(time.until(get(a.store, lost))).rejects.toEqual(failing("peerUnreachable"));
});

test("a damaged record is not answered with a copy that lacks its last state", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  const key = newKey(regions);
  await time.until(a.store.commit(instance, [creation(key)], []));
  link.open = false;
  const before = await must(a.store, key);
  await time.until(a.store.commit(instance, [adding(before, "activated", activation)], []));
  a.own.damage(key.uniqueIdentifier);
  link.open = true;
  await time.pass(200);
  await expect(time.until(get(a.store, key))).rejects.toEqual(failing("corrupt"));
  expect((await time.until(get(b.store, key)))?.object).toEqual(key);
  // Making the lost change again repairs it.
  const there = await must(b.store, key);
  await time.until(b.store.commit(instance, [adding(there, "activated", activation)], []));
  expect((await time.until(get(a.store, key)))?.object.facts.activated).toEqual(activation);
});

test("a record of a newer format is never answered with another region's copy, nor replaced", async () => {
  const regions = await regionsWithInstance();
  const { a, time } = regions;
  const [key, fine] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(key), creation(fine)], []));
  a.own.damage(key.uniqueIdentifier, true);
  const unknown = failing("unknownFormat");
  await expect(time.until(get(a.store, key))).rejects.toEqual(unknown);
  await expect(
    time.until(a.store.read(instance, [key.uniqueIdentifier, fine.uniqueIdentifier])),
  ).rejects.toEqual(unknown);
  await expect(time.until(get(a.store, key))).rejects.toEqual(unknown);
  expect((await time.until(get(a.store, fine)))?.object).toEqual(fine);
  expect(await a.own.quarantined()).toBe(0);
});

test("two regions that both lose their leases at once, and cannot become level, do not wait for each other", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const serving = () => [a, b].map(({ store }) => store.serving().from);
  for (const { own } of [a, b]) {
    own.setState("none");
    own.setState("full");
  }
  await time.pass(200);
  expect(serving()).toEqual(["remote", "remote"]);
  // No client asks: where neither serves, listeners are closed.
  await time.pass(20_000);
  expect(serving()).toContain("local");
  const key = newKey(regions);
  for (const { store } of [a, b]) {
    await time.until(
      store.commit(instance, [creation({ ...key, uniqueIdentifier: regions.id() })], []),
    );
  }
});

test("a region whose store is not level keeps waiting for one that serves", async () => {
  const { a, b, time } = await regionsWithInstance();
  a.own.setState("none");
  a.own.setState("full");
  await time.pass(60_000);
  expect([a, b].map(({ store }) => store.serving().from)).toEqual(["remote", "local"]);
});
