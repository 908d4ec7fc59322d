import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Health, type LeaseState, type Serving } from "./health.ts";

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
  /** Notes the lease of a region's own store in a cluster with only that region. */
  const lease = (state: LeaseState, reason: string) => {
    const serving = {
      from: state === "none" ? "none" : "local",
      writes: state === "full",
      reason: "",
    } as const;
    health.note({ lease: { state, reason }, serving });
  };
  const serving = (from: Serving["from"], writes: boolean, reason = "") =>
    health.note({ serving: { from, writes, reason } });
  const line = (name: string) =>
    health.report().lines.find((one) => one.startsWith(`${name}:`)) ?? "";
  const at = (ms: number) => {
    nowMs = ms;
    health.tick();
    return Object.values(health.report().services).map(Number).join("");
  };
  return { health, told, at, lease, serving, line };
}

/** In these tests, a string such as "110" shows the services "", read and write as 0 or 1. */
describe("health", () => {
  test("at its start waits only for the first lease and the first probe", () => {
    const { health, at, lease } = start();
    expect(at(0)).toBe("000");
    lease("full", "");
    expect(at(1)).toBe("000");
    health.rootOfTrust("ok", "");
    expect(at(1)).toBe("111");
  });

  test("does not report a short lapse, reports a long one, and delays the report of a recovery", () => {
    const { health, told, at, lease } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    lease("none", "cut off");
    expect(at(499)).toBe("111");
    lease("full", "");
    expect(at(600)).toBe("111");
    lease("none", "cut off");
    expect(at(1099)).toBe("111");
    expect(at(1100)).toBe("000");
    expect(health.canRead).toBe(false);
    lease("full", "");
    expect(at(1399)).toBe("000");
    expect(at(1400)).toBe("111");
    expect(told).toEqual(["111", "000", "111"]);
  });

  test("with a read-only lease still reports reads and traffic, but no changes", () => {
    const { health, at, lease } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    lease("readOnly", "a replica is missing");
    expect(at(500)).toBe("110");
    expect(health.report().lines).toContain("store: readOnly (a replica is missing)");
  });

  test("reports an unreachable root of trust after the grace time, and a refusal soon", () => {
    const { health, at, lease } = start();
    lease("full", "");
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

  test("follows the other region's store while the own store is out, and ignores probes of the own store", () => {
    const { health, at, serving, lease, line } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    lease("none", "lapsed");
    serving("remote", true, "own store: lapsed");
    health.note({ roundTrip: { ok: false, reason: "time-out" } });
    expect(at(1000)).toBe("111");
    expect(line("serving")).toBe("serving: the other region's store (own store: lapsed)");
    serving("none", false, "peer b cannot be reached");
    expect(at(1499)).toBe("111");
    expect(line("read")).toBe("read: ok (but now no store: peer b cannot be reached)");
    expect(at(1500)).toBe("000");
    expect(line("read")).toBe("read: no (no store: peer b cannot be reached)");
  });

  test("reports no ability if the own store is out and the other region does not serve either", () => {
    const { health, at, serving, lease, line } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    const reason = "region b does not serve from its own store";
    health.note({ remote: { ok: false, reason } });
    expect(at(1000)).toBe("111");
    lease("none", "lapsed");
    serving("remote", true, "own store: lapsed");
    expect(at(1499)).toBe("111");
    expect(at(1500)).toBe("000");
    expect(health.canRead).toBe(false);
    expect(line("read")).toBe(`read: no (no store: ${reason})`);
    health.note({ remote: { ok: true, reason: "" } });
    expect(at(1500)).toBe("000");
    expect(at(1800)).toBe("111");
  });

  test("reports no ability if the store has a lease but answers no read", () => {
    const { health, at, lease, line } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    health.note({ roundTrip: { ok: false, reason: "no answer within 1500 ms" } });
    expect(at(500)).toBe("000");
    expect(line("read")).toBe("read: no (store round trip: no answer within 1500 ms)");
    health.note({ roundTrip: { ok: true, reason: "1 ms" } });
    expect(at(500)).toBe("000");
    expect(at(800)).toBe("111");
  });

  test("reports the other region as a separate service, which affects no other service", () => {
    const { health, at, lease, line } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    expect(Object.keys(health.report().services)).not.toContain("holdfast.peer");
    health.peer("b", "down", "not asked yet");
    expect(at(0)).toBe("1110");
    health.peer("b", "up", "");
    expect(at(0)).toBe("1111");
    health.peer("b", "down", "no node answers");
    expect(at(499)).toBe("1111");
    expect(at(500)).toBe("1110");
    expect(line("peer b")).toBe("peer b: down (no node answers)");
    health.peer("b", "retired", "by an operator");
    expect(at(5000)).toBe("1110");
  });

  test("refuses traffic while the event loop stays late, but closes nothing", () => {
    const { health, at, lease } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    health.note({ eventLoop: { ok: false, reason: "2000 ms late" } });
    expect(at(2999)).toBe("111");
    expect(at(3000)).toBe("011");
    expect(health.canRead).toBe(true);
    health.note({ eventLoop: { ok: true, reason: "" } });
    expect(at(3300)).toBe("111");
  });

  test("reports broken certificate files, and continues with those in use", () => {
    const { health, at, lease, line } = start();
    health.rootOfTrust("ok", "");
    lease("full", "");
    health.note({ certificates: { ok: false, reason: "tls.key: no such file" } });
    expect(at(10_000)).toBe("111");
    expect(line("certificates")).toBe("certificates: no (tls.key: no such file)");
    expect(health.report().parts).toMatchObject({ certificates: false, store: true });
  });

  test("reports draining at once, and the node can still read", () => {
    const { health, told, at, lease } = start();
    lease("full", "");
    health.rootOfTrust("ok", "");
    health.drain();
    expect(told).toEqual(["111", "000"]);
    expect(at(0)).toBe("000");
    expect(health.canRead).toBe(true);
    expect(health.report().lines).toContain("draining");
  });

  test("refuses traffic while the node starts, whatever its parts report", () => {
    const { health, at, lease, line } = start();
    health.starting();
    lease("full", "");
    health.rootOfTrust("ok", "");
    expect(at(0)).toBe("000");
    expect(line("read")).toBe("read: no (starting)");
    expect(health.canRead).toBe(true);
    health.started();
    expect(at(0)).toBe("111");
  });

  test("reports abilities only once the KMIP listener is open", () => {
    const { health, at, lease, line } = start();
    lease("full", "");
    health.rootOfTrust("ok", "");
    health.listening(false);
    expect(at(0)).toBe("000");
    expect(line("read")).toBe("read: no (opening)");
    expect(health.canRead).toBe(true);
    health.listening(true);
    expect(at(0)).toBe("111");
  });

  test("reports only states that have lasted long enough, for any sequence of events (seed 10)", () => {
    const step = fc.record({ ms: fc.nat(400), lease: fc.constantFrom<LeaseState>("full", "none") });
    /** What must be reported after the lease has been in this state for `ms`; undefined = either. */
    const due = (lease: LeaseState, ms: number) => {
      if (ms < (lease === "none" ? 500 : 300)) return undefined;
      return lease === "none" ? "000" : "111";
    };
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const { health, at, lease: note } = start();
        health.rootOfTrust("ok", "");
        note("full", "");
        let [nowMs, sinceMs, lease] = [0, 0, "full" as LeaseState];
        for (const next of steps) {
          nowMs += next.ms;
          const said = at(nowMs);
          expect([said, undefined]).toContain(due(lease, nowMs - sinceMs));
          if (next.lease !== lease) sinceMs = nowMs;
          lease = next.lease;
          note(next.lease, "");
        }
      }),
      { seed: 10 },
    );
  });
});
