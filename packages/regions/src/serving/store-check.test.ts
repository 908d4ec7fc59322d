import type { Event } from "@holdfast/engine";
import { expect, test } from "vitest";
import { type PeerHello, type StoreUse, usesIn } from "../ports/ports.ts";
import { StoreCheck, storeCheckTimes } from "./store-check.ts";

const { heardMs, lastsMs, gapMs, againMs } = storeCheckTimes;
const [one, other, third] = ["0a".repeat(16), "0b".repeat(16), "0c".repeat(16)];

/** Node → its store, for region a unless the name begins with another region's. */
type Stores = Readonly<Record<string, string | undefined>>;

/** A check that hears these nodes at every look, once a second. */
class World {
  nowMs = 0;
  readonly events: Event[] = [];
  uses: readonly StoreUse[] = [];
  readonly check = new StoreCheck({
    timers: { monotonicMs: () => this.nowMs },
    observe: (event) => void this.events.push(event),
    uses: () => this.uses,
  });

  hear(stores: Stores): void {
    this.uses = Object.entries(stores).flatMap(([node, storeId]) =>
      storeId === undefined ? [] : [{ region: node[0] ?? "", node, storeId, atMs: this.nowMs }],
    );
  }

  run(ms: number, stores?: Stores): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += 1_000) {
      if (stores !== undefined) this.hear(stores);
      this.check.look();
    }
  }

  get told(): readonly (readonly [region: string, stores: number])[] {
    return this.events.map((event) =>
      event.type === "regionStores" ? [event.region, event.stores] : ["", 0],
    );
  }
}

const differing = { a1: one, a2: other };

test("two stores of one region are reported once, when the difference has lasted", () => {
  const world = new World();
  world.run(lastsMs, differing);
  expect(world.events).toEqual([]);
  expect(world.check.counts()).toEqual([["a", 1]]);
  world.run(60_000, differing);
  const reason = `the nodes of region a use 2 different stores: ${one} (a1) and ${other} (a2)`;
  expect(world.events).toEqual([{ type: "regionStores", region: "a", stores: 2, reason }]);
  expect(world.check.counts()).toEqual([["a", 2]]);
  expect(world.check.reasons).toEqual([reason]);
});

test("its end is reported once, and a later difference again", () => {
  const world = new World();
  world.run(lastsMs + 1_000, differing);
  world.run(gapMs + 60_000, { a1: one, a2: one });
  expect(world.told).toEqual([
    ["a", 2],
    ["a", 1],
  ]);
  expect(world.check.counts()).toEqual([["a", 1]]);
  expect(world.check.reasons).toEqual([]);
  world.run(lastsMs, differing);
  expect(world.told.length).toBe(2);
  world.run(1_000, differing);
  expect(world.told.at(-1)).toEqual(["a", 2]);
});

test.each<[string, Stores]>([
  ["one store for all", { a1: one, a2: one }],
  ["a node of an older release, which names no store", { a1: one, a2: undefined }],
  ["two regions, each with its store", { a1: one, a2: one, b1: other, b2: other }],
  ["a node that was heard in two ways", { a1: one, "a node": one }],
  ["no node at all", {}],
])("no difference: %s", (_, stores) => {
  const world = new World();
  world.run(60_000, stores);
  expect(world.events).toEqual([]);
  expect(world.check.counts().every(([, count]) => count === 1)).toBe(true);
});

test("nodes that notice a store's new id one after the other make no report", () => {
  const world = new World();
  for (const stores of [one, other, third]) {
    world.run(lastsMs - 1_000, { a1: stores, a2: one });
    world.run(gapMs + 2_000, { a1: stores, a2: stores });
  }
  expect(world.events).toEqual([]);
});

test("a store whose lease lapses now and then is still reported", () => {
  const world = new World();
  for (let round = 0; round < 4; round += 1) {
    world.run(3_000, differing);
    world.run(gapMs - 1_000, { a1: one });
  }
  expect(world.told).toEqual([["a", 2]]);
});

test("a node that stopped does not count, though its last answer is still known", () => {
  const world = new World();
  world.hear(differing);
  world.run(heardMs + gapMs + 60_000);
  expect(world.events).toEqual([]);
  expect(world.check.counts()).toEqual([]);
});

test("a difference of other nodes is one more report, with all of them", () => {
  const world = new World();
  world.run(lastsMs + 1_000, { a1: one, a2: other });
  world.run(2_000, { a1: one, a2: other, a3: third });
  expect(world.check.counts()).toEqual([["a", 3]]);
  world.run(againMs, { a1: one, a2: other, a3: third });
  world.run(lastsMs + 1_000, { b1: one, b2: other, a1: one, a2: other, a3: third });
  expect(world.told).toEqual([
    ["a", 2],
    ["a", 3],
    ["b", 2],
  ]);
  expect(world.check.reasons[0]).toContain(`${third} (a3)`);
});

test("names that change at every look make one report a minute, and a short one", () => {
  const world = new World();
  const name = (node: number) => [`a${node}`.padEnd(300, "x"), node.toString(16).padStart(32, "0")];
  for (let second = 0; second < 140; second += 1) {
    const nodes = Array.from({ length: 64 }, (_, i) => name(second * 64 + i));
    world.run(1_000, { ...Object.fromEntries(nodes), a1: one, a2: one });
  }
  expect(world.told).toEqual(Array.from({ length: 3 }, () => ["a", 65]));
  for (const reason of world.check.reasons) {
    expect(reason.length).toBeLessThan(2_000);
    expect(reason).toMatch(/ and 60 more$/);
  }
});

test("a report names five nodes of a store, and says how many more there are", () => {
  const world = new World();
  const nodes = ["a7", "a6", "a5", "a4", "a3", "a2"].map((node) => [node, one]);
  world.run(lastsMs + 1_000, { ...Object.fromEntries(nodes), a1: other });
  expect(world.check.reasons[0]).toContain(`${one} (a2, a3, a4, a5, a6, 1 more)`);
});

test("what is heard in two ways is compared", () => {
  const world = new World();
  let noted: readonly StoreUse[] = [];
  world.check.hear(() => noted);
  for (let second = 0; second < 12; second += 1) {
    noted = [{ region: "a", node: "a2", storeId: other, atMs: world.nowMs }];
    world.run(1_000, { a1: one });
  }
  expect(world.told).toEqual([["a", 2]]);
});

test("an answer says which store its node uses, and what that node heard of the asking region", () => {
  const hello = (said: Partial<PeerHello>) => ({
    region: "b",
    storeId: "",
    callingStores: [],
    ...said,
  });
  const asked = { node: "b1:5697", calling: "a", atMs: 7 };
  const uses = (said: Partial<PeerHello>) => usesIn(hello(said) as unknown as PeerHello, asked);
  expect(uses({})).toEqual([]);
  const callingStores = [
    { node: "a2:5697", storeId: other },
    { node: "a3:5697", storeId: "" },
  ];
  expect(uses({ storeId: one, callingStores })).toEqual([
    { region: "b", node: "b1:5697", storeId: one, atMs: 7 },
    { region: "a", node: "a2:5697", storeId: other, atMs: 7 },
  ]);
});
