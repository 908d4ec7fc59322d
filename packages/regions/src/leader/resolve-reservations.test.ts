import { type ManagedObject, recordKinds, stateOf, systemInstance } from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { openStore, VirtualTime } from "../testing/leader/test-leader.ts";
import { MemoryPeer, objectOf, put, recordsOf, termOf } from "../testing/leader/test-peer.ts";
import { ResolveReservations } from "./resolve-reservations.ts";

const destroyed = { time: 1_700_000_003, region: "a" };
const activated = { time: 1_700_000_002, region: "b" };
const operation = "11111111-0000-4000-8000-000000000000";

let time: VirtualTime;
/** The stores of the regions `a`, which is first in order, and `b`. */
let stores: { readonly a: MemoryOwnStore; readonly b: MemoryOwnStore };
let peers: { readonly a: MemoryPeer; readonly b: MemoryPeer };
let object: ManagedObject;

beforeEach(async () => {
  time = new VirtualTime();
  const open = (storeId: string) => openStore({ storeId, wallMs: time.wallMs });
  stores = { a: await open("a"), b: await open("b") };
  peers = { a: new MemoryPeer("a", stores.a, time), b: new MemoryPeer("b", stores.b, time) };
  object = objectOf();
  await put(stores.a, [object]);
  await put(stores.b, [object]);
});

function dutyOf(region: "a" | "b"): ResolveReservations {
  const other = region === "a" ? "b" : "a";
  return new ResolveReservations({
    region,
    own: stores[region],
    peers: [peers[other]],
    timers: time,
  });
}

async function run(duty: ResolveReservations, region: "a" | "b") {
  return duty.run(termOf(await stores[region].newEpoch()));
}

/** A leader that sees the reservations now, and 5 s later. */
async function watching(region: "a" | "b"): Promise<ResolveReservations> {
  const duty = dutyOf(region);
  expect(await run(duty, region)).toEqual({ done: 0, left: 0 });
  await time.run(5_000);
  return duty;
}

function reserve(region: "a" | "b") {
  return stores[region].reserve("i", [object.uniqueIdentifier], operation);
}

