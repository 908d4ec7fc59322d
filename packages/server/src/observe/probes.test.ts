import { StoreUnavailable } from "@holdfast/engine";
import { expect, test } from "vitest";
import { systemClock } from "../base/system.ts";
import { StoreProbe } from "../store/store-probe.ts";
import { Health, type Observed } from "./health.ts";
import { LoopProbe } from "./loop-probe.ts";

const hour = 3_600_000;

function listener() {
  const noted: Partial<Observed>[] = [];
  return { noted, note: (heard: Partial<Observed>) => void noted.push(heard) };
}

test.each<[string, () => Promise<never[]>, { ok: boolean; reason: unknown }]>([
  ["answers", async () => [], { ok: true, reason: expect.stringMatching(/^[\d.]+ ms$/) }],
  [
    "hangs",
    () => new Promise<never>(() => undefined),
    { ok: false, reason: "no answer within 20 ms" },
  ],
  [
    "fails",
    async () => {
      throw new StoreUnavailable("timeout", "GET");
    },
    { ok: false, reason: "timeout: GET" },
  ],
  [
    "is not asked because there is no lease",
    async () => {
      throw new StoreUnavailable("noLease", "cut off");
    },
    { ok: true, reason: "not tried: cut off" },
  ],
])("the probe reports a store that %s", async (_what, read, expected) => {
  const { noted, note } = listener();
  const probe = new StoreProbe({ read }, { note }, systemClock, 20, hour);
  await probe.run();
  // A single failure is not reported.
  expect(noted).toHaveLength(expected.ok ? 1 : 0);
  await probe.run();
  probe.close();
  expect(noted.at(-1)).toEqual({ roundTrip: expected });
});

test("single failures between successful reads are not reported", async () => {
  const { noted, note } = listener();
  let turn = 0;
  const read = async () => {
    turn += 1;
    if (turn % 2 === 1) throw new StoreUnavailable("timeout", "GET");
    return [];
  };
  const probe = new StoreProbe({ read }, { note }, systemClock, 20, hour);
  for (let at = 0; at < 6; at++) await probe.run();
  probe.close();
  expect(noted.map(({ roundTrip }) => roundTrip?.ok)).toEqual([true, true, true]);
});

test("a blocked event loop is reported to health and metrics", async () => {
  const { noted, note } = listener();
  const late: number[] = [];
  const metrics = { late: (ms: number) => late.push(ms) };
  using probe = new LoopProbe({ note }, metrics, systemClock.monotonicMs);
  const ticked = () => new Promise<void>((resolve) => probe.onTick(resolve));
  await ticked();
  const endMs = performance.now() + 1300;
  while (performance.now() < endMs);
  await ticked();
  expect(noted[0]?.eventLoop?.ok).toBe(false);
  expect(noted[0]?.eventLoop?.reason).toMatch(/^(1[2-9]|[2-9]\d)\d\d ms late at worst$/);
  expect(Math.max(...late)).toBeGreaterThan(1200);
});

test("the timer of the event loop's probe stops calling a listener that does not want it any more", async () => {
  using probe = new LoopProbe({ note: () => {} }, { late: () => {} }, systemClock.monotonicMs);
  let first = 0;
  const stop = probe.onTick(() => {
    first += 1;
    stop();
  });
  let second = 0;
  await new Promise<void>((resolve) => {
    probe.onTick(() => {
      second += 1;
      if (second === 3) resolve();
    });
  });
  expect(first).toBe(1);
});

test("health is reported from memory while the store and the root of trust hang", async () => {
  const health = new Health({ downAfterMs: 0, upAfterMs: 0, rootOfTrustGraceMs: hour }, () =>
    performance.now(),
  );
  const never = () => new Promise<never>(() => undefined);
  const store = new StoreProbe({ read: never }, health, systemClock, hour, hour);
  void store.run();
  await new Promise((resolve) => setTimeout(resolve, 20));
  // Neither call is asynchronous, so neither can wait for the store.
  health.tick();
  expect(health.report().lines[0]).toBe("read: no (root of trust unknown: not probed yet)");
  store.close();
});
