import type { AuditEvent, Event } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import {
  adding,
  creation,
  get,
  instance,
  must,
  newKey,
  regionsWithInstance,
} from "../testing/test-keys.ts";
import { TestRegions } from "../testing/test-regions.ts";
import { TestTime } from "../testing/test-time.ts";
import { RegionalStore } from "./regional-store.ts";

const activation = { time: 8, region: "a" };

function pushes(events: readonly Event[]): readonly string[] {
  return events.flatMap((event) => (event.type === "push" ? [event.result] : []));
}

function setDoubt(own: MemoryOwnStore, doubted: boolean, remembered: readonly string[] = []): void {
  own.doubted = () => doubted;
  own.remembers = (_, id) => remembered.includes(String(id));
}

function failing(failure: string) {
  return expect.objectContaining({ name: "StoreUnavailable", failure });
}

test("a store that is older than its node remembers gives nothing but what is remembered, changes nothing, and still keeps events", async () => {
  const regions = await regionsWithInstance();
  const { a, time, link } = regions;
  const [known, unknown] = [newKey(regions), newKey(regions)];
  await time.until(a.store.commit(instance, [creation(known)], []));
  await time.until(a.store.commit(instance, [creation(unknown)], []));
  const before = await time.until(must(a.store, known));
  link.open = false;
  setDoubt(a.own, true, [known.uniqueIdentifier]);
  expect(a.store.serving()).toMatchObject({ from: "local", writes: false, doubted: true });
  expect((await time.until(must(a.store, known))).object).toEqual(known);
  const doubted = failing("doubted");
  const event: AuditEvent = {
    time: 8,
    action: "kmip-key.activate",
    outcome: "failure",
    initiator: "client",
    requestId: "request",
    target: known.uniqueIdentifier,
  };
  for (const work of [
    () => a.store.read(instance, [unknown.uniqueIdentifier]),
    () => a.store.read(instance, [regions.id()]),
    () => a.store.find(instance, { live: true, destroyed: true, limit: 10 }),
    () => a.store.commit(instance, [creation(newKey(regions))], []),
    () => a.store.commit(instance, [adding(before, "activated", activation)], [event]),
  ]) {
    await expect(time.until<unknown>(work())).rejects.toEqual(doubted);
  }
  const served = { ...known, facts: { ...known.facts, served: activation } };
  expect(await time.until(a.store.markServed(instance, before, served))).toBe(false);
  await time.until(a.store.appendAudit(instance, [event], true));
  expect(a.own.auditOf(instance)).toContainEqual(event);
  setDoubt(a.own, false);
  await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
  await regions.close();
});

test("a store that is older than its node remembers leaves its clients to the other region, is not asked by it, and takes its pushes", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const level = await a.own.levels();
  setDoubt(a.own, true);
  const key = newKey(regions);
  expect(await time.until(a.store.commit(instance, [creation(key)], []))).toEqual({
    kind: "committed",
    regions: ["b"],
  });
  expect((await time.until(must(a.store, key))).object).toEqual(key);
  await time.pass(1_000);
  // For the region's other nodes too, and so that the leader fetches what it lacks.
  expect((await a.own.levels()).lost).toBeGreaterThan(level.lost);
  expect(await time.until(b.other.peer.hello())).toMatchObject({ serving: false });
  await expect(time.until(b.other.peer.fetch(instance, [regions.id()]))).rejects.toEqual(
    failing("noLease"),
  );
  await time.until(b.store.commit(instance, [creation(newKey(regions))], []));
  expect(pushes(b.events).at(-1)).toBe("shared");
  await regions.levelOf(a);
  expect(a.store.serving()).toMatchObject({ from: "remote" });
  setDoubt(a.own, false);
  // What it refused while it was doubted is fetched first.
  expect(a.store.serving()).toMatchObject({ from: "remote" });
  await time.pass(1_000);
  await regions.levelOf(a);
  expect(a.store.serving()).toMatchObject({ from: "local", writes: true });
  await regions.close();
});

test("a store that is older than its node remembers answers what it remembers where both regions are doubted, and asks the other one once that serves", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time } = regions;
  const key = newKey(regions);
  await time.until(a.store.commit(instance, [creation(key)], []));
  for (const { own } of [a, b]) setDoubt(own, true, [key.uniqueIdentifier]);
  expect((await time.until(must(a.store, key))).object).toEqual(key);
  await time.pass(12_000);
  for (const { store } of [a, b]) {
    expect(store.serving()).toMatchObject({ from: "local", doubted: true });
  }
  setDoubt(b.own, false);
  await time.pass(12_000);
  expect(a.store.serving()).toMatchObject({ from: "remote", writes: true });
  await regions.close();
});

test("a region alone changes nothing in such a store", async () => {
  const time = new TestTime();
  const own = new MemoryOwnStore();
  await own.instances.ensure(instance, instance);
  const ids = { uuid: () => "", randomBytes: () => new Uint8Array(1) };
  const observe = () => undefined;
  const store = new RegionalStore({ region: "a", own, peers: [], timers: time, ids, observe });
  setDoubt(own, true);
  expect(store.serving()).toMatchObject({ from: "local", writes: false, doubted: true });
  const key = newKey(new TestRegions());
  for (const agreed of [false, true]) {
    const change = store.commit(instance, [creation(key)], [], { agreed });
    await expect(time.until(change)).rejects.toEqual(failing("doubted"));
  }
  await expect(time.until(get(store, key))).rejects.toEqual(failing("doubted"));
  setDoubt(own, false);
  expect((await time.until(store.commit(instance, [creation(key)], []))).kind).toBe("committed");
  await time.until(store[Symbol.asyncDispose]());
});

test("what waited for a store that is older when it comes back is not answered", async () => {
  const regions = await regionsWithInstance();
  const { a, b, time, link } = regions;
  let isLate = false;
  for (const name of ["read", "find", "commit"] as const) {
    const genuine = a.own[name].bind(a.own) as (...given: unknown[]) => Promise<unknown>;
    const late = async (...given: unknown[]) => {
      if (isLate) setDoubt(a.own, true);
      return await genuine(...given);
    };
    Object.assign(a.own, { [name]: late });
  }
  const query = { live: true, destroyed: true, limit: 10 };
  const works = (store: Pick<RegionalStore, "read" | "find" | "commit">) => [
    () => store.read(instance, [regions.id()]),
    () => store.find(instance, query),
    () => store.commit(instance, [creation(newKey(regions))], []),
  ];
  const refused = async (works: readonly (() => Promise<unknown>)[]) => {
    for (const work of works) {
      isLate = true;
      await expect(time.until(work())).rejects.toEqual(failing("doubted"));
      isLate = false;
      setDoubt(a.own, false);
      if (link.open) await regions.levelOf(a);
    }
  };
  await refused(works(b.other.peer.remote));
  link.open = false;
  await refused(works(a.store));
  await regions.close();
});
