import { type Event, StoreUnavailable } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
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
import { copyOf, TestRegions } from "../testing/test-regions.ts";
import { TestTime } from "../testing/test-time.ts";
import { RegionalStore } from "./regional-store.ts";

const activation = { time: 8, region: "a" };

function pushes(events: readonly Event[]): readonly string[] {
  return events.flatMap((event) => (event.type === "push" ? [event.result] : []));
}

function failing(failure: string) {
  return expect.objectContaining({ name: "StoreUnavailable", failure });
}

describe("a change", () => {
  test("is durable in both regions before it is acknowledged", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    expect(await time.until(a.store.commit(instance, [creation(key)], []))).toEqual({
      kind: "committed",
      regions: ["a", "b"],
    });
    expect(await copyOf(b, key)).toEqual(key);
    expect(pushes(a.events)).toEqual(["shared"]);
    await regions.close();
  });

  test("is pushed while its own barrier is still out", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time, link } = regions;
    link.delayMs = 40;
    const commit = a.own.commit.bind(a.own);
    a.own.commit = async (...given) => {
      const outcome = await commit(...given);
      await time.sleep(80);
      return outcome;
    };
    const started = time.monotonicMs();
    await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
    expect(time.monotonicMs() - started).toBe(80);
    expect(b.own.state()).toBe("full");
    await regions.close();
  });

  test("is acknowledged by this region alone: in a cut at once, without an answer after the time-out", async () => {
    const regions = await regionsWithInstance({ pushTimeoutMs: 500 });
    const { a, time, link } = regions;
    a.other.before = async (method) => {
      if (method === "push") await time.sleep(60_000);
    };
    const started = time.monotonicMs();
    await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
    expect(time.monotonicMs() - started).toBe(500);
    link.open = false;
    await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
    expect(time.monotonicMs() - started).toBe(500);
    expect(pushes(a.events)).toEqual(["alone", "alone"]);
  });

  test("fails without an acknowledgement where that is required, and is not made at all in a cut", async () => {
    const regions = await regionsWithInstance({ peerAcknowledgement: "required" });
    const { a, b, time, link } = regions;
    b.own.setState("readOnly");
    const survivor = newKey(regions);
    await expect(
      time.until(a.store.commit(instance, [creation(survivor)], [])),
    ).rejects.toMatchObject({ failure: "barrierShort" });
    expect(await copyOf(a, survivor)).toEqual(survivor);
    link.open = false;
    const unmade = newKey(regions);
    await expect(time.until(a.store.commit(instance, [creation(unmade)], []))).rejects.toEqual(
      failing("noAgreement"),
    );
    expect(await copyOf(a, unmade)).toBeUndefined();
  });

  test("that is refused is not pushed", async () => {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    a.other.calls.length = 0;
    const outcome = await time.until(a.store.commit(instance, [creation(key)], []));
    expect(outcome.kind).toBe("conflict");
    expect(a.other.calls).not.toContain("push");
  });

  test("waits for an agreed operation that holds its record here, for a bounded time", async () => {
    const regions = await regionsWithInstance({ reservedMs: 2_000 });
    const { a, time } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    const before = await time.until(must(a.store, key));
    await a.own.reserve(instance, [key.uniqueIdentifier], "operation");
    const change = adding(before, "activated", activation);
    const started = time.monotonicMs();
    await expect(time.until(a.store.commit(instance, [change], []))).rejects.toEqual(
      failing("reserved"),
    );
    expect(time.monotonicMs() - started).toBeGreaterThanOrEqual(2_000);
    const free = time.sleep(500).then(() => a.own.release(instance, "operation"));
    expect((await time.until(a.store.commit(instance, [change], []))).kind).toBe("committed");
    await free;
  });

  test("whose record is held in the other region is pushed again until it is free", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    const before = await time.until(must(a.store, key));
    await b.own.reserve(instance, [key.uniqueIdentifier], "operation");
    const free = time.sleep(200).then(() => b.own.release(instance, "operation"));
    await time.until(a.store.commit(instance, [adding(before, "activated", activation)], []));
    await free;
    expect(pushes(a.events)).toEqual(["shared", "shared"]);
    expect((await copyOf(b, key))?.facts.activated).toEqual(activation);
  });
});

