import type { KeyRingStatus } from "@holdfast/engine";
import { expect, test } from "vitest";
import { systemClock } from "../../base/system.ts";
import { readingsOf } from "../../roots/root-status.ts";
import { rootChecks, sameStoreChecks, storeChecks } from "./region-checks.ts";

const lost = "the key-encryption keys' store cannot be reached";

const order = { by: "anna", id: "1", atMs: 0 } as const;

/** What the check of roots of trust says about instances whose keys are in these states. */
function says(given: Readonly<Record<string, KeyRingStatus["state"]>>): readonly string[] {
  const record = (name: string) => ({
    ...{ name, shredded: given[name] === "shredded" ? { a: order } : {}, opened: {} },
  });
  const statuses = Object.entries(given)
    .filter(([, state]) => state !== "shredded")
    .map(([name, state]) => [name, { state, reason: lost, sinceMs: 1 }] as const);
  const readings = readingsOf({
    region: "a",
    roots: {
      inUse: () => [{ root: { kind: "local", health: { ok: true } } }],
      instances: () => Object.keys(given),
      record,
    },
    keyRing: { statuses: () => new Map(statuses) },
    clock: { wallMs: () => 1 },
    storageKeys: () => ({ current: 0, stale: 0 }),
  } as unknown as Parameters<typeof readingsOf>[0]);
  const sources = { readings, healthLines: () => [] };
  const checks = rootChecks(sources as unknown as Parameters<typeof rootChecks>[0]);
  return checks
    .filter(({ state }) => state !== "ok")
    .map(({ state, detail }) => `${state}: ${detail}`);
}

test("the check of roots of trust names an instance whose keys are not open, and why", () => {
  expect(says({ "kmip-1": "open", "kmip-2": "grace" })).toEqual([
    `failed: the keys of kmip-2 are in state grace: ${lost}`,
  ]);
  expect(says({ "kmip-1": "closed", "kmip-2": "closed", "kmip-3": "closed" })).toEqual([
    `failed: the keys of kmip-1 and 2 more are in state closed: ${lost}`,
  ]);
  expect(says({ "kmip-1": "shredded" })).toEqual([
    expect.stringContaining(
      "the keys of kmip-1 are in state shredded: its keys were shredded by anna",
    ),
  ]);
  expect(says({ "kmip-1": "open" })).toEqual([]);
});

test("the check of the store reports a missing lease, and whether the store has caught up", async () => {
  const details = async (own: object) => {
    const healthLines = () => ["store: none (lapsed: full barrier)", "serving: none"];
    const sources = { ...systemClock, own, healthLines } as unknown as Parameters<
      typeof storeChecks
    >[0];
    return (await storeChecks(sources)).map(({ detail }) => detail);
  };
  expect(await details({ state: () => "none" })).toEqual([
    "this node's lease on it is none (lapsed: full barrier); clients are served from: none",
  ]);
  const whole = {
    state: () => "full",
    quarantined: async () => 0,
    reservations: async () => [],
    levels: async () => ({ asked: 1, reached: 1 }),
    unprovenValues: () => [] as string[],
  };
  expect(await details(whole)).toContain("the store has caught up since it last came back");
  const unproven = { ...whole, unprovenValues: () => ["{sys}:levels reached", "{p00}:cursors b"] };
  expect(await details(unproven)).toContain(
    "a value in Redis does not prove itself, and does not count: {sys}:levels reached, and 1 more",
  );
});

test("the check of stores reports nodes of one region that use different stores", () => {
  const says = (stores: object) => {
    const sources = { stores } as unknown as Parameters<typeof sameStoreChecks>[0];
    return sameStoreChecks(sources).map(({ state, detail }) => `${state}: ${detail}`);
  };
  const counts = () => [["b", 1] as const, ["a", 1] as const];
  expect(says({ reasons: [], counts })).toEqual([
    "ok: no two nodes of region a and b are known to use different stores",
  ]);
  expect(says({ reasons: [], counts: () => [] })).toEqual([
    "ok: no two nodes of any region are known to use different stores",
  ]);
  const reason = "the nodes of region a use 2 different stores";
  expect(says({ reasons: [reason], counts })).toEqual([`failed: ${reason}`]);
});