/** Makes the decision: the first region's write. */
async function decide(): Promise<void> {
  const [before] = await stores.a.read("i", [object.uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const after = { ...before.object, material: undefined, facts: { destroyed } };
  const change = { kind: "update", before, after } as const;
  expect(await stores.a.commit("i", [change], [], { operation })).toEqual({ kind: "committed" });
}

async function copyIn(region: "a" | "b"): Promise<ManagedObject | undefined> {
  return (await recordsOf(stores[region])).get(object.uniqueIdentifier);
}

test("a reservation whose operation may still run is kept", async () => {
  await reserve("a");
  const duty = dutyOf("a");
  for (let seconds = 0; seconds < 5; seconds += 1) {
    expect(await run(duty, "a")).toEqual({ done: 0, left: 0 });
    await time.run(999);
  }
  expect(await stores.a.reservations()).toHaveLength(1);
});

test.each([-3_600_000, 3_600_000])(
  "a clock that is off by %i ms on the node that reserved does not matter",
  async (ms) => {
    stores = { ...stores, a: await openStore({ wallMs: () => time.wallMs() + ms }) };
    await put(stores.a, [object]);
    await reserve("a");
    expect(await run(await watching("a"), "a")).toEqual({ done: 1, left: 0 });
  },
);

describe("the first region", () => {
  test("drops what was not decided, without asking another region", async () => {
    await reserve("a");
    peers.b.now = "down";
    expect(await run(await watching("a"), "a")).toEqual({ done: 1, left: 0 });
    expect(await stores.a.reservations()).toEqual([]);
    expect(peers.b.calls.size).toBe(0);
    expect(await copyIn("a")).toEqual(object);
  });
});

describe("a later region", () => {
  test("drops what the first region has not decided, and can no longer decide", async () => {
    await reserve("a");
    await reserve("b");
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    expect(await stores.a.reservations()).toEqual([]);
    expect(await stores.b.reservations()).toEqual([]);
    expect(await copyIn("b")).toEqual(object);
    const [before] = await stores.a.read("i", [object.uniqueIdentifier]);
    const after = { ...object, material: undefined, facts: { destroyed } };
    const change = { kind: "update", before: before as never, after } as const;
    expect((await stores.a.commit("i", [change], [], { operation })).kind).toBe("reservationLost");
  });

  test("joins what the first region has decided", async () => {
    await reserve("a");
    await reserve("b");
    await decide();
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    const copy = await copyIn("b");
    expect(copy && stateOf(copy.facts)).toBe("Destroyed");
    expect(copy?.material).toBeUndefined();
    expect(await stores.b.reservations()).toEqual([]);
  });

  test.each([
    ["decided", "Destroyed"],
    ["not decided", "PreActive"],
  ] as const)("replaces an own copy that cannot be read where it was %s", async (what, state) => {
    await reserve("a");
    await reserve("b");
    if (what === "decided") await decide();
    stores.b.damage(object.uniqueIdentifier);
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    const copy = await copyIn("b");
    expect(copy && stateOf(copy.facts)).toBe(state);
    expect(await stores.b.reservations()).toEqual([]);
  });

  test("does not take a copy that no region makes: the end of a kind that is never deleted", async () => {
    const kept = objectOf({
      instance: systemInstance,
      objectType: recordKinds.Region.type,
      material: undefined,
    });
    const ids = [kept.uniqueIdentifier];
    await put(stores.b, [kept]);
    await put(stores.a, [{ ...kept, facts: { destroyed } }]);
    await stores.b.reserve(systemInstance, ids, operation);
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    const [copy] = await stores.b.read(systemInstance, ids);
    expect(copy?.object).toEqual(kept);
    expect(await stores.b.reservations()).toEqual([]);
  });

  test("repairs a record that does not decode in the first region, and ends the reservation", async () => {
    await reserve("a");
    await reserve("b");
    stores.a.damage(object.uniqueIdentifier);
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    expect(await copyIn("a")).toEqual(object);
    expect(await stores.b.reservations()).toEqual([]);
  });

  test("asks the first region to release before it reads that region's copy", async () => {
    await reserve("a");
    await reserve("b");
    const duty = await watching("b");
    const asked: string[] = [];
    // The decision is made at the last moment at which it can be.
    peers.a.before = async (method) => {
      asked.push(method);
      if (method === "release") await decide();
    };
    await run(duty, "b");
    expect(asked).toEqual(["release", "fetch"]);
    expect((await copyIn("b"))?.facts).toEqual({ destroyed });
  });

  test("keeps the reservation while the first region cannot be reached", async () => {
    await reserve("b");
    peers.a.now = "down";
    const duty = await watching("b");
    await expect(run(duty, "b")).rejects.toMatchObject({ failure: "peerUnreachable" });
    expect(await stores.b.reservations()).toHaveLength(1);
    peers.a.now = "up";
    expect(await run(duty, "b")).toEqual({ done: 1, left: 0 });
  });

  test("leaves out a region that was retired", async () => {
    await reserve("b");
    peers.a.now = "retired";
    expect(await run(await watching("b"), "b")).toEqual({ done: 1, left: 0 });
    expect(peers.a.calls.size).toBe(0);
  });

  test("joins a record that it does not have", async () => {
    const fresh = objectOf({ facts: { activated } });
    await put(stores.a, [fresh]);
    await stores.b.reserve("i", [object.uniqueIdentifier, fresh.uniqueIdentifier], operation);
    await run(await watching("b"), "b");
    expect((await recordsOf(stores.b)).get(fresh.uniqueIdentifier)).toEqual(fresh);
    expect(await stores.b.reservations()).toEqual([]);
  });
});

test("a leader that was deposed releases nothing", async () => {
  await reserve("a");
  const duty = await watching("a");
  const old = await stores.a.newEpoch();
  await stores.a.newEpoch();
  await expect(duty.run(termOf(old))).rejects.toMatchObject({ failure: "deposed" });
  expect(await stores.a.reservations()).toHaveLength(1);
});

test("a decision on copies under different KEKs is followed, and the own seals stay", async () => {
  const resealed = { ...object.material, kekId: operation } as NonNullable<typeof object.material>;
  const [before] = await stores.b.read("i", [object.uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const after = { ...before.object, material: resealed };
  await stores.b.commit("i", [{ kind: "update", before, after }], [], { joined: true });
  await reserve("a");
  await reserve("b");
  const [inA] = await stores.a.read("i", [object.uniqueIdentifier]);
  if (inA === undefined) throw new Error("no record");
  const change = {
    kind: "update",
    before: inA,
    after: { ...inA.object, facts: { activated } },
  } as const;
  expect(await stores.a.commit("i", [change], [], { operation })).toEqual({ kind: "committed" });
  const duty = await watching("b");
  expect(await run(duty, "b")).toEqual({ done: 1, left: 0 });
  expect(await copyIn("b")).toMatchObject({ facts: { activated }, material: resealed });
  expect(await stores.b.reservations()).toEqual([]);
});