describe("a record that the own store does not have", () => {
  test("is found in the other region, and joined into the own store", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    await put(b, key);
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    expect(await copyOf(a, key)).toEqual(key);
    await regions.close();
  });

  test("is not found when every region says so, and only then", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time, link } = regions;
    const key = newKey(regions);
    expect(await time.until(get(a.store, key))).toBeUndefined();
    link.open = false;
    await expect(time.until(get(a.store, key))).rejects.toEqual(failing("peerUnreachable"));
    link.open = true;
    await time.pass(200);
    // A region that does not serve from its own store cannot answer "not found": it may lack what
    // it should have.
    b.own.setState("none");
    b.own.setState("full");
    await expect(time.until(get(a.store, key))).rejects.toEqual(failing("peerUnreachable"));
    await time.pass(300);
    await regions.levelOf(b);
    expect(await time.until(get(a.store, key))).toBeUndefined();
    await regions.close();
  });

  test("is found if it came here while the others were asked, and is gone from there", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    const read = b.own.read.bind(b.own);
    b.own.read = async (...given) => {
      const found = await read(...given);
      await put(a, key);
      return found;
    };
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    await regions.close();
  });

  test("is answered although the own store takes no writes", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    await put(b, key);
    const commit = a.own.commit.bind(a.own);
    a.own.commit = async (...given) => {
      await commit(given[0], [], []);
      const { StoreUnavailable } = await import("@holdfast/engine");
      throw new StoreUnavailable("full", "memory is full");
    };
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
  });

  test("is not found by a region alone, which asks nobody else", async () => {
    const time = new TestTime();
    const own = new MemoryOwnStore();
    await own.instances.ensure(instance, instance);
    const ids = { uuid: () => "", randomBytes: () => new Uint8Array(1) };
    const observe = () => undefined;
    const store = new RegionalStore({ region: "a", own, peers: [], timers: time, ids, observe });
    expect(store.serving()).toMatchObject({ from: "local", writes: true, through: false });
    const key = newKey(new TestRegions());
    expect(await time.until(get(store, key))).toBeUndefined();
    expect((await time.until(store.commit(instance, [creation(key)], []))).kind).toBe("committed");
    expect((await time.until(get(store, key)))?.object).toEqual(key);
    const destroy = adding(await must(store, key), "destroyed", activation);
    const outcome = store.commit(instance, [destroy], [], { agreed: true });
    expect((await time.until(outcome)).kind).toBe("committed");
    await time.until(store[Symbol.asyncDispose]());
  });

  test("is requested from the own store of a region alone, even without a lease: it knows best why", async () => {
    const time = new TestTime();
    const own = new MemoryOwnStore();
    const ids = { uuid: () => "", randomBytes: () => new Uint8Array(1) };
    const observe = () => undefined;
    const store = new RegionalStore({ region: "a", own, peers: [], timers: time, ids, observe });
    own.setState("none");
    const why = new StoreUnavailable("notInitialised", "holds no store");
    const refuse = () => Promise.reject(why);
    Object.assign(own, { read: refuse, commit: refuse, find: refuse, appendAudit: refuse });
    expect(store.serving().from).toBe("none");
    const key = newKey(new TestRegions());
    const query = { live: true, destroyed: false, limit: 1 };
    for (const asked of [
      () => get(store, key),
      () => store.commit(instance, [creation(key)], []),
      () => store.commit(instance, [creation(key)], [], { agreed: true }),
      () => store.find(instance, query),
      () => store.appendAudit(instance, [], false),
    ]) {
      await expect(time.until<unknown>(asked())).rejects.toBe(why);
    }
    await time.until(store[Symbol.asyncDispose]());
  });
});

describe("a record that an agreed operation holds", () => {
  test("is the join of both copies, and nothing is written", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time, link } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    const before = await must(a.store, key);
    await b.own.reserve(instance, [key.uniqueIdentifier], "operation");
    await a.own.commit(instance, [adding(before, "destroyed", activation)], []);
    const seen = await time.until(must(b.store, key));
    expect(seen.object.facts.destroyed).toEqual(activation);
    expect((await copyOf(b, key))?.facts.destroyed).toBeUndefined();
    const found = await time.until(
      b.store.find(instance, { live: true, destroyed: true, limit: 10 }),
    );
    expect(found.objects[0]?.object.facts.destroyed).toEqual(activation);
    link.open = false;
    await expect(time.until(get(b.store, key))).rejects.toEqual(failing("reserved"));
    // One record that is held must not hide the others from a search.
    const alone = await time.until(
      b.store.find(instance, { live: true, destroyed: true, limit: 10 }),
    );
    expect(alone.objects.map(({ object }) => object.facts.destroyed)).toEqual([undefined]);
    await regions.close();
  });
});

