import { type Event, encodeRecord, partitionOf, tagOf } from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { VirtualTime } from "../../testing/leader/test-leader.ts";
import {
  change,
  type MemoryPeer,
  objectOf,
  openRegions,
  put,
  recordsOf,
  termOf,
} from "../../testing/leader/test-peer.ts";
import { fill } from "../../testing/test-regions.ts";
import { PeerReader } from "./reader.ts";
import { catchUp, digestCheck, Resync } from "./resync.ts";
import { missingInTail } from "./tail.ts";

const partition = partitionOf("i");
const served = { time: 1_700_000_001, region: "b" };
const activated = { time: 1_700_000_002, region: "a" };

let time: VirtualTime;
let own: MemoryOwnStore;
let peer: MemoryPeer;
let events: Event[];
let reader: PeerReader;
let epoch: number;

beforeEach(async () => {
  time = new VirtualTime();
  ({ own, peer } = await openRegions(time));
  events = [];
  reader = readerOf();
  epoch = await own.newEpoch();
});

function readerOf(): PeerReader {
  return new PeerReader({ peer, own, timers: time, observe: (event) => events.push(event) });
}

/** Runs work that waits with `Timers`. */
async function timed<Result>(work: Promise<Result>): Promise<Result> {
  let over = false;
  const result = work.finally(() => {
    over = true;
  });
  result.catch(() => undefined);
  for (let rounds = 0; !over && rounds < 100_000; rounds += 1) await time.run(5);
  return result;
}

function caughtUp() {
  return timed(catchUp(own, [reader]).run(termOf(epoch)));
}

async function expectEqual(): Promise<void> {
  const [ours, theirs] = [await recordsOf(own), await recordsOf(peer.store)];
  const tags = (records: typeof ours) =>
    [...records.values()].map((object) => tagOf(encodeRecord(object))).toSorted();
  expect(tags(ours)).toEqual(tags(theirs));
}

