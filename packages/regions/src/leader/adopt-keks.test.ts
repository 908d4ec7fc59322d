import { randomBytes, randomUUID } from "node:crypto";
import {
  changeRecord,
  type Event,
  InstanceKeyRing,
  makeRecord,
  ObjectKekStore,
  systemInstance,
  withDestroyed,
  withoutKekWraps,
} from "@holdfast/engine";
import { type MemoryOwnStore, MemoryRootOfTrust } from "@holdfast/engine/testing";
import { beforeEach, expect, test } from "vitest";
import { openStore, VirtualTime } from "../testing/leader/test-leader.ts";
import { MemoryPeer, recordsOf, termOf } from "../testing/leader/test-peer.ts";
import { AdoptKeks } from "./adopt-keks.ts";
import { PeerReader } from "./catch-up/reader.ts";
import { catchUp } from "./catch-up/resync.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const binding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };
const secret = Buffer.from("key material");

let time: VirtualTime;
let regions: Record<"a" | "b", Region>;

interface Region {
  readonly own: MemoryOwnStore;
  readonly keks: ObjectKekStore;
  readonly ring: InstanceKeyRing;
  readonly peer: MemoryPeer;
  readonly events: Event[];
  duty: AdoptKeks;
  reader: PeerReader;
}

async function regionOf(region: "a" | "b"): Promise<Region> {
  const own = await openStore({ storeId: region, wallMs: time.wallMs });
  const keks = new ObjectKekStore(own, { clock: time, region });
  const events: Event[] = [];
  const root = new MemoryRootOfTrust(ids);
  const ring = new InstanceKeyRing({
    rootOf: () => root,
    keks,
    clock: time,
    ids,
    observe: (event) => events.push(event),
    region,
    kekCacheMs: 10_000,
    graceMs: 60_000,
    requiredRegions: () => ["a", "b"],
    sleep: (ms) => time.sleep(ms),
  });
  // How the other region sees it.
  const peer = new MemoryPeer(region, own, time);
  peer.keks = (instance, id) => ring.plaintextFor(instance, id);
  return { own, keks, ring, peer, events } as unknown as Region;
}

beforeEach(async () => {
  time = new VirtualTime();
  regions = { a: await regionOf("a"), b: await regionOf("b") };
  for (const region of ["a", "b"] as const) {
    const { own, ring, events } = regions[region];
    const { peer } = regions[region === "a" ? "b" : "a"];
    const observe = (event: Event): number => events.push(event);
    const at = regions[region];
    at.duty = new AdoptKeks({ region, own, peers: [peer], keyRing: ring, observe });
    at.reader = new PeerReader({ peer, own, timers: time, observe });
  }
});

/** What both leaders do, for a while. */
async function round(): Promise<void> {
  for (const region of ["a", "b"] as const) {
    const { own, reader, duty } = regions[region];
    const context = termOf(await own.newEpoch());
    const pulling = catchUp(own, [reader]).run(context);
    await time.run(20);
    await pulling;
    await duty.run(context).catch(() => undefined);
  }
}

test("a KEK that one region made is wrapped by the other, and both seal with it", async () => {
  const sealing = regions.a.ring.seal(binding, secret);
  await time.run(100);
  await round();
  await round();
  await time.run(100);
  const sealed = await sealing;
  const [kek, ...more] = await regions.b.keks.list("i");
  expect(more).toEqual([]);
  expect(kek?.wraps.map(({ region }) => region).toSorted()).toEqual(["a", "b"]);
  expect(Buffer.from(await regions.b.ring.open(binding, sealed))).toEqual(secret);
  expect((await regions.b.ring.seal(binding, secret)).kekId).toBe(sealed.kekId);
});

test("two KEKs made at the same time are both kept, and both regions choose the same one", async () => {
  const sealing = [regions.a.ring.seal(binding, secret), regions.b.ring.seal(binding, secret)];
  await time.run(100);
  for (let rounds = 0; rounds < 3; rounds += 1) await round();
  await time.run(3_000);
  for (const each of sealing) expect((await each).ciphertext.length).toBeGreaterThan(0);
  const lists = [await regions.a.keks.list("i"), await regions.b.keks.list("i")];
  expect(lists[0]).toHaveLength(2);
  expect(lists[1]).toEqual(lists[0]);
  regions.a.ring.drop();
  regions.b.ring.drop();
  await time.run(20_000);
  const [one, other] = [
    await regions.a.ring.seal(binding, secret),
    await regions.b.ring.seal(binding, secret),
  ];
  expect(one.kekId).toBe(other.kekId);
  expect(Buffer.from(await regions.b.ring.open(binding, one))).toEqual(secret);
});