describe("while the own store has no lease", () => {
  test("the other region's store serves: reads, changes, searches, audit", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    a.own.setState("none");
    expect(a.store.serving()).toMatchObject({ from: "remote", writes: true });
    const before = await time.until(must(a.store, key));
    const change = adding(before, "activated", activation);
    expect((await time.until(a.store.commit(instance, [change], []))).kind).toBe("committed");
    expect((await copyOf(b, key))?.facts.activated).toEqual(activation);
    const page = await time.until(
      a.store.find(instance, { live: true, destroyed: true, limit: 9 }),
    );
    expect(page.objects).toHaveLength(1);
    const read = await time.until(must(a.store, key));
    const facts = { ...read.object.facts, served: activation };
    const served = a.store.markServed(instance, read, { ...read.object, facts });
    expect(await time.until(served)).toBe(true);
    expect(a.events).toContainEqual(expect.objectContaining({ type: "serving", from: "remote" }));
    await regions.close();
  });

  test("a change made there is pushed back as soon as the own store can be written", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    a.own.setState("none");
    await time.pass(100);
    const alone = newKey(regions);
    await time.until(a.store.commit(instance, [creation(alone)], []));
    expect(pushes(b.events)).toEqual(["alone"]);
    a.own.setState("full");
    const shared = newKey(regions);
    await time.until(a.store.commit(instance, [creation(shared)], []));
    expect(pushes(b.events)).toEqual(["alone", "shared"]);
    expect(await copyOf(a, shared)).toEqual(shared);
    await regions.close();
  });

  test("a miss there needs a miss in the own store as well", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time, link } = regions;
    const key = newKey(regions);
    link.open = false;
    await time.until(a.store.commit(instance, [creation(key)], []));
    link.open = true;
    a.own.setState("none");
    await time.pass(200);
    await expect(time.until(get(a.store, key))).rejects.toEqual(failing("peerUnreachable"));
    a.own.setState("readOnly");
    const found = await time.until(get(a.store, key));
    expect(found?.object).toEqual(key);
    expect(await copyOf(b, key)).toEqual(key);
    expect(await time.until(get(a.store, newKey(regions)))).toBeUndefined();
    await regions.close();
  });

  test("nothing is destroyed, and without the other region nothing is served", async () => {
    const regions = await regionsWithInstance();
    const { a, time, link } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    const before = await must(a.store, key);
    a.own.setState("none");
    const destroy = a.store.commit(instance, [adding(before, "destroyed", activation)], [], {
      agreed: true,
    });
    await expect(time.until(destroy)).rejects.toEqual(failing("noAgreement"));
    link.open = false;
    expect(a.store.serving().from).toBe("none");
    await expect(time.until(get(a.store, key))).rejects.toEqual(failing("noLease"));
    a.own.setState("readOnly");
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    const change = a.store.commit(instance, [adding(before, "activated", activation)], []);
    await expect(time.until(change)).rejects.toEqual(failing("noLease"));
    await regions.close();
  });

  test("a request during which the lease ends continues in the other region", async () => {
    const regions = await regionsWithInstance();
    const { a, b, time } = regions;
    const key = newKey(regions);
    const commit = a.own.commit.bind(a.own);
    a.own.commit = async (...given) => {
      const outcome = await commit(...given);
      a.own.setState("none");
      a.own.commit = commit;
      const { StoreUnavailable } = await import("@holdfast/engine");
      throw new StoreUnavailable("noLease", `lost after ${outcome.kind}`);
    };
    // Its push was made: the second try finds the same bytes.
    expect((await time.until(a.store.commit(instance, [creation(key)], []))).kind).toBe(
      "committed",
    );
    expect(await copyOf(b, key)).toEqual(key);
    a.own.setState("full");
    await time.pass(200);
    await regions.levelOf(a);
    const read = a.own.read.bind(a.own);
    a.own.read = async (...given) => {
      a.own.setState("none");
      return await read(...given);
    };
    expect((await time.until(get(a.store, key)))?.object).toEqual(key);
    await regions.close();
  });
});

