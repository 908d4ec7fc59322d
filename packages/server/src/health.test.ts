import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Health, type LeaseState } from "./health.ts";

function start(settings = {}) {
  let nowMs = 0;
  const health = new Health(
    { downAfterMs: 500, upAfterMs: 300, rootOfTrustGraceMs: 10_000, ...settings },
    () => nowMs,
  );
  const told: string[] = [];
  health.onChange(({ services }) => {
    told.push(Object.values(services).map(Number).join(""));
  });
  const at = (ms: number) => {
    nowMs = ms;
    health.tick();
    return Object.values(health.report().services).map(Number).join("");
  };
  return { health, told, at };
}

/** "", read, write as 0 or 1. */
describe("health", () => {
  test("a start waits for nothing but the first lease and the first probe", () => {
    const { health, at } = start();
    expect(at(0)).toBe("000");
    health.lease("full", "");
    expect(at(1)).toBe("000");
    health.rootOfTrust("ok", "");
    expect(at(1)).toBe("111");
  });

  test("a short lapse is not told, a long one is, and coming back takes its time", () => {
    const { health, told, at } = start();
    health.rootOfTrust("ok", "");
    health.lease("full", "");
    health.lease("none", "cut off");
    expect(at(499)).toBe("111");
    health.lease("full", "");
    expect(at(600)).toBe("111");
    health.lease("none", "cut off");
    expect(at(1099)).toBe("111");
    expect(at(1100)).toBe("000");
    expect(health.canRead).toBe(false);
    health.lease("full", "");
    expect(at(1399)).toBe("000");
    expect(at(1400)).toBe("111");
    expect(told).toEqual(["111", "000", "111"]);
  });

  test("a read lease keeps reads and traffic, and ends changes", () => {
    const { health, at } = start();
    health.rootOfTrust("ok", "");
    health.lease("full", "");
    health.lease("readOnly", "a replica is missing");
    expect(at(500)).toBe("110");
    expect(health.report().lines).toContain("store: readOnly (a replica is missing)");
  });

  test("a root of trust out of reach counts after the grace, a refusal soon", () => {
    const { health, at } = start();
    health.lease("full", "");
    health.rootOfTrust("ok", "");
    health.rootOfTrust("unreachable", "time-out");
    expect(at(9_999)).toBe("111");
    expect(at(10_000)).toBe("111");
    expect(at(10_500)).toBe("000");
    health.rootOfTrust("ok", "");
    expect(at(10_800)).toBe("111");
    health.rootOfTrust("refused", "disabled");
    expect(at(11_300)).toBe("000");
    expect(health.report()).toMatchObject({ rootOfTrust: false, lease: "full" });
  });

  test("draining is told at once, and the node can still read", () => {
    const { health, told, at } = start();
    health.lease("full", "");
    health.rootOfTrust("ok", "");
    health.drain();
    expect(told).toEqual(["111", "000"]);
    expect(at(0)).toBe("000");
    expect(health.canRead).toBe(true);
    expect(health.report().lines).toContain("draining");
  });

  test("whatever happens, what is told has lasted as long as it must (seed 10)", () => {
    const step = fc.record({ ms: fc.nat(400), lease: fc.constantFrom<LeaseState>("full", "none") });
    /** What must be told when the store has been so for so long; undefined = either. */
    const due = (lease: LeaseState, ms: number) => {
      if (ms < (lease === "none" ? 500 : 300)) return undefined;
      return lease === "none" ? "000" : "111";
    };
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const { health, at } = start();
        health.rootOfTrust("ok", "");
        health.lease("full", "");
        let [nowMs, sinceMs, lease] = [0, 0, "full" as LeaseState];
        for (const next of steps) {
          nowMs += next.ms;
          const said = at(nowMs);
          expect([said, undefined]).toContain(due(lease, nowMs - sinceMs));
          if (next.lease !== lease) sinceMs = nowMs;
          lease = next.lease;
          health.lease(next.lease, "");
        }
      }),
      { seed: 10 },
    );
  });
});
