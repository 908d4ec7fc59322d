import { RootOfTrustError } from "@holdfast/engine";
import type { StorageKeyWrap } from "@holdfast/redis";
import { expect, test } from "vitest";
import { storageKeyChecks } from "../admin/system/region-checks.ts";
import { readingsOf } from "./root-status.ts";
import { StorageKeyWraps } from "./storage-key-wraps.ts";

/** One storage key under root keys that a test sets, looked at when the test says so. */
function world() {
  const state = {
    wraps: [{ number: 1, rootOfTrust: "first", rootKeyVersion: "1" }] as readonly StorageKeyWrap[],
    root: { kind: "memory", name: "first", currentVersion: "1" },
    faults: [] as readonly string[],
    failure: undefined as Error | undefined,
  };
  const look = <Answer>(answer: Answer): Answer => {
    if (state.failure !== undefined) throw state.failure;
    return answer;
  };
  const storageKeys = new StorageKeyWraps({
    region: "a",
    own: { storageKeyWraps: async () => ({ wraps: state.wraps, faults: state.faults }) },
    root: async () => ({ describe: async () => look(state.root) }),
    everyMs: 1_000,
    timers: { after: () => () => undefined },
  });
  const checks = async (line = "storage key: ok") =>
    (await storageKeyChecks({ healthLines: () => [line], storageKeys })).map(
      ({ state: word, detail, mend }) => [word, detail, mend].join(" | "),
    );
  const keks = () => {
    const nothing = { instances: () => [], keks: () => [] };
    const given = { region: "a", roots: nothing, storageKeys: () => storageKeys.counts() };
    return Object.fromEntries(
      readingsOf(given as unknown as Parameters<typeof readingsOf>[0]).keks(),
    );
  };
  return { state, storageKeys, checks, keks };
}

test("a storage key under the current version is current, in the report, the metric and the check", async () => {
  const { storageKeys, checks, keks } = world();
  expect(keks()).toEqual({ current: 0, stale: 0 });
  expect(await storageKeys.row()).toEqual({
    ...{ instance: "", name: "(storage key)", region: "a", root: "first", state: "usable" },
    ...{ currentVersion: "1", versions: { "1": 1 }, stale: 0 },
  });
  expect(keks()).toEqual({ current: 1, stale: 0 });
  expect(await checks()).toEqual([
    'ok | the own store\'s key is open in this node, and wrapped under version 1 of root key "first" | ',
  ]);
});

test("a storage key under an old version or another root key is stale, so that nobody deletes that", async () => {
  const { state, storageKeys, checks, keks } = world();
  state.root = { ...state.root, currentVersion: "2" };
  expect(await storageKeys.row()).toMatchObject({ versions: { "1": 1 }, stale: 1 });
  expect(keks()).toEqual({ current: 0, stale: 1 });
  expect(await checks()).toEqual([
    expect.stringMatching(
      /^warning \| .* under version 1 .*; its current version is 2 \| do not delete what it is under/,
    ),
  ]);
  state.root = { kind: "memory", name: "next", currentVersion: "1" };
  expect(await storageKeys.row()).toMatchObject({ versions: { "first 1": 1 }, stale: 1 });
  expect(keks()).toEqual({ current: 0, stale: 1 });
});

test("what cannot be known now counts as stale in the report, and is a warning of the check", async () => {
  const { state, storageKeys, checks, keks } = world();
  state.failure = new RootOfTrustError("unavailable", "it is out");
  expect(await storageKeys.row()).toMatchObject({ state: "unchecked", versions: {}, stale: 1 });
  expect(await checks()).toEqual([expect.stringMatching(/^warning \| .*not known now: it is out/)]);
  state.failure = undefined;
  expect(await storageKeys.row()).toMatchObject({ state: "usable", stale: 0 });
  state.failure = new RootOfTrustError("unavailable", "it is out");
  expect(await storageKeys.row()).toMatchObject({ state: "unchecked", stale: 1 });
  state.failure = undefined;
  state.root = { ...state.root, currentVersion: "2" };
  await storageKeys.look();
  state.failure = new RootOfTrustError("denied", "it refuses");
  expect(await storageKeys.row()).toMatchObject({ state: "unchecked", stale: 1 });
  expect(keks()).toEqual({ current: 0, stale: 1 });
});

test("a storage key that is missing or damaged in Redis fails the check, and is no key that is current", async () => {
  const { state, storageKeys, checks } = world();
  state.faults = ["storage key 1 is missing in {sys}:keys"];
  expect(await checks()).toEqual([
    expect.stringMatching(
      /^failed \| .*storage key 1 is missing in \{sys\}:keys \| do not restart the region's nodes/,
    ),
  ]);
  const row = { state: "unchecked", versions: { "1": 1 }, stale: 1 };
  expect(await storageKeys.row()).toMatchObject(row);
  state.faults = [];
  expect(await storageKeys.row()).toMatchObject({ ...row, state: "usable", stale: 0 });
  expect(await checks()).toEqual([expect.stringMatching(/^ok/)]);
});

test("a node whose key is closed says so first", async () => {
  const { checks } = world();
  expect(await checks("storage key: no (unavailable)")).toEqual([
    expect.stringMatching(/^failed \| this node cannot use its own store: no \(unavailable\)/),
  ]);
});