describe("catch-up", () => {
  test("brings everything at a first contact, then what changed, then nothing", async () => {
    const objects = Array.from({ length: 2_500 }, () => objectOf());
    await put(peer.store, objects);
    expect(await caughtUp()).toEqual({ done: 2_500, left: 0 });
    await expectEqual();
    expect(await own.cursor(partition, "b")).toEqual({ replicationId: "b b1", number: 2_500 });
    await change(peer.store, objects[3] as never, { facts: { activated } });
    await put(peer.store, [objectOf()]);
    expect(await caughtUp()).toEqual({ done: 2, left: 0 });
    await expectEqual();
    peer.calls.clear();
    expect(await caughtUp()).toEqual({ done: 0, left: 0 });
    expect([...peer.calls]).toEqual([["position", 1]]);
  });

  test("continues from the cursor with another leader, and asks for nothing twice", async () => {
    await put(peer.store, [objectOf(), objectOf()]);
    await caughtUp();
    reader = readerOf();
    peer.calls.clear();
    await put(peer.store, [objectOf()]);
    expect(await caughtUp()).toEqual({ done: 1, left: 0 });
    expect(peer.calls.get("changes")).toBe(1);
    expect(peer.calls.get("digests")).toBeUndefined();
  });

  test("joins, and does not overwrite what this region changed", async () => {
    const object = objectOf();
    await put(peer.store, [object]);
    await caughtUp();
    await change(own, object, { facts: { activated } });
    await change(peer.store, object, { facts: { served } });
    await caughtUp();
    expect((await recordsOf(own)).get(object.uniqueIdentifier)?.facts).toEqual({
      served,
      activated,
    });
  });

  test("does not skip a record that an agreed operation holds, and does not delay the others", async () => {
    const [held, other] = [objectOf(), objectOf()];
    await put(own, [held]);
    await put(peer.store, [{ ...held, facts: { activated } }, other]);
    await own.reserve("i", [held.uniqueIdentifier], "op");
    const first = await caughtUp();
    expect(first.left).toBe(1);
    expect((await recordsOf(own)).has(other.uniqueIdentifier)).toBe(true);
    expect(await own.cursor(partition, "b")).toBeUndefined();
    await put(peer.store, [objectOf()]);
    expect((await caughtUp()).left).toBe(1);
    expect((await recordsOf(own)).size).toBe(3);
    await own.release("i", "op");
    expect((await caughtUp()).left).toBe(0);
    await expectEqual();
    expect(await own.cursor(partition, "b")).toEqual({ replicationId: "b b1", number: 3 });
  });

  test("reads records that were held again with the next leader", async () => {
    const held = objectOf();
    await put(own, [held]);
    await put(peer.store, [{ ...held, facts: { activated } }]);
    await own.reserve("i", [held.uniqueIdentifier], "op");
    await caughtUp();
    await own.release("i", "op");
    reader = readerOf();
    expect(await caughtUp()).toEqual({ done: 1, left: 0 });
    await expectEqual();
  });

  test("a damaged record is reported and skipped", async () => {
    const [bad, good] = [objectOf(), objectOf()];
    await put(peer.store, [bad, good]);
    peer.store.damage(bad.uniqueIdentifier);
    expect((await caughtUp()).left).toBe(0);
    expect([...(await recordsOf(own)).keys()]).toEqual([good.uniqueIdentifier]);
    expect(events).toContainEqual(
      expect.objectContaining({
        type: "warning",
        message: expect.stringContaining(bad.uniqueIdentifier),
      }),
    );
  });

  test.each(["own", "peer"])("is never level with a newer format in the %s store", async (side) => {
    const [newer, other] = [objectOf(), objectOf()];
    await put(own, [newer]);
    await put(peer.store, [{ ...newer, facts: { activated } }, other]);
    (side === "own" ? own : peer.store).damage(newer.uniqueIdentifier, true);
    for (let times = 0; times < 3; times += 1) {
      expect((await caughtUp()).left).toBe(1);
    }
    const asked = await own.requestResync();
    await timed(new Resync(own, [reader], time).run(termOf(epoch)));
    expect((await own.levels()).reached).toBeLessThan(asked);
    expect(await own.cursor(partition, "b")).toBeUndefined();
    expect((await own.read("i", [other.uniqueIdentifier]))[0]?.object).toEqual(other);
    expect(await own.quarantined()).toBe(0);
  });

  test("compares digests when the other side has another process, and fetches only what differs", async () => {
    const objects = Array.from({ length: 300 }, () => objectOf());
    await put(peer.store, objects);
    await caughtUp();
    peer.store.failOver("b2");
    await change(peer.store, objects[7] as never, { facts: { activated } });
    await put(peer.store, [objectOf()]);
    peer.calls.clear();
    expect(await caughtUp()).toEqual({ done: 2, left: 0 });
    expect(peer.calls.get("digests")).toBe(1);
    expect(peer.calls.get("changes")).toBeUndefined();
    await expectEqual();
    expect(await own.cursor(partition, "b")).toEqual({ replicationId: "b b2", number: 302 });
    peer.calls.clear();
    await put(peer.store, [objectOf()]);
    expect(await caughtUp()).toEqual({ done: 1, left: 0 });
    expect(peer.calls.get("digests")).toBeUndefined();
  });

  test("does not compare with leaves that another process numbered", async () => {
    const leaves = (replicationId: string) => ({
      leaves: async () => ({ replicationId, last: 0, leaves: [], next: undefined }),
    });
    const asked = {
      partition,
      after: 0,
      ownAfter: 0,
      unjoinable: new Map(),
      replicationId: "b b1",
    };
    const missing = (counted: string) =>
      missingInTail({ ...asked, own: leaves("a a1"), peer: leaves(counted) } as never);
    expect(await missing("b b1")).toEqual([]);
    expect(await missing("b b2")).toBeUndefined();
  });

  test("compares digests when the changes end before the cursor, although the process is the same", async () => {
    await put(peer.store, [objectOf(), objectOf(), objectOf()]);
    await caughtUp();
    await own.setCursor(partition, "b", { replicationId: "b b1", number: 9 }, epoch);
    reader = readerOf();
    const late = objectOf();
    await put(peer.store, [late]);
    expect(await caughtUp()).toEqual({ done: 1, left: 0 });
    expect(peer.calls.get("digests")).toBe(1);
    expect((await recordsOf(own)).has(late.uniqueIdentifier)).toBe(true);
    expect(await own.cursor(partition, "b")).toEqual({ replicationId: "b b1", number: 4 });
  });

  test("a leader that was deposed moves no cursor", async () => {
    await put(peer.store, [objectOf()]);
    await own.newEpoch();
    await expect(caughtUp()).rejects.toMatchObject({ failure: "deposed" });
    expect(await own.cursor(partition, "b")).toBeUndefined();
  });

  test("ignores what was read when the lease lapses while pages come", async () => {
    await put(
      peer.store,
      Array.from({ length: 3_000 }, () => objectOf()),
    );
    let pages = 0;
    peer.before = (method) => {
      if (method !== "changes") return;
      pages += 1;
      if (pages !== 2) return;
      own.setState("none");
      own.setState("full");
    };
    expect((await caughtUp()).left).toBeGreaterThan(0);
    expect(await own.cursor(partition, "b")).toBeUndefined();
    await caughtUp();
    await expectEqual();
  });

  test("pushed records are not fetched again, and others are", async () => {
    const both = () => {
      const object = objectOf();
      return Promise.all([put(peer.store, [object]), put(own, [object])]);
    };
    for (let rounds = 0; rounds < 3; rounds += 1) {
      await both();
      await caughtUp();
    }
    const missed = objectOf();
    const changed = objectOf();
    await Promise.all([both(), put(peer.store, [missed, changed]), put(own, [changed]), both()]);
    await change(peer.store, changed, { facts: { activated } });
    peer.calls.clear();
    expect(await caughtUp()).toEqual({ done: 2, left: 0 });
    expect([...peer.calls].toSorted()).toEqual([
      ["leaves", 1],
      ["position", 1],
      ["records", 1],
    ]);
    await expectEqual();
    expect(await own.cursor(partition, "b")).toEqual({ replicationId: "b b1", number: 8 });
    peer.calls.clear();
    expect(await caughtUp()).toEqual({ done: 0, left: 0 });
    expect([...peer.calls]).toEqual([["position", 1]]);
  });

  test("if most records were not pushed, whole pages are read", async () => {
    for (let rounds = 0; rounds < 3; rounds += 1) {
      await put(peer.store, [objectOf()]);
      await caughtUp();
    }
    await put(
      peer.store,
      Array.from({ length: 1_000 }, () => objectOf()),
    );
    peer.calls.clear();
    expect(await caughtUp()).toEqual({ done: 1_000, left: 0 });
    expect(peer.calls.get("records")).toBeUndefined();
    expect(peer.calls.get("changes")).toBe(1);
    await expectEqual();
  });

  test("asks nothing of a region that is down", async () => {
    peer.now = "down";
    expect(await caughtUp()).toEqual({ done: 0, left: 0 });
    expect(peer.calls.size).toBe(0);
  });
});

