import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, test } from "vitest";
import { nodeTimers } from "../connection/timers.ts";
import { LeaseKeeper } from "./lease-keeper.ts";

const waitMs = 200;
let nowMs: number;
let keeper: LeaseKeeper;

beforeEach(() => {
  nowMs = 1_000;
  const clock = { monotonicMs: () => nowMs, wallMs: () => nowMs };
  const rules = { storeLeaseMs: 1_000, promotion: "nobody", sentinels: 0 } as const;
  keeper = new LeaseKeeper(rules, clock, () => undefined, nodeTimers);
  return () => keeper.dispose();
});

function win(): void {
  keeper.apply({ type: "connected", holder: { connection: 1, runId: "r", address: "a:1" } });
  const began = keeper.now();
  keeper.apply({ type: "barrier", connection: 1, began, local: true, replicas: true });
}

/** The results of so many waits, as far as they have ended. */
function waiting(count: number): boolean[] {
  const results: boolean[] = [];
  for (let at = 0; at < count; at++) {
    void keeper.wait("read", waitMs).then((allowed) => results.push(allowed));
  }
  return results;
}

test("a wait ends as soon as the need is met", async () => {
  const results = waiting(200);
  await sleep(1);
  expect(results).toEqual([]);
  win();
  await sleep(1);
  expect(results).toEqual(Array.from({ length: 200 }, () => true));
  expect(await keeper.wait("write", waitMs)).toBe(true);
});

test("what another process answered may not be used, even during the lease", () => {
  win();
  expect([keeper.allows("read", "r"), keeper.allows("write", "r")]).toEqual([true, true]);
  expect([keeper.allows("read", "another"), keeper.allows("write", "another")]).toEqual([
    false,
    false,
  ]);
});

test("in a long outage a few requests wait, and the others are refused at once", async () => {
  waiting(1);
  nowMs += waitMs - 1;
  const early = waiting(100);
  await sleep(1);
  expect(early).toEqual([]);
  nowMs += 1;
  const late = waiting(100);
  await sleep(1);
  expect(late).toEqual(Array.from({ length: 100 }, () => false));
  win();
  await sleep(1);
  expect(early).toEqual(Array.from({ length: 100 }, () => true));
  // In the next outage the waits start again.
  keeper.apply({ type: "ended", connection: 1, reason: "lost" });
  const again = waiting(100);
  await sleep(1);
  expect(again).toEqual([]);
});

test("each request waits a bounded time when the outage does not end", async () => {
  expect(await keeper.wait("read", 20)).toBe(false);
});

test("listeners hear of a lapse that is already over, even if another listener fails", () => {
  const heard: string[] = [];
  keeper.onState(() => {
    throw new Error("listener");
  });
  const stop = keeper.onState((state) => heard.push(state));
  win();
  expect(heard).toEqual(["full"]);
  // Nothing ran for longer than a lease; then a barrier comes back that began just now.
  nowMs += 10_000;
  const began = keeper.now();
  keeper.apply({ type: "barrier", connection: 1, began, local: true, replicas: true });
  expect(heard).toEqual(["full", "none", "full"]);
  keeper.apply({ type: "ended", connection: 1, reason: "lost" });
  expect(heard).toEqual(["full", "none", "full", "none"]);
  stop();
  win();
  expect(heard).toHaveLength(4);
});
