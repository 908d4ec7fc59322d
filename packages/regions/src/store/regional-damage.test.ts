import { StoreUnavailable, systemInstance, termFor } from "@holdfast/engine";
import { nameItem, sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
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
import { RegionalStore } from "./regional-store.ts";

const everything = { live: true, destroyed: true, limit: 100 };
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

test("a record that does not decode and has no other copy is set aside, and healed when a copy can be had", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  const [key, forged] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(key)], []));
  await put(a, forged);
  for (const { uniqueIdentifier } of [key, forged]) a.own.damage(uniqueIdentifier);
  await expect(time.until(get(a.store, forged))).rejects.toEqual(failing("corrupt"));
  expect(await a.own.quarantined()).toBe(1);
  link.open = false;
  await time.pass(200);
  await expect(time.until(get(a.store, key))).rejects.toEqual(failing("corrupt"));
  await expect(time.until(get(a.store, key))).rejects.toEqual(failing("corrupt"));
  expect(await a.own.quarantined()).toBe(2);
  link.open = true;
  await time.pass(200);
  expect((await time.until(get(a.store, key)))?.object).toEqual(key);
  await expect(time.until(get(a.store, forged))).rejects.toEqual(failing("corrupt"));
  // Region b has it now: its copy proves itself.
  await put(b, forged);
  expect((await time.until(get(a.store, forged)))?.object).toEqual(forged);
  expect(await copyOf(a, forged)).toEqual(forged);
});

test("an older state may count again only if every other region says that it lacks the record", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  const [here, shared] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(shared)], []));
  await put(a, here);
  for (const { uniqueIdentifier } of [here, shared]) a.own.damage(uniqueIdentifier);
  const told: unknown[] = [];
  const quarantine = a.own.quarantine.bind(a.own);
  a.own.quarantine = async (of, id, reason, options) => {
    if (options.replacement === undefined) told.push([id, options.only]);
    await quarantine(of, id, reason, options);
  };
  const ask = async (key: typeof here) =>
    await expect(time.until(get(a.store, key))).rejects.toEqual(failing("corrupt"));
  link.open = false;
  await ask(here);
  link.open = true;
  await time.pass(200);
  await ask(here);
  b.own.damage(shared.uniqueIdentifier);
  await ask(shared);
  expect(told).toEqual([
    [here.uniqueIdentifier, false],
    [here.uniqueIdentifier, true],
    [shared.uniqueIdentifier, false],
  ]);
});

test("a record that is damaged in both regions does not keep another one from being repaired", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const [key, lost] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(key), creation(lost)], []));
  for (const { uniqueIdentifier } of [key, lost]) a.own.damage(uniqueIdentifier);
  b.own.damage(lost.uniqueIdentifier);
  const { objects } = await time.until(a.store.find(instance, everything));
  expect(objects.map(({ object }) => object)).toEqual([key]);
  expect(await copyOf(a, key)).toEqual(key);
  await expect(time.until(get(a.store, lost))).rejects.toEqual(failing("corrupt"));
});

test("a region alone sets a record aside that does not decode", async () => {
  const regions = await regionsWithInstance();
  const { a, time } = regions;
  const key = newKey(regions);
  await put(a, key);
  a.own.damage(key.uniqueIdentifier);
  const ids = { next: regions.id } as never;
  const observe = () => undefined;
  const { own } = a;
  await using alone = new RegionalStore({
    region: "a",
    own,
    peers: [],
    timers: time,
    ids,
    observe,
  });
  await expect(time.until(get(alone, key))).rejects.toEqual(failing("corrupt"));
  expect(await own.quarantined()).toBe(1);
});

test("a store that serves another region's clients sets aside what does not decode", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const [key, fine] = [newKey(regions), newKey(regions)];
  await put(b, key);
  await put(b, fine);
  b.own.damage(key.uniqueIdentifier);
  a.own.setState("none");
  await time.pass(200);
  const found = await time.until(a.store.find(instance, everything));
  expect(found.objects.map(({ object }) => object)).toEqual([fine]);
  expect(await b.own.quarantined()).toBe(1);
  const ids = [key.uniqueIdentifier, fine.uniqueIdentifier];
  await expect(time.until(a.store.read(instance, ids))).rejects.toEqual(failing("corrupt"));
  expect(await b.own.quarantined()).toBe(1);
});