test("a KEK that cannot be fetched is tried again, and reported", async () => {
  const sealing = regions.a.ring.seal(binding, secret).catch((error: Error) => error.message);
  await time.run(100);
  const { own, duty, reader } = regions.b;
  const context = termOf(await own.newEpoch());
  const pulling = catchUp(own, [reader]).run(context);
  await time.run(20);
  await pulling;
  regions.a.peer.now = "down";
  await expect(duty.run(context)).rejects.toMatchObject({ failure: "peerUnreachable" });
  const [record] = (await recordsOf(own, systemInstance)).values();
  if (record === undefined) throw new Error("no record");
  await duty.consider(record);
  expect(regions.b.events.at(-1)).toMatchObject({ type: "warning" });
  await time.run(5_000);
  expect(await sealing).toContain("waits for region b");
  regions.a.peer.now = "up";
  expect(await duty.run(context)).toEqual({ done: 1, left: 0 });
  expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
});

test("a pushed KEK is adopted at once by the node that saw it, and fetched once", async () => {
  const sealing = regions.a.ring.seal(binding, secret).catch(() => undefined);
  await time.run(100);
  const [record] = (await recordsOf(regions.a.own, systemInstance)).values();
  if (record === undefined) throw new Error("no record");
  await regions.b.own.commit(systemInstance, [{ kind: "create", after: record }], []);
  await Promise.all([regions.b.duty.consider(record), regions.b.duty.consider(record)]);
  expect(regions.a.peer.calls.get("kek")).toBe(1);
  expect((await regions.b.keks.list("i"))[0]?.wraps).toHaveLength(2);
  await time.run(5_000);
  await sealing;
});

test("a KEK of a deleted instance is not adopted, and one whose wraps were erased does not count as missing", async () => {
  const sealing = regions.a.ring.seal(binding, secret).catch(() => undefined);
  await time.run(100);
  const [kek] = (await recordsOf(regions.a.own, systemInstance)).values();
  if (kek === undefined) throw new Error("no record");
  const { own, duty } = regions.b;
  const now = (us: number) => ({ us, region: "b" });
  const instance = makeRecord("Instance", randomUUID(), { instance: "i", name: "n" }, now(1));
  const removing = changeRecord("Instance", instance, { status: "Removing" }, now(2));
  const changes = [kek, removing].map((after) => ({ kind: "create", after }) as const);
  await own.commit(systemInstance, changes, []);
  const context = termOf(await own.newEpoch());
  expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
  await duty.consider(kek);
  expect(regions.a.peer.calls.get("kek")).toBeUndefined();

  // The deletion was dropped: the KEK that waited is adopted.
  const [before] = await own.read(systemInstance, [instance.uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const open = changeRecord("Instance", removing, { status: "Installed" }, now(3));
  await own.commit(systemInstance, [{ kind: "update", before, after: open }], []);
  expect(await duty.run(context)).toEqual({ done: 1, left: 0 });

  const [wrapped] = await own.read(systemInstance, [kek.uniqueIdentifier]);
  const [known] = await own.read(systemInstance, [instance.uniqueIdentifier]);
  if (wrapped === undefined || known === undefined) throw new Error("no record");
  const erased = withoutKekWraps(wrapped.object, now(4));
  expect(withoutKekWraps(erased, now(5))).toBe(erased);
  await own.commit(
    systemInstance,
    [
      { kind: "update", before: wrapped, after: erased },
      { kind: "update", before: known, after: withDestroyed(known.object, now(4)) },
    ],
    [],
  );
  expect((await regions.b.keks.list("i"))[0]?.wraps).toEqual([]);
  expect(await duty.run(context)).toEqual({ done: 0, left: 0 });
  await time.run(5_000);
  await sealing;
});