describe("digests", () => {
  const check = () => timed(digestCheck(own, [reader]).run(termOf(epoch)));

  test("find what neither a push nor a cursor brought", async () => {
    const objects = Array.from({ length: 1_000 }, () => objectOf());
    await put(peer.store, objects);
    await put(own, objects.slice(0, 990));
    await own.setCursor(partition, "b", { replicationId: "b b1", number: 1_000 }, epoch);
    expect(await caughtUp()).toEqual({ done: 0, left: 0 });
    expect(await check()).toEqual({ done: 10, left: 0 });
    await expectEqual();
    expect(await check()).toEqual({ done: 0, left: 0 });
  });

  test("ignore records that only this region has", async () => {
    await put(own, [objectOf()]);
    expect(await check()).toEqual({ done: 0, left: 0 });
    expect(peer.calls.get("records")).toBeUndefined();
  });

  test("a copy that cannot be joined is put aside once, until it changes", async () => {
    const mine = objectOf();
    const theirs = { ...mine, objectType: 3 };
    await put(own, [mine]);
    await put(peer.store, [theirs]);
    expect((await check()).done).toBe(1);
    expect(await own.quarantined()).toBe(1);
    expect((await check()).done).toBe(0);
    await change(peer.store, theirs, { facts: { activated } });
    expect((await check()).done).toBe(1);
    expect((await recordsOf(own)).get(mine.uniqueIdentifier)?.objectType).toBe(2);
  });

  test("a copy that was refused is tried again once a doubt of the own store has ended", async () => {
    const mine = objectOf();
    await put(own, [mine]);
    await put(peer.store, [{ ...mine, objectType: 3 }]);
    expect((await caughtUp()).done).toBe(1);
    own.doubted = () => true;
    expect((await caughtUp()).done).toBe(0);
    own.doubted = () => false;
    expect((await caughtUp()).done).toBe(1);
    expect((await caughtUp()).done).toBe(0);
  });
});