describe("the return to the own store", () => {
  test("happens only once it is level, so that no change made meanwhile is missed", async () => {
    const regions = await regionsWithInstance();
    const { a, time } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    a.own.setState("none");
    await time.pass(100);
    const before = await time.until(must(a.store, key));
    await time.until(a.store.commit(instance, [adding(before, "activated", activation)], []));
    a.own.setState("full");
    await time.pass(1_000);
    expect(a.store.serving().from).toBe("remote");
    expect((await time.until(must(a.store, key))).object.facts.activated).toEqual(activation);
    await regions.levelOf(a);
    expect(a.store.serving()).toMatchObject({ from: "local", through: false });
    a.other.calls.length = 0;
    expect((await time.until(must(a.store, key))).object.facts.activated).toEqual(activation);
    expect(a.other.calls).toEqual([]);
    await regions.close();
  });

  test("happens as in a cut where the other region is out of reach; once that is back, its copies are seen", async () => {
    const regions = await regionsWithInstance();
    const { a, time, link } = regions;
    const key = newKey(regions);
    await time.until(a.store.commit(instance, [creation(key)], []));
    a.own.setState("none");
    await time.pass(100);
    const before = await time.until(must(a.store, key));
    await time.until(a.store.commit(instance, [adding(before, "activated", activation)], []));
    link.open = false;
    a.own.setState("full");
    await time.pass(100);
    expect(a.store.serving()).toMatchObject({ from: "local", writes: true, through: true });
    expect((await time.until(must(a.store, key))).object.facts).toEqual({});
    const alone = newKey(regions);
    await time.until(a.store.commit(instance, [creation(alone)], []));
    link.open = true;
    await time.pass(500);
    // Not level yet: what either region acknowledged is seen nevertheless.
    expect(a.store.serving()).toMatchObject({ from: "local", through: true });
    expect((await time.until(must(a.store, key))).object.facts.activated).toEqual(activation);
    expect((await time.until(must(a.store, alone))).object).toEqual(alone);
    await regions.levelOf(a);
    expect(a.store.serving()).toMatchObject({ from: "local", through: false });
    await regions.close();
  });

  test("happens in two regions of which neither is level, each reading from the other too", async () => {
    const regions = new TestRegions();
    const { a, b, time } = regions;
    for (const { own } of [a, b]) await own.instances.ensure(instance, instance);
    await time.pass(300);
    const key = newKey(regions);
    expect((await time.until(a.store.commit(instance, [creation(key)], []))).kind).toBe(
      "committed",
    );
    expect((await time.until(get(b.store, key)))?.object).toEqual(key);
    expect(await time.until(get(b.store, newKey(regions)))).toBeUndefined();
    await regions.close();
  });

  test("waits a moment at the start for the other region, before that counts as lost", async () => {
    const regions = new TestRegions({ graceMs: 1_500 });
    const { a, time, link } = regions;
    link.open = false;
    await time.pass(1_000);
    expect(a.store.serving().from).toBe("none");
    await time.pass(1_000);
    expect(a.store.serving()).toMatchObject({ from: "local", writes: true });
    await regions.close();
  });
});

test("in normal operation a read asks only the own store", async () => {
  const regions = await regionsWithInstance();
  const { a, time, link } = regions;
  link.delayMs = 40;
  const key = newKey(regions);
  await time.until(a.store.commit(instance, [creation(key)], []));
  a.other.calls.length = 0;
  const started = time.monotonicMs();
  const [stored] = await a.store.read(instance, [key.uniqueIdentifier]);
  expect(stored?.object).toEqual(key);
  expect(time.monotonicMs()).toBe(started);
  expect(a.other.calls).toEqual([]);
  const facts = { served: { time: 1, region: "a" } };
  if (stored) await a.store.markServed(instance, stored, { ...key, facts });
  await time.pass(200);
  expect(a.other.calls.filter((call) => call !== "hello")).toEqual([]);
  await regions.close();
});

test("a search continues in the store in which it began, or not at all", async () => {
  const regions = await regionsWithInstance();
  const { a, time } = regions;
  for (let at = 0; at < 3; at++) {
    await time.until(a.store.commit(instance, [creation(newKey(regions))], []));
  }
  const query = { live: true, destroyed: false, limit: 2 };
  const { next } = await time.until(a.store.find(instance, query));
  if (next === undefined) throw new Error("no second page");
  const rest = await time.until(a.store.find(instance, { ...query, after: next }));
  expect(rest.objects).toHaveLength(1);
  a.own.setState("none");
  await expect(time.until(a.store.find(instance, { ...query, after: next }))).rejects.toEqual(
    failing("noLease"),
  );
  const remote = await time.until(a.store.find(instance, query));
  const more = { ...query, after: remote.next ?? "" };
  expect((await time.until(a.store.find(instance, more))).objects).toHaveLength(1);
  await regions.close();
});
