import { changeRecord, kekRecord } from "@holdfast/engine";
import {
  makeRegionKey,
  publicHalf,
  RegionKeys,
  readPeerKey,
  readRegionKey,
} from "@holdfast/regions";
import { beforeEach, expect, test } from "vitest";
import { KekOrders, lostKeks, orderMs } from "./kek-orders.ts";

const [one, two] = [1, 2].map((digit) => `${digit}1111111-2222-4333-8444-555555555555`) as [
  string,
  string,
];
const other = readPeerKey(publicHalf(readRegionKey(makeRegionKey())));
const keysOf = () => new RegionKeys(readRegionKey(makeRegionKey()), [other]);
const keys = keysOf();

let stored: string;
let nowMs: number;
let reads: number;

const own = {
  storeId: "store",
  localValue: async () => {
    reads += 1;
    return stored;
  },
  setLocalValue: async (_: string, read: string, value: string) => {
    if (stored !== read) return false;
    stored = value;
    return true;
  },
};
const ordersOf = (given: object = {}) =>
  new KekOrders({ region: "a", own, keys: () => keys, wallMs: () => nowMs, ...given });

beforeEach(() => {
  stored = "";
  reads = 0;
  nowMs = 1_800_000_000_000;
});

test("an order names a KEK and a region, and ends after an hour", async () => {
  const orders = ordersOf();
  expect(await orders.allows(one, "b")).toBe(false);
  expect(await orders.give([one], "b")).toBe(true);
  expect(await orders.allows(one, "b")).toBe(true);
  expect(await orders.allows(two, "b")).toBe(false);
  expect(await orders.allows(one, "c")).toBe(false);
  nowMs += orderMs - 1;
  expect(await orders.give([two], "b")).toBe(true);
  expect(await orders.allows(one, "b")).toBe(true);
  nowMs += 1;
  expect(await orders.allows(one, "b")).toBe(false);
  expect(await orders.allows(two, "b")).toBe(true);
});

test("who writes to the store gives no order: not by hand, by another key, or by one of another region or store", async () => {
  await ordersOf().give([one], "b");
  const good = stored;
  const forged = [
    good.replace(one, two),
    good.replace(/\d{13}$/, (until) => String(Number(until) + 1)),
    good.replace(/^[^\n]+/, ""),
    good.slice(good.indexOf("\n") + 1),
    "\n",
  ];
  for (const value of forged) {
    stored = value;
    for (const kek of [one, two]) expect(await ordersOf().allows(kek, "b"), value).toBe(false);
  }
  stored = good;
  for (const given of [{ keys: keysOf }, { region: "c" }, { own: { ...own, storeId: "x" } }]) {
    expect(await ordersOf(given).allows(one, "b")).toBe(false);
  }
  expect(await ordersOf().allows(one, "b")).toBe(true);
});

test("a clock that was put back does not make an order last", async () => {
  await ordersOf().give([one], "b");
  nowMs -= 60_001;
  expect(await ordersOf().allows(one, "b")).toBe(false);
});

test("of two orders at the same time, one is told to try again", async () => {
  const [first, second] = [ordersOf(), ordersOf()];
  const given = await Promise.all([first.give([one], "b"), second.give([two], "b")]);
  expect(given.toSorted()).toEqual([false, true]);
});

test("a node reads a list of orders once, and knows when they end", async () => {
  const ids = Array.from({ length: 100 }, (_, at) => one.replace(/.{3}$/, String(100 + at)));
  await ordersOf().give(ids, "b");
  reads = 0;
  const orders = ordersOf();
  for (const id of ids) expect(await orders.allows(id, "b")).toBe(true);
  expect(reads).toBe(1);
  // One that is given later counts at once.
  await ordersOf().give([two], "b");
  expect(await orders.allows(two, "b")).toBe(true);
  nowMs += orderMs;
  for (const id of [...ids, two]) expect(await orders.allows(id, "b")).toBe(false);
});

test("an order names the KEKs under the lost root key, and those whose wrap was removed or is not valid", () => {
  const wrapOf = (region: string, rootOfTrust: string) => ({
    ...{ region, rootOfTrust, rootKeyVersion: "1", blob: new Uint8Array([1]) },
  });
  const record = (id: string, ...wraps: ReturnType<typeof wrapOf>[]) => {
    const kek = { id, createdMs: 1, check: new Uint8Array([1]), wraps };
    return kekRecord({ instance: "i", kek }, true, { us: 1, region: "a" });
  };
  const without = (...regions: readonly string[]) => {
    const wraps = Object.fromEntries(regions.map((region) => [region, undefined]));
    const made = record(two, wrapOf("a", "r"), wrapOf("b", "r"));
    return changeRecord("Kek", made, { wraps }, { us: 2, region: "b" });
  };
  const under = record(one, wrapOf("a", "other"), wrapOf("b", "r"));
  const found = (...records: readonly ReturnType<typeof record>[]) => {
    const { lost, unwrapped, roots } = lostKeks(records, "b", "r");
    return { lost, unwrapped, roots: [...roots] };
  };
  expect(found(under)).toEqual({ lost: [one], unwrapped: [], roots: ["r"] });
  expect(found(record(one, wrapOf("b", "other")))).toMatchObject({ lost: [], roots: ["other"] });
  expect(found(without("b"))).toEqual({ lost: [], unwrapped: [two], roots: [] });
  // It needs no order for one that it never wrapped, and nobody gets one that was erased.
  expect(found(record(one, wrapOf("a", "r")), without("a", "b"))).toMatchObject({
    ...{ lost: [], unwrapped: [] },
  });
});