describe("a search that meets a record that does not decode", () => {
  async function damagedOne() {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    const named = (name: string) =>
      newKey(regions, { registers: [sampleRegister(nameItem(name), 1)] });
    const [key, fine] = [named("key"), named("fine")];
    await time.until(a.store.commit(instance, [creation(key), creation(fine)], []));
    a.own.damage(key.uniqueIdentifier);
    const found = async (name?: string) => {
      const term = name === undefined ? {} : { term: termFor(nameItem(name)) ?? "" };
      const page = await time.until(a.store.find(instance, { ...everything, ...term }));
      return page.objects.map(({ object }) => object);
    };
    return { ...regions, key, fine, found };
  }

  test("repairs it from the other region, and is complete", async () => {
    const { a, key, fine, found } = await damagedOne();
    expect(await found()).toEqual([fine, key]);
    expect(await copyOf(a, key)).toEqual(key);
    expect(await found("key")).toEqual([key]);
  });

  test("without another copy leaves it out of a walk, and cannot tell where a term leads to it", async () => {
    const { a, link, time, key, fine, found } = await damagedOne();
    link.open = false;
    await time.pass(200);
    expect(await found()).toEqual([fine]);
    expect(await a.own.quarantined()).toBe(1);
    expect(await found("fine")).toEqual([fine]);
    await expect(found("key")).rejects.toEqual(failing("corrupt"));
    link.open = true;
    await time.pass(200);
    expect(await found("key")).toEqual([key]);
    expect(await found()).toEqual([fine, key]);
  });

  test("leaves it out of a walk while the store is too full to be repaired, and says so", async () => {
    const { a, key, fine, found } = await damagedOne();
    const { quarantine } = a.own;
    a.own.quarantine = () => Promise.reject(new StoreUnavailable("full", "the store is full"));
    expect(await found()).toEqual([fine]);
    expect(a.events).toContainEqual({
      type: "warning",
      message: expect.stringMatching(
        /^1 records of a search do not decode, and the store is too full/,
      ),
    });
    await expect(found("key")).rejects.toEqual(failing("corrupt"));
    a.own.quarantine = quarantine;
    expect(await found()).toEqual([fine, key]);
  });

  test("repairs at most 16 at a time, and a record that two searches meet only once", async () => {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    const keys = Array.from({ length: 40 }, () => newKey(regions));
    await time.until(a.store.commit(instance, keys.map(creation), []));
    for (const { uniqueIdentifier } of keys) a.own.damage(uniqueIdentifier);
    const repaired: string[] = [];
    let [now, most] = [0, 0];
    const quarantine = a.own.quarantine.bind(a.own);
    a.own.quarantine = async (of, id, reason, options) => {
      repaired.push(id);
      now += 1;
      most = Math.max(most, now);
      await time.sleep(10);
      await quarantine(of, id, reason, options);
      now -= 1;
    };
    const found = () => a.store.find(instance, everything);
    const pages = await time.until(Promise.all([found(), found()]));
    expect(pages.map(({ objects }) => objects.length)).toEqual([40, 40]);
    expect(most).toBe(16);
    expect(repaired.toSorted()).toEqual(keys.map(({ uniqueIdentifier }) => uniqueIdentifier));
  });

  test("of the system cannot tell: a record that is left out could be a key-encryption key", async () => {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    const record = sampleObject(systemInstance, regions.id());
    await a.own.commit(systemInstance, [creation(record)], []);
    a.own.damage(record.uniqueIdentifier);
    await expect(time.until(a.store.find(systemInstance, everything))).rejects.toEqual(
      failing("corrupt"),
    );
  });
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

test("a record that the serving region has in an older form is answered with what the own store knows, and joined there", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  const newer = { ...key, facts: { activated: activation } };
  await put(a, newer);
  await put(b, key);
  a.own.setState("none");
  await time.pass(10);
  a.own.setState("full");
  await time.pass(10);
  expect(a.store.serving().from).toBe("remote");
  expect((await time.until(must(a.store, key))).object).toEqual(newer);
  expect(await copyOf(b, key)).toEqual(newer);
  await regions.close();
});
