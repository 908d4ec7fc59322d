import { beforeEach, describe, expect, test } from "vitest";
import { type State, stateOf } from "../record/lifecycle.ts";
import { aesKey } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import { ClockCheck } from "./clock-check.ts";

const start = 1_780_000_000;
const key = aesKey();

/** Seconds by which each clock is ahead of the true time; a clock that is absent was never read. */
interface Ahead {
  own: number;
  store?: number;
  /** One clock for each node of the other region. */
  peers: readonly number[];
}

let ahead: Ahead;
/** True time, seconds, and the monotonic clock with it. */
let now: number;
/** When the other clocks were last read. */
let heard: number | undefined;
let check: ClockCheck;
let engine: TestEngine;

beforeEach(async () => {
  ahead = { own: 0, store: 0, peers: [0, 0] };
  now = start;
  heard = undefined;
  const clock = { wallMs: () => (now + ahead.own) * 1000, monotonicMs: () => now * 1000 };
  check = new ClockCheck(clock, () => {
    const reading = (of: string, by: number, at: number) => ({
      ...{ of, wallMs: (at + by) * 1000, atMs: at * 1000 },
    });
    const { store, peers } = ahead;
    return [
      ...(store === undefined ? [] : [reading("the store", store, now)]),
      ...peers.map((by) => reading("region b", by, heard ?? now)),
    ];
  });
  engine = await testEngine({ clock: { ...clock, doubt: () => check.doubt() } });
});

/** Makes a key that becomes Active `inSeconds` of true time from now. */
async function planned(inSeconds: number): Promise<string> {
  const dates = { ActivationDate: now + inSeconds };
  const created = await engine.ask("2.1", "Create", aesKey(dates));
  return created.uniqueIdentifier;
}

const stateAsked = (uniqueIdentifier: string) =>
  engine.ask("1.4", "GetAttributes", { uniqueIdentifier, attributes: ["State"] }).then(
    () => "answered",
    ({ message }: Error) => message,
  );

async function stateStored(id: string): Promise<State | undefined> {
  const [stored] = await engine.store.read("i", [id]);
  return stored && stateOf(stored.object.facts);
}

const cannotTell = /cannot tell: a date of this object has come, and this node's clock disagrees/;

test("clocks that agree decide a date", async () => {
  const id = await planned(30);
  now += 30;
  expect(await stateAsked(id)).toBe("answered");
  expect(await stateStored(id)).toBe("Active");
});

describe("when only this node's clock is wrong", () => {
  test("a clock 59 s ahead decides a date", async () => {
    const id = await planned(30);
    ahead.own = 59;
    expect(check.doubt()).toBeUndefined();
    expect(await stateAsked(id)).toBe("answered");
    expect(await stateStored(id)).toBe("Active");
  });

  test("a clock 61 s ahead does not decide a date that has not come by the others, and all requests work", async () => {
    const id = await planned(30);
    ahead.own = 61;
    expect(check.doubt()).toMatchObject({
      latestSeconds: start,
      reason: expect.stringContaining("61 s ahead of the clock of the store"),
    });
    expect(await stateAsked(id)).toBe("answered");
    const later = await planned(30);
    expect([await stateStored(id), await stateStored(later)]).toEqual(["PreActive", "PreActive"]);
    ahead.own = 0;
    now += 30;
    expect(await stateAsked(id)).toBe("answered");
    expect(await stateStored(id)).toBe("Active");
  });

  test("a clock 61 s ahead or behind does not decide a date that has come by the others, but Get works", async () => {
    for (const own of [61, -61]) {
      ahead.own = 0;
      const id = await planned(30);
      now += 40;
      ahead.own = own;
      expect(await stateAsked(id)).toMatch(cannotTell);
      expect(await engine.reason("2.1", "Activate", { uniqueIdentifier: id })).toBe(
        "GeneralFailure",
      );
      const got = await engine.ask("2.1", "Get", { uniqueIdentifier: id });
      expect(got.uniqueIdentifier).toBe(id);
      expect(await stateStored(id)).toBe("PreActive");
    }
  });

  test("every operation works without a date, or with one that is decided already", async () => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", key);
    const id = await planned(0);
    ahead.own = 3_600;
    expect(await stateAsked(uniqueIdentifier)).toBe("answered");
    expect(await engine.ask("2.1", "Activate", { uniqueIdentifier })).toEqual({ uniqueIdentifier });
    expect(await stateAsked(id)).toBe("answered");
  });
});

test("a new object whose date has come by another clock is refused", async () => {
  ahead.store = 61;
  const dates = { ActivationDate: now + 30 };
  expect(await engine.reason("2.1", "Create", aesKey(dates))).toBe("GeneralFailure");
  expect(await planned(90)).toBeDefined();
});

test("a date that has come only by the store's wrong clock is not decided", async () => {
  const id = await planned(30);
  ahead.store = 61;
  expect(check.doubt()?.reason).toContain("61 s behind the clock of the store");
  expect(await stateAsked(id)).toMatch(cannotTell);
  ahead.store = 59;
  expect(check.doubt()).toBeUndefined();
  // Not due by this node's clock, which agrees.
  expect(await stateAsked(id)).toBe("answered");
  expect(await stateStored(id)).toBe("PreActive");
});

test("of the other region's clocks, the one nearest to this node's counts", () => {
  ahead.peers = [-3_600, -59];
  expect(check.doubt()).toBeUndefined();
  ahead.peers = [-3_600, -61];
  expect(check.doubt()?.reason).toContain("61 s ahead of the clock of region b");
});

test("the store's clock decides alone while the other region is unreachable", async () => {
  ahead.peers = [-3_600];
  const id = await planned(60);
  heard = now;
  now += 30;
  expect(check.doubt()).toBeDefined();
  now += 30;
  expect(check.doubt()).toBeUndefined();
  expect(await stateAsked(id)).toBe("answered");
  expect(await stateStored(id)).toBe("Active");
  ahead.own = 61;
  expect(check.doubt()).toBeDefined();
});
