import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, expect, test, vi } from "vitest";
import {
  change,
  type MemoryPeer,
  objectOf,
  openRegions,
  put,
  termOf,
} from "../../testing/leader/test-peer.ts";
import { TestTime } from "../../testing/test-time.ts";
import { PeerReader } from "./reader.ts";
import { digestCheck, Resync } from "./resync.ts";

let time: TestTime;
let own: MemoryOwnStore;
let peer: MemoryPeer;
let reader: PeerReader;
let epoch: number;

beforeEach(async () => {
  time = new TestTime();
  ({ own, peer } = await openRegions(time));
  reader = new PeerReader({ peer, own, timers: time, observe: () => undefined });
  epoch = await own.newEpoch();
});

const check = () => time.until(digestCheck(own, [reader]).run(termOf(epoch)));

test("a copy that was refused is tried again once an operator has accepted the record as it is", async () => {
  const mine = objectOf();
  await put(own, [mine]);
  await put(peer.store, [{ ...mine, objectType: 3 }]);
  expect((await check()).done).toBe(1);
  expect((await check()).done).toBe(0);
  own.accepted = () => 1;
  expect((await check()).done).toBe(1);
  expect((await check()).done).toBe(0);
});

test("an older page does not take the place of a record that was damaged after it was read", async () => {
  const mine = objectOf();
  for (const store of [own, peer.store]) await put(store, [mine]);
  const facts = { activated: { time: 1_700_000_002, region: "a" } };
  const changes = peer.changes.bind(peer);
  vi.spyOn(peer, "changes").mockImplementationOnce(async (...asked) => {
    const page = await changes(...asked);
    for (const store of [own, peer.store]) await change(store, mine, { facts });
    own.damage(mine.uniqueIdentifier);
    return page;
  });
  await time.until(reader.pullAll(await peer.position(), termOf(epoch)));
  const [read] = await own.read(mine.instance, [mine.uniqueIdentifier]);
  expect(read?.object.facts).toEqual(facts);
});

test("a resync waits for agreed operations that held records there before the request, and not here", async () => {
  const mine = objectOf();
  for (const store of [own, peer.store]) await put(store, [mine]);
  const { instance, uniqueIdentifier: id } = mine;
  await peer.store.reserve(instance, [id], "lost here");
  await peer.store.reserve(instance, [objectOf().uniqueIdentifier], "held here too");
  await own.reserve(instance, [objectOf().uniqueIdentifier], "held here too");
  const asked = await own.requestResync();
  const resync = new Resync(own, [reader], time);
  const once = () => time.until(resync.run(termOf(epoch)));
  expect((await once()).left).toBe(1);
  await peer.store.reserve(instance, [objectOf().uniqueIdentifier], "begun after it");
  expect((await once()).left).toBe(1);
  expect((await own.levels()).reached).toBeLessThan(asked);
  await peer.store.release(instance, "lost here");
  expect((await once()).left).toBe(0);
  expect((await own.levels()).reached).toBe(asked);
  // A reservation may itself wait until this store serves.
  await own.requestResync();
  await peer.store.reserve(instance, [id], "stays");
  expect((await once()).left).toBe(2);
  await time.until(time.sleep(15_000));
  expect((await once()).left).toBe(0);
});

test.each([
  ["answered", 0],
  ["not yet answered", 1],
])(
  "a resync of an emptied store, which numbers its requests anew, does not go by what was under way before an earlier one, which was %s",
  async (_, before) => {
    const { instance, uniqueIdentifier: id } = objectOf();
    const resync = new Resync(own, [reader], time);
    const once = () => time.until(resync.run(termOf(epoch)));
    if (before > 0) await peer.store.reserve(instance, [id], "at that time");
    const earlier = await own.requestResync();
    expect((await once()).left).toBe(before);
    await peer.store.release(instance, "at that time");
    await peer.store.reserve(instance, [id], "lost here");
    own.empty("another store", "another process");
    epoch = await own.newEpoch();
    expect(await own.requestResync()).toBe(earlier);
    expect((await once()).left).toBe(1);
    await peer.store.release(instance, "lost here");
    expect((await once()).left).toBe(0);
  },
);