describe("resync", () => {
  const level = (context = termOf(epoch)) => timed(new Resync(own, [reader], time).run(context));
  const check = () => timed(digestCheck(own, [reader]).run(termOf(epoch)));

  test("reaches a request once the own store has everything up to a position read after it", async () => {
    await put(
      peer.store,
      Array.from({ length: 1_500 }, () => objectOf()),
    );
    const asked = await own.requestResync();
    expect((await own.levels()).reached).toBeLessThan(asked);
    expect((await level()).left).toBe(0);
    expect(await own.levels()).toMatchObject({ asked, reached: asked });
    await expectEqual();
    peer.calls.clear();
    await level();
    expect(peer.calls.size).toBe(0);
  });

  test("is needed again when a catch-up finds no room, and reaches the level once there is room", async () => {
    const asked = await own.requestResync();
    await level();
    const empty = fill(own);
    await put(peer.store, [objectOf()]);
    await expect(caughtUp()).rejects.toMatchObject({ failure: "full" });
    const { lost, reached } = await own.levels();
    expect({ lost, reached }).toEqual({ lost: asked + 1, reached: asked });
    await expect(level()).rejects.toMatchObject({ failure: "full" });
    empty();
    expect((await level()).left).toBe(0);
    expect((await own.levels()).reached).toBe(lost);
    await expectEqual();
    await put(peer.store, [objectOf()]);
    fill(own);
    await expect(check()).rejects.toMatchObject({ failure: "full" });
    expect((await own.levels()).lost).toBeGreaterThan(lost);
  });

  test("reaches nothing while the own store is doubted, and takes what it refused before it does", async () => {
    const mine = objectOf();
    await put(own, [mine]);
    await put(peer.store, [{ ...mine, objectType: 3 }]);
    const asked = await own.requestResync();
    own.doubted = () => true;
    expect((await level()).left).toBe(1);
    expect((await own.levels()).reached).toBeLessThan(asked);
    own.doubted = () => false;
    expect(await level()).toEqual({ done: 1, left: 0 });
    expect((await own.levels()).reached).toBe(asked);
  });

  test("looks also with another leader for what the store lacks before the cursors, once it has lost its level", async () => {
    const mine = objectOf();
    await put(peer.store, [mine]);
    await put(own, [{ ...mine, objectType: 3 }]);
    await own.requestResync();
    await level();
    own.doubted = () => true;
    await own.loseLevel();
    await caughtUp();
    own.doubted = () => false;
    const asked = await own.requestResync();
    epoch = await own.newEpoch();
    reader = readerOf();
    expect(await level()).toEqual({ done: 1, left: 0 });
    expect((await own.levels()).reached).toBe(asked);
    // A level that was not lost needs no comparison.
    await own.requestResync();
    reader = readerOf();
    expect(await level()).toEqual({ done: 0, left: 0 });
  });

  test("counts a request that comes meanwhile as another one", async () => {
    await put(peer.store, [objectOf()]);
    const first = await own.requestResync();
    peer.before = async (method) => {
      if (method === "changes") await own.requestResync();
    };
    await level();
    expect(await own.levels()).toMatchObject({ asked: first + 1, reached: first });
  });

  test("reaches nothing while the other region cannot be asked, or a record is held", async () => {
    await own.requestResync();
    peer.now = "down";
    await expect(level()).rejects.toMatchObject({ failure: "peerUnreachable" });
    peer.now = "up";
    const held = objectOf();
    await put(own, [held]);
    await put(peer.store, [{ ...held, facts: { activated } }]);
    await own.reserve("i", [held.uniqueIdentifier], "op");
    expect((await level()).left).toBe(1);
    expect((await own.levels()).reached).toBe(0);
    await own.release("i", "op");
    await level();
    expect((await own.levels()).reached).toBe(1);
  });

  test("is done at once in a region without others, or whose others are retired", async () => {
    await own.requestResync();
    await timed(new Resync(own, [], time).run(termOf(epoch)));
    expect((await own.levels()).reached).toBe(1);
    await own.requestResync();
    peer.now = "retired";
    await level();
    expect((await own.levels()).reached).toBe(2);
  });

  test("reads everything again into a store that lost what it had", async () => {
    const objects = Array.from({ length: 50 }, () => objectOf());
    await put(peer.store, objects);
    await caughtUp();
    own.setState("none");
    own.empty("a'", "a2");
    await own.instances.ensure("i", "i");
    own.setState("full");
    epoch = await own.newEpoch();
    await own.requestResync();
    await level();
    expect((await own.levels()).reached).toBe(1);
    await expectEqual();
  });

  test("ignores what the leader remembers after an outage that only another node saw", async () => {
    await put(peer.store, [objectOf()]);
    await caughtUp();
    await own.setCursor(partition, "b", { replicationId: "b b1", number: 0 }, epoch);
    await own.requestResync();
    peer.calls.clear();
    await level();
    expect(peer.calls.get("changes")).toBe(1);
  });

  test("leaves the request to the next leader when the term ends", async () => {
    await put(
      peer.store,
      Array.from({ length: 3_000 }, () => objectOf()),
    );
    await own.requestResync();
    let pages = 0;
    peer.before = (method) => {
      if (method === "changes") pages += 1;
    };
    const context = { ...termOf(epoch), active: () => pages < 2 };
    expect((await level(context)).left).toBeGreaterThan(0);
    expect((await own.levels()).reached).toBe(0);
  });

  test("reads the next page while it joins the last one, at 80 ms per round trip", async () => {
    await put(
      peer.store,
      Array.from({ length: 6_000 }, () => objectOf()),
    );
    await own.requestResync();
    peer.delayMs = 80;
    const startedMs = time.monotonicMs();
    await level();
    // Six pages and a position one after another, and no other wait.
    expect(time.monotonicMs() - startedMs).toBeLessThan(8 * 80 + 100);
  });
});
